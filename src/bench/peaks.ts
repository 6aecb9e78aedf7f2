/** `lapidary bench peaks`: what this machine can do at best. Shares of it are quoted beside every rate. */
import { availableParallelism } from "node:os";
import { EngineError } from "../errors.ts";
import { measurePeak } from "../kernels/addon.ts";
import type { BenchOptions, BenchReport } from "./bench.ts";
import { round } from "./measure.ts";
import { sayNumber } from "./words.ts";

export interface Peaks {
  /** fp32 fused multiply-adds, GFLOP/s: an addition and a multiplication are two */
  readonly fp32: number;
  /** int8 dot products with 32-bit sums, Gop/s, counted likewise */
  readonly int8: number;
  /** reading and writing memory that no cache holds, GB/s */
  readonly memory: number;
}

/** Runs of each kind, in rotation; the best counts. */
const RUNS = 3;

export async function benchPeaks(options: BenchOptions): Promise<BenchReport> {
  const { threads = availableParallelism(), seconds } = options;
  let peaks = await peaksIfKnown(threads, seconds);
  for (let run = 1; peaks !== null && run < RUNS; run++)
    peaks = bestOf(peaks, await measurePeaks(threads, seconds));
  return {
    figures: { bench: "peaks", tokensPerSecond: null, threads, peaks: peaks && roundedPeaks(peaks) },
    lines: [
      `peaks, ${threads} thread${threads === 1 ? "" : "s"}`,
      ...(peaks === null
        ? ["  not known: the native engine measures them (lapidary doctor says why there is none)"]
        : [
            `  fp32      ${sayNumber(peaks.fp32)} GFLOP/s`,
            `  int8      ${sayNumber(peaks.int8)} Gop/s`,
            `  memory    ${sayNumber(peaks.memory)} GB/s`,
          ]),
    ],
    variant: `T${threads}`,
  };
}

/** One run of each kind: 100 ms, less beside a bench of less than two seconds. @throws {EngineError} no native engine */
async function measurePeaks(threads: number | undefined, seconds: number): Promise<Peaks> {
  const milliseconds = Math.min(100, Math.max(5, 50 * seconds));
  const measure = (kind: keyof Peaks) => measurePeak({ kind, threads, milliseconds });
  return { fp32: await measure("fp32"), int8: await measure("int8"), memory: await measure("memory") };
}

/** The same beside another bench, which does without where there is no native engine. */
export async function peaksIfKnown(threads: number | undefined, seconds: number): Promise<Peaks | null> {
  try {
    return await measurePeaks(threads, seconds);
  } catch (error) {
    if (error instanceof EngineError) return null;
    throw error;
  }
}

export function bestOf(a: Peaks, b: Peaks): Peaks {
  return {
    fp32: Math.max(a.fp32, b.fp32),
    int8: Math.max(a.int8, b.int8),
    memory: Math.max(a.memory, b.memory),
  };
}

export function roundedPeaks({ fp32, int8, memory }: Peaks): Peaks {
  return { fp32: round(fp32), int8: round(int8), memory: round(memory) };
}
