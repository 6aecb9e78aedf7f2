/**
 * `lapidary bench encode`: activations → sparse latents, by JumpReLU thresholds (the default: an SAE at work), per-token
 * top-k, or batch-topk. The thresholds are one number, chosen to keep k latents a token.
 */
import type { Engine, SizeSelection } from "../kernels/kernels.ts";
import { arithmeticOf, phasesOf } from "./arithmetic.ts";
import type { BenchOptions, BenchReport } from "./bench.ts";
import { checkCoding, checkSelection } from "./check.ts";
import { sit } from "./sitting.ts";

export async function benchEncode(options: BenchOptions): Promise<BenchReport> {
  const { size, batchTokens = 1024, selection: kind } = options;
  const rescale = kind !== "threshold";
  const { timing, profiles, peaks, figures, head, tail, variant } = await sit(options, {
    bench: "encode",
    batchTokens,
    training: false,
    rescale,
    checkSlice: () => checkCoding(options, rescale, (engine, x, k) => chooseSelection(engine, x, kind, k)),
    async prepare({ engine, batch }) {
      const selection = await chooseSelection(engine, batch(0), kind, size.k);
      const check = await checkSelection(
        engine,
        batch(0),
        await engine.encode(batch(0), selection),
        selection,
      );
      return { check, turn: (i) => engine.encode(batch(i), selection) };
    },
  });
  const dense = arithmeticOf("encode", size, batchTokens, timing.medianSeconds, peaks);
  const parts = phasesOf(profiles, size, batchTokens, peaks);
  return {
    figures: { ...figures, selection: kind, ...dense.figures, ...parts.figures },
    lines: [...head, `  selects   by ${kind}`, ...dense.lines, ...parts.lines, ...tail],
    variant: `${variant}-${kind}`,
  };
}

/** Keeps a threshold clear of the value it comes from, which engines round differently. */
const JUST_BELOW = 0.9999;

/** The selection of a kind that keeps about k latents a token of `x`. */
export async function chooseSelection(
  engine: Engine,
  x: Float32Array,
  kind: BenchOptions["selection"],
  k: number,
): Promise<SizeSelection> {
  if (kind !== "threshold") return { kind, k };
  const { values } = await engine.encode(x, { kind: "batch-topk", k });
  const smallest = values.reduce((least, value) => Math.min(least, value), values[0] ?? 0);
  return { kind, thresholds: new Float32Array(engine.config.dSae).fill(JUST_BELOW * smallest) };
}
