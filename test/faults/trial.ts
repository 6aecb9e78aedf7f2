/**
 * One fault, from beginning to end: the run as it stood before a stage, the command under the fault, the verdict; then the
 * same command without it, which must come through, leave the bits of an undisturbed run, and do nothing again that was
 * finished.
 */
import { cp, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { contentsOf, differences } from "../run/contents.ts";
import type { Answer } from "./child.ts";
import { countFor, type Fault } from "./failures.ts";
import type { Died, FaultyRuns, Limits } from "./faulty-run.ts";
import { doneAgain, errorLine, finishedIn, namesOf, wrongs } from "./judge.ts";
import { stageUnderWay } from "./stage-clock.ts";
import { LEFT_OUT } from "./tiny-run.ts";
import type { StageFacts, Workbench } from "./workbench.ts";

/**
 * What came of a fault: the run came through, ended with an error of ours, or died. In the end there were the same bits in
 * all three cases; or there is a problem.
 */
export const OUTCOMES = ["came through", "error", "died"] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Verdict {
  readonly kind: string;
  /** where it struck */
  readonly stage: string;
  readonly outcome: Outcome;
  /** what was done, and what the run said */
  readonly told: string;
  readonly problems: readonly string[];
}

/** A fault that is about to be. Paths are absolute; `run` is the run's folder. */
export interface Trial {
  readonly kind: string;
  readonly stage: StageFacts;
  /** folder in which the run's folder is made; default the workbench's */
  readonly root?: string;
  /** the command makes the stage alone (`--only`), which is quicker; otherwise all that is left */
  readonly isAlone?: boolean;
  /** begins after the stage, instead of before it */
  readonly isAfter?: boolean;
  readonly runs?: FaultyRuns;
  readonly fault?: Fault | null;
  readonly limits?: Limits;
  /** the command may die of it, as of a kill */
  readonly mayDie?: boolean;
  /** what the error has to name; default: the file of the operation that failed */
  readonly named?: () => readonly (string | RegExp)[];
  /** the command must refuse to work */
  readonly refuses?: boolean;
  /** finished work is gone, and is made again: in any case, or unless the fault is undone before it is */
  readonly destroys?: "always" | "until undone";
  /** done to the run's folder before the command; its text is what was done, null: it cannot be done here */
  readonly prepare?: (run: string) => Promise<string | null>;
  /** takes the fault away, where it does not go by itself; `outcome` is the command's */
  readonly undo?: (run: string, outcome: Outcome) => Promise<void>;
  /** a second fault, under which the command is run again before it is run without */
  readonly second?: Fault;
}

/** Tries one fault. No verdict: it did not strike (the stage was over before). Of a second fault there is a second one. */
export async function tryFault(bench: Workbench, trial: Trial): Promise<Verdict[]> {
  const { kind, stage, fault = null, limits } = trial;
  const root = trial.root ?? bench.runsFolder;
  const runs = trial.runs ?? bench.runs;
  const run = join(root, stage.run);
  const begin = trial.isAfter === true ? stage.after : stage.before;
  const only = trial.isAlone === true ? ["--only", stage.name === "import" ? "harvest" : stage.name] : [];
  const args = ["run", stage.recipe, "--runs", root, "--set", `name=${stage.run}`, ...only];
  const expected = trial.isAlone === true ? stage.expectedAfter : stage.expected;
  await mkdir(root, { recursive: true });
  if (begin !== null) await cp(begin, run, { recursive: true, preserveTimestamps: true });
  try {
    const done = await trial.prepare?.(run);
    if (done === null) return [];
    let finished = finishedIn(run);
    const repeated = (isExpected: boolean) => {
      const before = finished;
      finished = finishedIn(run);
      return isExpected ? [] : doneAgain(before, finished);
    };
    const answer = await runs.run({ folder: bench.folder, args, fault }, limits);
    const verdict = judge(answer, trial, bench, run);
    if (verdict !== null) verdict.problems.push(...repeated(trial.destroys !== undefined));
    await trial.undo?.(run, verdict?.outcome ?? "came through");
    finished = finishedIn(run); // a whole file put back is another file than the damaged one
    if (verdict === null) return [];
    const { outcome, problems } = verdict;
    const verdicts = [{ ...verdict, kind, told: [done, verdict.told].filter(Boolean).join(" ") }];
    const isGone =
      trial.destroys === "always" || (trial.destroys !== undefined && outcome === "came through");
    if (trial.second !== undefined) {
      const other = { kind: "second fault", stage, fault: trial.second };
      const next = await bench.runs.run({ folder: bench.folder, args, fault: trial.second });
      const second = judge(next, other, bench, run);
      if (second !== null)
        verdicts.push({ ...second, kind: other.kind, told: `${trial.second.failure} ${second.told}` });
      problems.push(...repeated(isGone));
    }
    const again = await bench.runs.run({ folder: bench.folder, args, fault: null });
    if ("died" in again || again.code !== 0) problems.push(`without the fault: ${again.stderr}`);
    const found = await contentsOf(run, stage.run, LEFT_OUT);
    problems.push(...differences(expected, found), ...repeated(isGone));
    return verdicts;
  } finally {
    await rm(run, { recursive: true, force: true });
  }
}

function judge(
  answer: Answer | Died,
  trial: Trial,
  bench: Workbench,
  run: string,
): (Omit<Verdict, "kind"> & { problems: string[] }) | null {
  const { fault = null, stage } = trial;
  const what = fault === null ? "" : `${fault.lasting ? "from" : "at"} ${fault.n}`;
  const under = stage.name === "import" ? "import" : stageUnderWay(join(run, "run.json"));
  if ("died" in answer) {
    const problems = trial.mayDie === true ? [] : [`ended with ${answer.died}: ${answer.stderr}`];
    const told = `${what}: ${answer.died}`;
    return { stage: under, outcome: "died", told, problems };
  }
  const { struck, code } = answer;
  if (fault !== null && struck === null) return null;
  const place = struck === null ? "" : ` (${struck.operation} ${struck.path.slice(bench.folder.length + 1)})`;
  const said = code === 0 ? "came through" : (errorLine(answer) ?? "no error line");
  const named =
    trial.named?.() ??
    (struck === null ? [bench.folder] : namesOf(struck.path, trial.root ?? bench.runsFolder));
  return {
    stage: struck?.stage ?? (trial.isAfter === true || code === 0 ? stage.name : under),
    outcome: code === 0 ? "came through" : "error",
    told: `${what}${place}: ${said}`,
    problems: [
      ...wrongs(answer, named),
      ...(code === 0 && trial.refuses === true ? ["it should have been refused"] : []),
    ],
  };
}

/** How often `failure` can strike in a stage. */
export function chances(stage: StageFacts, failure: Fault["failure"]): number {
  return failure === "kill" ? Math.ceil(stage.seconds * 1e6) : countFor(failure, stage.counts);
}
