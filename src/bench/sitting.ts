/**
 * What the engine benches share: check a slice, measure the machine's peaks, plant a workload, check it at full size, time
 * turns, measure the peaks again. Each bench adds what is its own.
 */
import type { DenseArchitecture, Screening, StepProfile } from "../kernels/kernels.ts";
import type { BenchOptions, Figures } from "./bench.ts";
import type { Check } from "./check.ts";
import { peakMemoryBytes, round, type Timing, timeTurns } from "./measure.ts";
import { bestOf, type Peaks, peaksIfKnown, roundedPeaks } from "./peaks.ts";
import { sayBytes, sayNumber, saySize, sayTime } from "./words.ts";
import { openWorkload, type Workload } from "./workload.ts";

export interface SittingPlan {
  readonly bench: string;
  readonly batchTokens: number;
  /** Whether the engine holds gradients' and Adam's memory. */
  readonly training: boolean;
  /** Whether activations are in units of the decoder's norms. */
  readonly rescale: boolean;
  /** Absent: latents are selected by size. */
  readonly architecture?: DenseArchitecture;
  readonly checkSlice: () => Promise<Check>;
  /** Checks at full size and says what a turn is. */
  readonly prepare: (workload: Workload) => Promise<{ check?: Check; turn: (i: number) => Promise<unknown> }>;
}

export interface Sitting {
  readonly timing: Timing;
  /** Of each timed turn; empty with an engine that does not say. */
  readonly profiles: readonly StepProfile[];
  /** Best of before and after; null without the native engine. */
  readonly peaks: Peaks | null;
  readonly figures: Figures & { readonly tokensPerSecond: number };
  /** What it was, what was checked, how fast it was. */
  readonly head: readonly string[];
  /** Memory. */
  readonly tail: readonly string[];
  /** Size and batch, and the engine and margin where they are not the usual ones. */
  readonly variant: string;
}

/** Untimed turns first: the very first finds the batch-topk cut without a guess. */
const WARM_UP = 2;

export async function sit(options: BenchOptions, plan: SittingPlan): Promise<Sitting> {
  const { size, threads, screening, seconds, note } = options;
  const { bench, batchTokens, training, rescale, architecture } = plan;
  const slice = await plan.checkSlice();
  const before = await peaksIfKnown(threads, seconds);
  const workload = await openWorkload(options, { batchTokens, training, rescale, architecture });
  try {
    const { engine } = workload;
    const { check, turn } = await plan.prepare(workload);
    const checks = check === undefined ? [slice] : [slice, check];
    note("checked; timing");
    const profiles: StepProfile[] = [];
    const after = async () => {
      const profile = await engine.profile();
      if (profile !== null) profiles.push(profile);
    };
    const timing = await timeTurns(turn, { warmUp: WARM_UP, seconds, after });
    const peaks = before && bestOf(before, (await peaksIfKnown(threads, seconds)) ?? before);
    const memory = peakMemoryBytes();
    const [rate, best] = [batchTokens / timing.medianSeconds, batchTokens / timing.bestSeconds];
    const nTurns = timing.turns.length;
    return {
      timing,
      profiles,
      peaks,
      figures: {
        bench,
        tokensPerSecond: round(rate),
        bestTokensPerSecond: round(best),
        size,
        batchTokens,
        engine: { name: engine.name, numericClass: engine.numericClass, description: engine.description },
        ...(screening && { screening }),
        turns: nTurns,
        seconds: { median: round(timing.medianSeconds), best: round(timing.bestSeconds) },
        peaks: peaks && roundedPeaks(peaks),
        peakMemoryBytes: memory,
        checks,
      },
      head: [
        `${bench}, ${size.name} (${saySize(size)}), ${sayNumber(batchTokens)} tokens a batch, ${engine.description}`,
        ...checks.map(
          ({ what, relativeError }) => `  checked   against ${what}: ${relativeError.toExponential(1)}`,
        ),
        `  tokens/s  ${sayNumber(rate)} (best ${sayNumber(best)}): ${sayTime(timing.medianSeconds)}, median of ${nTurns}`,
      ],
      tail: [`  memory    ${sayBytes(memory)} at most, of this process`],
      variant: [
        `${size.name}-B${batchTokens}`,
        ...(engine.name === "native" ? [] : [engine.name]),
        ...(screening === undefined ? [] : [nameOf(screening)]),
      ].join("-"),
    };
  } finally {
    await workload.dispose();
  }
}

function nameOf(screening: Screening): string {
  return screening.margin === "statistical" ? `${screening.sigmas}sigma` : screening.margin;
}
