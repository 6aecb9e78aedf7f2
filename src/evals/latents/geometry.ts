/**
 * What an SAE's weights say by themselves, without data: whether each latent reads the direction that it writes, whether
 * latents share a direction, how its thresholds spread.
 */
import type { Sae } from "../../sae/sae.ts";
import { quantile } from "../quantile.ts";
import { type SaeIdentity, saeIdentity } from "../result.ts";
import { type CosineSummary, cosineSummary, rowCosines } from "./cosines.ts";
import { type NearestOptions, nearestOthers } from "./nearest-rows.ts";

/** Geometry of one SAE; plain JSON. */
export interface SaeGeometry {
  readonly format: "lapidary-geometry";
  readonly version: 1;
  readonly sae: SaeIdentity;
  readonly encoderDecoder: CosineSummary;
  readonly nearestDecoder: NearestDecoderSummary;
  /** null: the SAE has no thresholds */
  readonly thresholds: ThresholdSpread | null;
}

/** How near each latent's decoder row is to another's. */
export interface NearestDecoderSummary extends CosineSummary {
  /** latents whose nearest cosine is above 0.9 */
  readonly nAbove09: number;
  /** latents whose nearest cosine is 1 to the rounding of f32 (1 − cosine ≤ 1e-12) */
  readonly nTwins: number;
}

/** Thresholds of a JumpReLU SAE over its latents, in units of pre-activations. */
export interface ThresholdSpread {
  readonly definition: string;
  readonly mean: number;
  readonly quantiles: readonly { readonly percentile: number; readonly value: number }[];
  /** (largest − smallest) / median; null where the median is 0 */
  readonly relativeSpread: number | null;
  /** latents whose threshold is more than 1e-5 of the median away from it: 0 of an SAE with a single threshold */
  readonly nApart: number;
}

/** Geometry, and what it was summed up from. */
export interface MeasuredGeometry {
  readonly result: SaeGeometry;
  /** [dSae] NaN where a row is zero */
  readonly encoderDecoderCosine: Float64Array;
  /** [dSae] the latent with the nearest decoder row; −1: none */
  readonly nearestDecoderIndex: Int32Array;
  /** [dSae] its cosine; NaN: none */
  readonly nearestDecoderCosine: Float64Array;
}

/** 1 − cosine of rows that differ by f32's rounding alone: about 2e-15; far above it, and far below any true angle. */
const TWIN = 1e-12;
const PERCENTILES = [0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100];

/**
 * Measures `sae`. Dead latents count like all others; rows of zeros have no direction and are counted as undefined.
 * Takes about as long as encoding dSae tokens. Memory beside the SAE: one search of `nearestOthers`.
 */
export async function measureGeometry(sae: Sae, options: NearestOptions): Promise<MeasuredGeometry> {
  const { dIn, wEnc, wDec } = sae.weights;
  const encoderDecoderCosine = rowCosines(wEnc, wDec, dIn);
  const nearest = await nearestOthers(wDec, dIn, options);
  const result: SaeGeometry = {
    format: "lapidary-geometry",
    version: 1,
    sae: saeIdentity(sae),
    encoderDecoder: cosineSummary(
      encoderDecoderCosine,
      "Cosine between a latent's encoder row and its decoder row.",
    ),
    nearestDecoder: {
      ...cosineSummary(
        nearest.cosine,
        "Cosine between a latent's decoder row and the nearest other one (mean: SAEBench's average_max_decoder_cosine_sim).",
      ),
      nAbove09: count(nearest.cosine, (cosine) => cosine > 0.9),
      nTwins: count(nearest.cosine, (cosine) => 1 - cosine <= TWIN),
    },
    thresholds: thresholdSpread(sae),
  };
  return {
    result,
    encoderDecoderCosine,
    nearestDecoderIndex: nearest.index,
    nearestDecoderCosine: nearest.cosine,
  };
}

/** Null for an SAE without thresholds. */
export function thresholdSpread({ threshold }: Pick<Sae, "threshold">): ThresholdSpread | null {
  if (threshold === null || threshold.length === 0) return null;
  const sorted = Float64Array.from(threshold).sort();
  const median = quantile(sorted, 0.5);
  return {
    definition:
      "Thresholds of the latents by percentile: a latent is active where its pre-activation exceeds its threshold.",
    mean: sorted.reduce((a, b) => a + b, 0) / sorted.length,
    quantiles: PERCENTILES.map((percentile) => ({ percentile, value: quantile(sorted, percentile / 100) })),
    relativeSpread: median === 0 ? null : (sorted[sorted.length - 1] - sorted[0]) / median,
    nApart: count(sorted, (value) => Math.abs(value - median) > 1e-5 * Math.abs(median)),
  };
}

function count(values: Float64Array, is: (value: number) => boolean): number {
  return values.reduce((n, value) => n + (is(value) ? 1 : 0), 0);
}
