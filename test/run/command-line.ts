/** The command line inside this process, with what it printed: many checks for the price of one start. */
import { chdir, cwd } from "node:process";
import { runCommandLine } from "../../src/cli/program.ts";
import type { Finished } from "./small-recipe.ts";

/** Runs `lapidary <args>` in `folder`. One at a time: streams, working directory and exit code are the process's own. */
export async function commandLine(folder: string, ...args: readonly string[]): Promise<Finished> {
  const before = { folder: cwd(), stdout: process.stdout.write, stderr: process.stderr.write };
  const printed = { stdout: "", stderr: "" };
  const collect = (stream: "stdout" | "stderr") => (text: string | Uint8Array) => {
    printed[stream] += typeof text === "string" ? text : new TextDecoder().decode(text);
    return true;
  };
  process.stdout.write = collect("stdout");
  process.stderr.write = collect("stderr");
  chdir(folder);
  try {
    return { code: await runCommandLine(args), ...printed };
  } finally {
    chdir(before.folder);
    process.stdout.write = before.stdout;
    process.stderr.write = before.stderr;
    process.exitCode = undefined;
  }
}
