/** Many faults on one recipe, seeded: the work behind `npm run faults` and the short test. */
import { Philox } from "../../src/random/philox.ts";
import { FILE_FAILURES, type FileFailure } from "./failures.ts";
import { type FaultKind, faultKinds } from "./kinds.ts";
import { BETWEEN } from "./stage-clock.ts";
import { chances, type Trial, tryFault, type Verdict } from "./trial.ts";
import { openWorkbench, type StageFacts, type Workbench } from "./workbench.ts";

export interface CampaignOptions {
  readonly seed: number;
  /** how many faults; or every `every`-th operation of a run, each under a failure that can befall it */
  readonly plan: { readonly faults: number } | { readonly every: number };
  /** only these kinds */
  readonly kinds?: readonly string[];
  readonly onVerdict?: (verdict: Verdict) => void;
}

export interface CampaignReport {
  readonly seed: number;
  readonly stages: readonly string[];
  readonly verdicts: readonly Verdict[];
  /** kinds and stages that could not be tried here, and why */
  readonly notRun: readonly { readonly what: string; readonly why: string }[];
}

/** A second fault follows so often. */
const SECOND = 0.25;
/** The stage alone is run so often; otherwise all that is left of the run. */
const ALONE = 0.75;

/** Destroyed work is made again by the stages it belongs to; damage is found by those that come after. */
function needsAll({ stage, destroys, isAfter }: Trial): boolean {
  return stage.name === BETWEEN || destroys !== undefined || isAfter === true;
}

export async function campaign(options: CampaignOptions): Promise<CampaignReport> {
  const bench = await openWorkbench();
  try {
    const kinds = faultKinds(bench).filter(({ name }) => options.kinds?.includes(name) ?? true);
    const able = kinds.filter(({ missing }) => missing === null);
    const verdicts: Verdict[] = [];
    const { plan, seed } = options;
    const trials = "every" in plan ? everyOperation(bench, seed, plan.every) : atRandom(bench, able, seed);
    for (const trial of trials) {
      if ("faults" in plan && verdicts.length >= plan.faults) break;
      for await (const verdict of tryUntilItHits(bench, trial)) {
        verdicts.push(verdict);
        options.onVerdict?.(verdict);
      }
    }
    return {
      seed,
      stages: bench.stages.map(({ name }) => name),
      verdicts,
      notRun: [
        ...kinds.flatMap(({ name, missing }) => (missing === null ? [] : [{ what: name, why: missing }])),
        ...bench.absent.map((stage) => ({
          what: `stage ${stage}`,
          why: "the tiny recipe has no such stage",
        })),
      ],
    };
  } finally {
    await bench.close();
  }
}

/** A kill that came after its stage was over is aimed again, earlier; what it hit counts, too. */
async function* tryUntilItHits(bench: Workbench, trial: Trial): AsyncIterable<Verdict> {
  const { fault, stage } = trial;
  for (let aim = 1; ; aim /= 3) {
    const n = Math.floor((fault?.n ?? 0) * aim);
    const verdicts = await tryFault(
      bench,
      fault?.failure === "kill" ? { ...trial, fault: { ...fault, n } } : trial,
    );
    yield* verdicts;
    if (fault?.failure !== "kill" || n === 0 || verdicts[0]?.stage === stage.name) return;
  }
}

/** First a kill in each stage; then all kinds in turn, each going through the stages in an order of its own. */
function* atRandom(bench: Workbench, kinds: readonly FaultKind[], seed: number): Iterable<Trial> {
  const draws = new Philox(seed, "faults");
  let drawn = 0;
  const draw = () => draws.uniform(drawn++);
  const kill = kinds.find(({ name }) => name === "kill");
  if (kill !== undefined) {
    for (const stage of bench.stages)
      yield { ...kill.make(stage, draw), isAlone: stage.name !== BETWEEN && draw() < ALONE };
  }
  const rounds = kinds.map((kind) => ({ kind, stages: shuffled(bench.stages.filter(kind.canBefall), draw) }));
  for (let round = 0; ; round++)
    for (const { kind, stages } of rounds) {
      const trial = { ...kind.make(stages[round % stages.length], draw), isAlone: draw() < ALONE };
      const second = draw() < SECOND ? anyFileFault(bench, draw) : undefined;
      yield needsAll(trial) ? { ...trial, isAlone: false, second } : { ...trial, second };
    }
}

/** A failing operation wherever the run is then. */
function anyFileFault(bench: Workbench, draw: () => number): Trial["fault"] & object {
  const failures = ["EIO", "ENOSPC", "EACCES", "EMFILE", "short", "part-written", "part-read"] as const;
  const failure = failures[Math.floor(draw() * failures.length)];
  const all = bench.stages.reduce((sum, stage) => sum + chances(stage, failure), 0);
  return { failure, stage: null, n: Math.floor(draw() ** 3 * all) };
}

/** Goes through the operations of a whole run, one after the other. */
function* everyOperation(bench: Workbench, seed: number, every: number): Iterable<Trial> {
  const draws = new Philox(seed, "every operation");
  let drawn = 0;
  let counted = 0;
  const errors = (Object.keys(FILE_FAILURES) as FileFailure[]).filter(
    (failure) => !["vanish", "full-disk", "read-only-disk"].includes(failure),
  );
  for (const stage of bench.stages)
    for (const kind of new Set(Object.values(FILE_FAILURES).flat())) {
      const able = errors.filter((failure) => (FILE_FAILURES[failure] as readonly string[]).includes(kind));
      for (let n = 0; n < (stage.counts[kind] ?? 0); n++) {
        if (counted++ % every !== 0) continue;
        const failure = able[Math.floor(draws.uniform(drawn++) * able.length)];
        const fault = { failure, stage: stage.name, n, of: kind };
        const isAlone = stage.name !== BETWEEN;
        yield { kind: failure, stage, fault, isAlone, mayDie: failure === "power-cut" };
      }
    }
}

function shuffled(stages: readonly StageFacts[], draw: () => number): StageFacts[] {
  return stages
    .map((stage) => [draw(), stage] as const)
    .sort(([a], [b]) => a - b)
    .map(([, stage]) => stage);
}
