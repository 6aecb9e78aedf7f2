/**
 * Two SAEs of the same input side by side, latent by latent: how far each latent moved, and which latent of the other
 * SAE is nearest to it. A is what one had, B what became of it.
 */
import { ShapeError } from "../../errors.ts";
import type { Sae } from "../../sae/sae.ts";
import { quantile } from "../quantile.ts";
import { type SaeIdentity, saeIdentity } from "../result.ts";
import { type CosineSummary, cosineSummary, definedOf, rowCosines } from "./cosines.ts";
import { EQUALLY_NEAR, type NearestOptions, type NearestRows, nearestRows } from "./nearest-rows.ts";
import { mutualMatches } from "./pairs.ts";

/** One side of a comparison. */
export interface ComparedSae {
  readonly sae: Sae;
  /** how often each latent fired, [dSae], and on how many tokens that was counted; null: not known */
  readonly firing: { readonly counts: ArrayLike<number>; readonly nTokens: number } | null;
}

/** The comparison in numbers, and latent by latent. */
export interface LatentComparison {
  readonly summary: LatentComparisonSummary;
  readonly latents: ComparedLatents;
}

/** Latent by latent. */
export interface ComparedLatents {
  /** latent i of A and latent i of B; null where the SAEs differ in width */
  readonly byIndex: LatentsByIndex | null;
  /** for each latent of A, the nearest of B by decoder cosine */
  readonly nearestInB: NearestRows;
  /** for each latent of B, the nearest of A */
  readonly nearestInA: NearestRows;
}

/** All [dSae]; NaN where undefined. */
export interface LatentsByIndex {
  readonly decoderCosine: Float64Array;
  readonly encoderCosine: Float64Array;
  /** null: one of the SAEs has no thresholds */
  readonly thresholdRatio: Float64Array | null;
  /** null: firing counts are not known */
  readonly logFrequencyChange: Float64Array | null;
}

/** Plain JSON. */
export interface LatentComparisonSummary {
  readonly format: "lapidary-latent-comparison";
  readonly version: 1;
  readonly a: SaeIdentity;
  readonly b: SaeIdentity;
  readonly byIndex: ByIndexSummary | null;
  readonly nearestInB: CosineSummary;
  readonly nearestInA: CosineSummary;
  readonly mutual: { readonly definition: string; readonly nPairs: number };
}

/** Latents matched by index. */
export interface ByIndexSummary {
  readonly nLatents: number;
  readonly decoderCosine: CosineSummary;
  readonly encoderCosine: CosineSummary;
  /** latents whose decoder cosine is below 0.99, 0.9, 0.5 */
  readonly nMovedBelow: readonly { readonly cosine: number; readonly nLatents: number }[];
  /** latents whose own successor is the nearest to them in B; as near as the nearest counts, for twins */
  readonly nIndexIsNearest: number;
  readonly thresholdRatio: Spread | null;
  readonly logFrequencyChange: Spread | null;
}

/** Where numbers lie. */
export interface Spread {
  readonly definition: string;
  /** latents that have one */
  readonly n: number;
  readonly quantiles: readonly { readonly percentile: number; readonly value: number }[];
}

const MOVED_BELOW = [0.99, 0.9, 0.5];
const PERCENTILES = [0, 1, 5, 25, 50, 75, 95, 99, 100];

/**
 * Compares `a` and `b`. Both searches take about as long as encoding dSae tokens; memory beside the two SAEs: one of them.
 * @throws {ShapeError} the two differ in dIn, or counts do not fit their SAE
 */
export async function compareLatents(
  a: ComparedSae,
  b: ComparedSae,
  options: NearestOptions,
): Promise<LatentComparison> {
  const { dIn } = a.sae.config;
  if (b.sae.config.dIn !== dIn) throw new ShapeError("dIn of the second SAE", b.sae.config.dIn, dIn);
  for (const { sae, firing } of [a, b])
    if (firing !== null && firing.counts.length !== sae.config.dSae)
      throw new ShapeError("firing counts", firing.counts.length, sae.config.dSae);
  const progress = (from: number, each: number, total: number): NearestOptions => ({
    ...options,
    onProgress: ({ done }) => options.onProgress?.({ done: from + Math.min(done, each), total }),
  });
  const [nA, nB] = [a.sae.config.dSae, b.sae.config.dSae];
  const [rowsA, rowsB] = [a.sae.weights.wDec, b.sae.weights.wDec];
  const nearestInB = await nearestRows(rowsA, rowsB, dIn, progress(0, nA, nA + nB));
  const nearestInA = await nearestRows(rowsB, rowsA, dIn, progress(nA, nB, nA + nB));
  const byIndex = nA === nB ? latentsByIndex(a, b) : null;
  return {
    summary: {
      format: "lapidary-latent-comparison",
      version: 1,
      a: saeIdentity(a.sae),
      b: saeIdentity(b.sae),
      byIndex: byIndex === null ? null : summaryByIndex(byIndex, nearestInB),
      nearestInB: cosineSummary(nearestInB.cosine, "Decoder cosine of each latent of A to the nearest of B."),
      nearestInA: cosineSummary(nearestInA.cosine, "Decoder cosine of each latent of B to the nearest of A."),
      mutual: {
        definition:
          "Pairs of a latent of A and one of B that are each other's nearest by decoder cosine; of twins, those of one index.",
        nPairs: mutualMatches(nearestInB, nearestInA, byIndex?.decoderCosine ?? null).nPairs,
      },
    },
    latents: { byIndex, nearestInB, nearestInA },
  };
}

