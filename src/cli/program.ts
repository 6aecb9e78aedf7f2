/**
 * The command line as a function: arguments in, exit code out. One file a command under `commands/`; this one assembles them
 * and turns an error into two lines and a code. Commands load what they need when asked, so that `--help` answers at once.
 */
import { Command, CommanderError } from "commander";
import { LapidaryError } from "../errors.ts";
import { softwareVersions } from "../pipeline/versions.ts";
import { addBenchCommand } from "./commands/bench.ts";
import { addCardCommand } from "./commands/card.ts";
import { addCheckCommand } from "./commands/check.ts";
import { addCompareCommand } from "./commands/compare.ts";
import { addConvertCommand } from "./commands/convert.ts";
import { addDoctorCommand } from "./commands/doctor.ts";
import { addEvalCommand } from "./commands/eval.ts";
import { addExplainCommand } from "./commands/explain.ts";
import { addImportCommand } from "./commands/import.ts";
import { addIndexCommand } from "./commands/index.ts";
import { addInspectCommand } from "./commands/inspect.ts";
import { addNeuronpediaCommand } from "./commands/neuronpedia.ts";
import { addPublishCommand } from "./commands/publish.ts";
import { addPullCommand } from "./commands/pull.ts";
import { addRunCommand } from "./commands/run.ts";
import { addServeCommand } from "./commands/serve.ts";
import { addReportCommand, addStageCommands } from "./commands/stages.ts";
import { addVerifyCommand } from "./commands/verify.ts";
import { EXIT } from "./exit-codes.ts";
import { stopListening } from "./options.ts";
import { printable } from "./printable.ts";

/** Runs `lapidary <args>`. Never throws: an error is told on stderr. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  process.exitCode = EXIT.done; // a command that ends well but not perfectly sets another
  try {
    await (await createProgram()).parseAsync(args, { from: "user" });
    return process.exitCode;
  } catch (error) {
    return report(error, args);
  } finally {
    stopListening();
  }
}

async function createProgram(): Promise<Command> {
  const { lapidary } = await softwareVersions();
  const program = new Command("lapidary")
    .description("Fits a sparse autoencoder to the language model you actually run, and proves that it fits.")
    .version(lapidary)
    .exitOverride()
    .configureHelp({ sortSubcommands: false })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "lapidary: ")) })
    .showHelpAfterError("  try: lapidary --help");
  addRunCommand(program);
  addStageCommands(program);
  addImportCommand(program);
  addEvalCommand(program);
  addCompareCommand(program);
  addIndexCommand(program);
  addServeCommand(program);
  addExplainCommand(program);
  addVerifyCommand(program);
  addCheckCommand(program);
  addCardCommand(program);
  addReportCommand(program);
  addPublishCommand(program);
  addPullCommand(program);
  addNeuronpediaCommand(program);
  addInspectCommand(program);
  addConvertCommand(program);
  addDoctorCommand(program);
  addBenchCommand(program);
  for (const command of program.commands)
    command.exitOverride().showHelpAfterError(`  try: lapidary ${command.name()} --help`);
  return program.addHelpText("after", EXIT_HELP);
}

const EXIT_HELP = `
Exit codes:
  0  done
  1  something failed (one line says what, one what to try; --verbose adds the stack)
  2  the command line or the recipe is wrong
  3  done, but a layer's VE is below the recipe's gate (publish: for that reason not done)
  4  a saved SAE is not what was measured, or not what its contract says
  130  interrupted; the same command goes on

Examples:
  $ lapidary run recipes/tiny-gemma.yaml
  $ lapidary run recipes/gemma-4-e4b-it.yaml --dry-run
  $ lapidary eval <sae folder> --model <model folder> --text notes.txt
  $ lapidary inspect runs/tiny-gemma`;

function report(error: unknown, args: readonly string[]): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  const verbose = args.includes("--verbose");
  if (error instanceof Error && error.name === "AbortError") {
    process.stderr.write("\nInterrupted. What is done is on disk; the same command goes on from there.\n");
    return EXIT.interrupted;
  }
  const { message, stack, cause } = error instanceof Error ? error : new Error(String(error));
  if (args.includes("--json")) {
    const [code, hint] =
      error instanceof LapidaryError ? [error.code, error.hint] : ["UNEXPECTED", undefined];
    process.stdout.write(`${JSON.stringify({ kind: "error", code, message, hint })}\n`);
  }
  process.stderr.write(`lapidary: ${printable(message)}\n`);
  if (error instanceof LapidaryError && error.hint !== undefined)
    process.stderr.write(`  try: ${printable(error.hint)}\n`);
  if (verbose)
    process.stderr.write(
      `${stack}\n${cause === undefined ? "" : `caused by ${cause instanceof Error ? cause.stack : String(cause)}\n`}`,
    );
  else if (!(error instanceof LapidaryError))
    process.stderr.write("  this was not expected: --verbose shows where it came from\n");
  if (!(error instanceof LapidaryError)) return EXIT.failed;
  if (error.code === "GATE") return EXIT.belowGate;
  return error.code === "RECIPE" ? EXIT.usage : error.code === "VERIFY" ? EXIT.notVerified : EXIT.failed;
}
