/**
 * Where an SAE's thresholds fall among the pre-activations it meets: too high and it goes silent, too low and noise comes
 * through. Looked at on a sample of tokens, a few at a time: positive pre-activations are half of tokens × latents.
 */
import type { SparseActs } from "../../kernels/kernels.ts";
import type { InferenceSae } from "../../sae/inference.ts";
import type { Sae } from "../../sae/sae.ts";
import { trainingRecord } from "../../sae/training-record.ts";

/** Entries of tokens × latents that one look may give. */
const ENTRIES_AT_ONCE = 1 << 22;

/** How the thresholds lie, over a sample of tokens. p: pre-activations. */
export interface ThresholdPosition {
  readonly nTokens: number;
  /** of all p, those above their latent's threshold: L0 / dSae */
  readonly shareAbove: number;
  /** of all p, those above zero */
  readonly sharePositive: number;
  /** of the positive p, those at or below their latent's threshold: the threshold's quantile; null: none is positive */
  readonly quantile: number | null;
  /** median of the thresholds, in units of p */
  readonly threshold: number;
  /** latents a token that the SAE was trained to use, if it says so */
  readonly k: number | null;
  /** smallest of the k·n largest p of the sample: where the threshold would lie if L0 were k */
  readonly cutAtK: number | null;
  /** threshold / cutAtK: above 1 fewer than k latents fire */
  readonly thresholdToCut: number | null;
}

/**
 * Of the tokens `x` [n, dIn]. Null: an SAE without thresholds.
 * Memory: `ENTRIES_AT_ONCE` entries.
 */
export async function thresholdPosition(
  inference: InferenceSae,
  x: Float32Array,
): Promise<ThresholdPosition | null> {
  const { sae } = inference;
  const { dIn, dSae } = sae.config;
  const thresholds = thresholdsOf(sae);
  if (thresholds === null) return null;
  const relu = { kind: "threshold", thresholds: new Float32Array(dSae) } as const;
  const tokensAtOnce = Math.max(1, Math.floor(ENTRIES_AT_ONCE / dSae));
  const nTokens = x.length / dIn;
  let nPositive = 0;
  let nAbove = 0;
  for (let from = 0; from < nTokens; from += tokensAtOnce) {
    const to = Math.min(nTokens, from + tokensAtOnce);
    const positive = await inference.encode(x.slice(from * dIn, to * dIn), relu);
    nPositive += positive.latents.length;
    nAbove += countAbove(positive, thresholds);
  }
  const k = kOf(sae);
  const cutAtK = k === null ? null : await cutAt(inference, x, k);
  const threshold = median(thresholds);
  return {
    nTokens,
    shareAbove: nAbove / (nTokens * dSae),
    sharePositive: nPositive / (nTokens * dSae),
    quantile: nPositive === 0 ? null : (nPositive - nAbove) / nPositive,
    threshold,
    k,
    cutAtK,
    thresholdToCut: cutAtK === null ? null : threshold / cutAtK,
  };
}

/** Latents a token that an SAE was trained with: its own setting, or its record of training. Null: not recorded. */
export function kOf(sae: Pick<Sae, "config" | "runnerConfig">): number | null {
  const k = sae.config.k ?? trainingRecord(sae).k?.value ?? null;
  return k !== null && k > 0 && k <= sae.config.dSae ? k : null;
}

function thresholdsOf({ config, threshold }: Sae): Float32Array | null {
  if (config.architecture === "standard") return new Float32Array(config.dSae);
  return threshold;
}

function countAbove({ latents, values }: SparseActs, thresholds: Float32Array): number {
  let n = 0;
  for (let e = 0; e < latents.length; e++) if (values[e] > thresholds[latents[e]]) n += 1;
  return n;
}

/** Null: fewer than k·n entries are positive, so that nothing is cut. */
async function cutAt(inference: InferenceSae, x: Float32Array, k: number): Promise<number | null> {
  const { values, nTokens } = await inference.encode(x, { kind: "batch-topk", k });
  if (values.length < Math.floor(k * nTokens)) return null;
  let cut = Number.POSITIVE_INFINITY;
  for (const value of values) cut = Math.min(cut, value);
  return Number.isFinite(cut) && cut > 0 ? cut : null;
}

function median(values: Float32Array): number {
  const sorted = values.slice().sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
