#!/usr/bin/env node
/**
 * The command line. One file a command under `commands/`; this one assembles them and turns an error into two lines and
 * an exit code. Commands are loaded when asked for, so that `--help` and a finished run answer at once.
 */
import { Command, CommanderError } from "commander";
import { LapidaryError } from "../errors.ts";
import { softwareVersions } from "../pipeline/versions.ts";
import { addDoctorCommand } from "./commands/doctor.ts";
import { addEvalCommand } from "./commands/eval.ts";
import { addImportCommand } from "./commands/import.ts";
import { addInspectCommand } from "./commands/inspect.ts";
import { addRunCommand } from "./commands/run.ts";
import { addCardCommand, addStageCommands } from "./commands/stages.ts";
import { addVerifyCommand } from "./commands/verify.ts";
import { EXIT } from "./exit-codes.ts";

async function main(): Promise<void> {
  const { lapidary } = await softwareVersions();
  const program = new Command("lapidary")
    .description("Fits a sparse autoencoder to the language model you actually run, and proves that it fits.")
    .version(lapidary)
    .exitOverride()
    .configureHelp({ sortSubcommands: false })
    .showSuggestionAfterError();
  addRunCommand(program);
  addStageCommands(program);
  addImportCommand(program);
  addEvalCommand(program);
  addVerifyCommand(program);
  addCardCommand(program);
  addInspectCommand(program);
  addDoctorCommand(program);
  for (const command of program.commands) command.exitOverride();
  program.addHelpText("after", EXIT_HELP);
  await program.parseAsync();
}

const EXIT_HELP = `
Exit codes:
  0  done
  1  something failed (one line says what, one what to try; --verbose adds the stack)
  2  the command line or the recipe is wrong
  3  done, but a layer's VE is below the recipe's gate
  4  a saved SAE is not what was measured
  130  interrupted; the same command goes on

Examples:
  $ lapidary run recipes/tiny-gemma.yaml
  $ lapidary run recipes/gemma-4-e4b-it.yaml --dry-run
  $ lapidary eval <sae folder> --model <model folder> --text notes.txt
  $ lapidary inspect runs/tiny-gemma`;

main().catch((error: unknown) => {
  process.exitCode = report(error);
  // a worker or a pool may still be alive after an error; what matters is on disk
  setTimeout(() => process.exit(), 500).unref();
});

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  const verbose = process.argv.includes("--verbose");
  if (error instanceof Error && error.name === "AbortError") {
    process.stderr.write("\nInterrupted. What is done is on disk; the same command goes on from there.\n");
    return EXIT.interrupted;
  }
  const { message, stack, cause } = error instanceof Error ? error : new Error(String(error));
  if (process.argv.includes("--json")) {
    const [code, hint] =
      error instanceof LapidaryError ? [error.code, error.hint] : ["UNEXPECTED", undefined];
    process.stdout.write(`${JSON.stringify({ kind: "error", code, message, hint })}\n`);
  }
  process.stderr.write(`lapidary: ${message}\n`);
  if (error instanceof LapidaryError && error.hint !== undefined)
    process.stderr.write(`  try: ${error.hint}\n`);
  if (verbose)
    process.stderr.write(
      `${stack}\n${cause === undefined ? "" : `caused by ${cause instanceof Error ? cause.stack : String(cause)}\n`}`,
    );
  else if (!(error instanceof LapidaryError))
    process.stderr.write("  this was not expected: --verbose shows where it came from\n");
  if (!(error instanceof LapidaryError)) return EXIT.failed;
  return error.code === "RECIPE" ? EXIT.usage : error.code === "VERIFY" ? EXIT.notVerified : EXIT.failed;
}