function latentsByIndex(a: ComparedSae, b: ComparedSae): LatentsByIndex {
  const { dIn } = a.sae.config;
  return {
    decoderCosine: rowCosines(a.sae.weights.wDec, b.sae.weights.wDec, dIn),
    encoderCosine: rowCosines(a.sae.weights.wEnc, b.sae.weights.wEnc, dIn),
    thresholdRatio: thresholdRatios(a.sae, b.sae),
    logFrequencyChange: logFrequencyChanges(a.firing, b.firing),
  };
}

const THRESHOLD_RATIO =
  "Threshold times decoder norm, B over A: the least that a latent adds when it fires; folding decoder norms does not change it.";

/** [dSae]; NaN where A's is 0. */
function thresholdRatios(a: Sae, b: Sae): Float64Array | null {
  if (a.threshold === null || b.threshold === null) return null;
  const [cutA, cutB] = [leastContributions(a), leastContributions(b)];
  return cutB.map((cut, i) => (cutA[i] === 0 ? Number.NaN : cut / cutA[i]));
}

function leastContributions({ threshold, weights: { wDec, dIn } }: Sae): Float64Array {
  return Float64Array.from(threshold!, (cut, latent) => {
    let squares = 0;
    for (let i = latent * dIn; i < (latent + 1) * dIn; i++) squares += wDec[i] * wDec[i];
    return cut * Math.sqrt(squares);
  });
}

const LOG_FREQUENCY_CHANGE =
  "log10 of the share of tokens on which a latent fires, B less A; one that never fired in one of them counts half a token there, one that fired in neither is left out.";

/** [dSae]; NaN for latents that fired in neither. */
function logFrequencyChanges(a: ComparedSae["firing"], b: ComparedSae["firing"]): Float64Array | null {
  if (a === null || b === null) return null;
  return Float64Array.from(a.counts, (before, i) => {
    const after = b.counts[i];
    if (before === 0 && after === 0) return Number.NaN;
    return Math.log10((after || 0.5) / b.nTokens) - Math.log10((before || 0.5) / a.nTokens);
  });
}

function summaryByIndex(latents: LatentsByIndex, nearestInB: NearestRows): ByIndexSummary {
  const { decoderCosine, encoderCosine, thresholdRatio, logFrequencyChange } = latents;
  const count = (is: (cosine: number, latent: number) => boolean) =>
    decoderCosine.reduce((n, cosine, latent) => n + (is(cosine, latent) ? 1 : 0), 0);
  return {
    nLatents: decoderCosine.length,
    decoderCosine: cosineSummary(decoderCosine, "Cosine between decoder row i of A and decoder row i of B."),
    encoderCosine: cosineSummary(encoderCosine, "Cosine between encoder row i of A and encoder row i of B."),
    nMovedBelow: MOVED_BELOW.map((limit) => ({
      cosine: limit,
      nLatents: count((cosine) => cosine < limit),
    })),
    nIndexIsNearest: count(
      (cosine, i) => nearestInB.index[i] === i || cosine >= nearestInB.cosine[i] - EQUALLY_NEAR,
    ),
    thresholdRatio: thresholdRatio === null ? null : spread(thresholdRatio, THRESHOLD_RATIO),
    logFrequencyChange: logFrequencyChange === null ? null : spread(logFrequencyChange, LOG_FREQUENCY_CHANGE),
  };
}

function spread(values: Float64Array, definition: string): Spread {
  const sorted = definedOf(values);
  return {
    definition,
    n: sorted.length,
    quantiles:
      sorted.length === 0
        ? []
        : PERCENTILES.map((percentile) => ({ percentile, value: quantile(sorted, percentile / 100) })),
  };
}
