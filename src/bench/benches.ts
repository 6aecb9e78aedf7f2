/** The benches, by name. A new one is a file beside this with one exported function, and a line here; it is loaded when asked for. */
import type { Bench } from "./bench.ts";

export const BENCHES = {
  peaks: async () => (await import("./peaks.ts")).benchPeaks,
  train: async () => (await import("./train.ts")).benchTrain,
  encode: async () => (await import("./encode.ts")).benchEncode,
  evaluate: async () => (await import("./evaluate.ts")).benchEvaluate,
  index: async () => (await import("./index-latents.ts")).benchIndex,
  decode: async () => (await import("./decode.ts")).benchDecode,
  adam: async () => (await import("./adam.ts")).benchAdam,
  harvest: async () => (await import("./harvest.ts")).benchHarvest,
} as const satisfies Readonly<Record<string, () => Promise<Bench>>>;

export type BenchName = keyof typeof BENCHES;

export const BENCH_NAMES = Object.keys(BENCHES) as readonly BenchName[];
