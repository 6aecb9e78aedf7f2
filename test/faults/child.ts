/**
 * Runs the command line over and over in one process whose files fail (`faulty-files.ts`). One line of JSON on stdin is
 * one run: arguments and a fault, or none; one line of JSON on stdout answers it. The parent watches for hangs.
 */

import { chdir } from "node:process";
import { createInterface } from "node:readline";
import { FAILURES, type Failure, type Fault, FaultyFiles, type Struck } from "./faulty-files.ts";

export interface Job {
  readonly folder: string;
  readonly args: readonly string[];
  readonly fault: Fault | null;
}

export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly struck: Struck | null;
  /** operations so far, in this process, that each failure could have struck */
  readonly counts: Readonly<Record<Failure, number>>;
  /** rejections that nobody handled, thrown errors that nobody caught */
  readonly unhandled: readonly string[];
}

const unhandled: string[] = [];
for (const event of ["unhandledRejection", "uncaughtException"])
  process.on(event, (error) => unhandled.push(String((error as Error)?.stack ?? error)));

const [target] = process.argv.slice(2);
const files = new FaultyFiles((path) => path.startsWith(target));
const { runCommandLine } = await import("../../src/cli/program.ts");
const answer = process.stdout.write.bind(process.stdout);

for await (const line of createInterface({ input: process.stdin })) {
  const { folder, args, fault } = JSON.parse(line) as Job;
  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    process[name].write = (text: string | Uint8Array) => {
      printed[name] += typeof text === "string" ? text : new TextDecoder().decode(text);
      return true;
    };
  chdir(folder);
  if (fault !== null) files.arm(fault);
  const code = await runCommandLine(args);
  const struck = files.disarm();
  await new Promise((done) => setImmediate(done)); // what nobody handled shows now
  const counts = Object.fromEntries(
    FAILURES.map((failure) => [failure, files.countFor(failure)]),
  ) as Answer["counts"];
  answer(
    `${JSON.stringify({ code, ...printed, struck, counts, unhandled: unhandled.splice(0) } satisfies Answer)}\n`,
  );
}
process.exit(0);
