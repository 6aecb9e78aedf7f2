/**
 * Lapidary and SAELens side by side: each in a process of its own, taking turns on the same weights and batches with the same
 * number of threads. The first turn of both is held against each other (loss, latents a token) before anything is timed.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { arithmeticOf } from "../../src/bench/arithmetic.ts";
import type { BenchReport } from "../../src/bench/bench.ts";
import { median, round, type Timing, timingOf } from "../../src/bench/measure.ts";
import { bestOf, type Peaks, roundedPeaks } from "../../src/bench/peaks.ts";
import { SIZES } from "../../src/bench/sizes.ts";
import { sayBytes, sayNumber, saySize, sayTime } from "../../src/bench/words.ts";
import { EngineError } from "../../src/errors.ts";
import type { OurOptions } from "./ours.ts";
import { type Ready, Side, type Turns } from "./side.ts";

export interface Comparison extends OurOptions {
  readonly rounds: number;
  /** What a side does in a round takes about this long, or one turn. */
  readonly seconds: number;
}

/** Threads of the side that has just worked may go on waiting for work for a moment. */
const PAUSE_MS = 400;
/** Relative, between fp32 sums of two programs. */
const SAME_LOSS = 1e-4;
const SAME_L0 = 2e-3;

/** @throws {EngineError} a side ended, or they do not compute the same */
export async function compare(
  python: string,
  comparison: Comparison,
  note: (line: string) => void,
): Promise<BenchReport> {
  const { bench, size, batchTokens, rounds, seconds } = comparison;
  const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const folder = await mkdtemp(join(tmpdir(), "lapidary-peers-"));
  const ours = new Side("Lapidary", process.execPath, [
    ...process.execArgv,
    here("ours.ts"),
    JSON.stringify(comparison),
  ]);
  const sides = [ours];
  try {
    note(`${bench}, ${size}: weights and batches are made`);
    const us = await ours.ready();
    const data = join(folder, "data.safetensors");
    await ours.ask({ write: data });
    const theirs = new Side("SAELens", python, [here("saelens_step.py"), data]);
    sides.push(theirs);
    const them = await theirs.ready();
    await rm(data, { force: true });

    const counts = await warmUp(ours, theirs, seconds);
    const before = (await ours.ask({ peaks: true })).peaks;
    const turns: Turns[][] = [[], []];
    for (let i = 0; i < rounds; i++) {
      for (const [at, side] of sides.entries()) {
        await pause(PAUSE_MS);
        turns[at].push(await side.ask({ count: counts[at] }));
      }
      const [a, b] = turns.map((list) => batchTokens / median(list[i].seconds));
      note(`round ${i + 1} of ${rounds}: ${sayNumber(a)} and ${sayNumber(b)} tokens/s`);
    }
    const after = (await ours.ask({ peaks: true })).peaks;
    const peaks = before && after && bestOf(before, after);
    return report(comparison, [us, them], turns, peaks);
  } finally {
    await Promise.all(sides.map((side) => side.close()));
    await rm(folder, { recursive: true, force: true });
  }
}

const LONG_SECONDS = 20;

/**
 * One turn of each, held against the other; then how many turns fill `seconds`, for each side.
 * @throws {EngineError} they do not compute the same
 */
async function warmUp(ours: Side, theirs: Side, seconds: number): Promise<[number, number]> {
  const [a, b] = [await ours.ask({ count: 1 }), await theirs.ask({ count: 1 })];
  const differs = (x: number, y: number, share: number) => !(Math.abs(x - y) <= share * Math.abs(y));
  if (a.loss !== null && differs(a.loss, b.loss ?? Number.NaN, SAME_LOSS))
    throw different("loss", a.loss, b.loss);
  if (differs(a.l0, b.l0, SAME_L0)) throw different("number of latents a token", a.l0, b.l0);
  const count = async (side: Side, first: Turns): Promise<number> => {
    // A first turn also touches memory for the first time; only where turns take minutes a second one costs too much.
    const isLong = first.seconds[0] >= Math.max(seconds, LONG_SECONDS);
    const [typical] = isLong ? first.seconds : (await side.ask({ count: 1 })).seconds;
    return Math.max(1, Math.round(seconds / typical));
  };
  return [await count(ours, a), await count(theirs, b)];
}

function different(what: string, ours: number, theirs: number | null): EngineError {
  return new EngineError(
    `the ${what} of the first turn is ${ours} here and ${theirs} there: nothing is timed`,
    {
      hint: "the two sides do not compute the same; is this a newer sae_lens with other defaults?",
    },
  );
}

function report(
  comparison: Comparison,
  [us, them]: readonly Ready[],
  [a, b]: readonly Turns[][],
  peaks: Peaks | null,
): BenchReport {
  const { bench, size, batchTokens, dead, threads, rounds } = comparison;
  const [ours, theirs] = [summary(a), summary(b)];
  const ratios = a.map(({ seconds }, i) => round(median(b[i].seconds) / median(seconds)));
  const ratio = {
    ofMedians: round(theirs.medianSeconds / ours.medianSeconds),
    ofBests: round(theirs.bestSeconds / ours.bestSeconds),
    ofRounds: ratios,
  };
  const what = bench === "train" ? "step" : "encode";
  const dense = arithmeticOf(what, SIZES[size], batchTokens, ours.medianSeconds, peaks);
  const line = (name: string, { medianSeconds, bestSeconds, turns, memory }: Summary) =>
    `  ${name.padEnd(9)} ${sayNumber(batchTokens / medianSeconds)} tokens/s (best ${sayNumber(batchTokens / bestSeconds)}): ` +
    `${sayTime(medianSeconds)}, median of ${turns.length}; ${memory === null ? "memory not known" : `${sayBytes(memory)} at most`}`;
  return {
    figures: {
      bench: `peers-${bench}`,
      tokensPerSecond: round(batchTokens / ours.medianSeconds),
      size: SIZES[size],
      batchTokens,
      deadPercent: dead,
      threads,
      rounds,
      ratio,
      peaks: peaks && roundedPeaks(peaks),
      ...dense.figures,
      ours: { ...us, ...figuresOf(ours, batchTokens) },
      theirs: { ...them, ...figuresOf(theirs, batchTokens) },
    },
    lines: [
      `${bench === "train" ? "training step" : "JumpReLU encode"}, ${size} (${saySize(SIZES[size])}), ` +
        `${sayNumber(batchTokens)} tokens a batch, ${dead} % dead, ${threads} threads, in alternation`,
      line("Lapidary", ours),
      line("SAELens", theirs),
      `  ratio     ${sayNumber(ratio.ofMedians)} of medians, ${sayNumber(ratio.ofBests)} of bests, ` +
        `${sayNumber(Math.min(...ratios))} to ${sayNumber(Math.max(...ratios))} in single rounds`,
      ...dense.lines,
    ],
    variant: `${size}-B${batchTokens}${dead > 0 ? `-dead${dead}` : ""}`,
  };
}

interface Summary extends Timing {
  readonly memory: number | null;
}

function summary(rounds: readonly Turns[]): Summary {
  return {
    ...timingOf(rounds.flatMap(({ seconds }) => seconds)),
    memory: rounds[rounds.length - 1].peakMemoryBytes,
  };
}

function figuresOf({ medianSeconds, bestSeconds, turns, memory }: Summary, batchTokens: number) {
  return {
    tokensPerSecond: round(batchTokens / medianSeconds),
    bestTokensPerSecond: round(batchTokens / bestSeconds),
    seconds: { median: round(medianSeconds), best: round(bestSeconds) },
    turns: turns.length,
    peakMemoryBytes: memory,
  };
}
