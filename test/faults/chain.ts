/**
 * A chain: the same command again and again on one run folder, each time with one failing file operation, until it comes
 * through; then the folder must hold what an undisturbed run leaves, bit for bit. A run that fails must say why in one
 * clear line.
 */
import { join } from "node:path";
import type { Philox } from "../../src/random/philox.ts";
import { contentsOf, differences } from "../run/contents.ts";
import type { Answer } from "./child.ts";
import type { Failure, Fault } from "./faulty-files.ts";
import type { FaultyRuns } from "./faulty-run.ts";
import { LEFT_OUT } from "./tiny-run.ts";

export interface ChainOptions {
  readonly runs: FaultyRuns;
  readonly folder: string;
  readonly recipe: string;
  readonly name: string;
  /** contents of an undisturbed run */
  readonly expected: ReadonlyMap<string, string>;
  /** how many operations of an undisturbed run each failure could befall */
  readonly counts: ReadonlyMap<Failure, number>;
  readonly random: Philox;
  readonly maxFaults: number;
}

export interface ChainReport {
  /** one line a fault: what, where, what came of it */
  readonly log: readonly string[];
  readonly faults: number;
  readonly problems: readonly string[];
}

export async function chain(options: ChainOptions): Promise<ChainReport> {
  const { runs, folder, recipe, name, expected, counts, random, maxFaults } = options;
  const args = ["run", recipe, "--set", `name=${name}`];
  const failures = [...counts.keys()];
  const log: string[] = [];
  const problems: string[] = [];
  let faults = 0;
  let isDone = false;
  for (let i = 0; faults < maxFaults && !isDone; i++) {
    const [a, b, c] = [0, 1, 2].map((k) => random.uniform(3 * i + k));
    const failure = failures[Math.floor(a * failures.length)];
    // the early operations more often: they are what is left to do after the next start, too
    const n = Math.floor(b ** 3 * (counts.get(failure) ?? 1));
    const fault: Fault = { n, failure, lasting: failure === "ENOSPC" && c < 0.5 };
    const answer = await runs.run({ folder, args, fault });
    const what = `${failure}${fault.lasting ? " from" : " at"} operation ${n}`;
    if (answer === "killed") {
      faults += 1;
      log.push(`${name}: ${what}: killed`);
      continue;
    }
    const { struck, code } = answer;
    if (struck !== null) faults += 1;
    const place = struck === null ? "" : ` (${struck.operation} ${struck.path.slice(folder.length)})`;
    const told = code === 0 ? "came through" : (errorLine(answer) ?? "no error line");
    log.push(`${name}: ${what}${place}: ${told}`);
    problems.push(...faultsOf(answer).map((problem) => `${what}${place}: ${problem}`));
    isDone = code === 0;
  }
  if (!isDone) {
    const last = await runs.run({ folder, args, fault: null });
    if (last === "killed" || last.code !== 0)
      problems.push(`${name}: without a fault: ${last === "killed" ? last : last.stderr}`);
  }
  const found = await contentsOf(join(folder, "runs", name), name, LEFT_OUT);
  problems.push(...differences(expected, found).map((what) => `${name}: ${what}\n${log.join("\n")}`));
  return { log, faults, problems };
}

/** What is wrong with how a run ended, given that something failed under it. */
function faultsOf(answer: Answer): string[] {
  const { code, stderr, unhandled } = answer;
  const wrong = unhandled.map((stack) => `unhandled: ${stack}`);
  if (code === 0) return wrong;
  if (code !== 1) wrong.push(`exit code ${code}: ${stderr}`);
  if (errorLine(answer) === null) wrong.push(`not one line "lapidary: …": ${stderr}`);
  if (/^\s+at /m.test(stderr)) wrong.push(`a stack: ${stderr}`);
  if (stderr.includes("this was not expected")) wrong.push(`not an error of ours: ${errorLine(answer)}`);
  return wrong;
}

function errorLine({ stderr }: Answer): string | null {
  const lines = stderr.split("\n").filter((line) => line.startsWith("lapidary: "));
  return lines.length === 1 ? lines[0] : null;
}
