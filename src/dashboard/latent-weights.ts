/** What an SAE's weights say of each latent by themselves, and how far its rows turned since the SAE it comes from. Sums in f64. */
import { ShapeError } from "../errors.ts";
import type { Sae } from "../sae/sae.ts";

/** Numbers of one latent, by array; NaN where there is none. */
export interface WeightScalars {
  readonly decoderNorm: Float64Array;
  readonly encoderNorm: Float64Array;
  /** NaN: a row without direction, or encoder and decoder of different widths */
  readonly encoderDecoderCosine: Float64Array;
}

/** Cosines of each latent's rows with those of the base SAE's latent of the same index; NaN: a row without direction. */
export interface Drift {
  readonly decoderCosine: Float64Array;
  readonly encoderCosine: Float64Array;
}

export function weightScalars({ weights, config }: Sae): WeightScalars {
  const { wEnc, wDec, dSae, dIn } = weights;
  const dOut = config.output?.dOut ?? dIn;
  const decoderNorm = norms(wDec, dSae);
  const encoderNorm = norms(wEnc, dSae);
  return {
    decoderNorm,
    encoderNorm,
    encoderDecoderCosine: dOut === dIn ? cosines(wEnc, wDec, dSae) : new Float64Array(dSae).fill(Number.NaN),
  };
}

/** @throws {ShapeError} the two are of different sizes */
export function driftOf(sae: Sae, base: Sae): Drift {
  for (const tensor of ["wEnc", "wDec"] as const)
    if (sae.weights[tensor].length !== base.weights[tensor].length || sae.config.dSae !== base.config.dSae)
      throw new ShapeError(
        `${tensor} of the base SAE`,
        [base.config.dSae, base.weights[tensor].length / base.config.dSae],
        [sae.config.dSae, sae.weights[tensor].length / sae.config.dSae],
        "drift is measured from the SAE that this one was trained from",
      );
  return {
    decoderCosine: cosines(sae.weights.wDec, base.weights.wDec, sae.config.dSae),
    encoderCosine: cosines(sae.weights.wEnc, base.weights.wEnc, sae.config.dSae),
  };
}

function norms(rows: Float32Array, n: number): Float64Array {
  const width = rows.length / n;
  return Float64Array.from({ length: n }, (_, row) => Math.sqrt(dot(rows, rows, row * width, width)));
}

function cosines(a: Float32Array, b: Float32Array, n: number): Float64Array {
  const width = a.length / n;
  return Float64Array.from({ length: n }, (_, row) => {
    const at = row * width;
    const cosine = dot(a, b, at, width) / Math.sqrt(dot(a, a, at, width) * dot(b, b, at, width));
    return Math.max(-1, Math.min(1, cosine));
  });
}

function dot(a: Float32Array, b: Float32Array, at: number, width: number): number {
  let sum = 0;
  for (let j = at; j < at + width; j++) sum += a[j] * b[j];
  return sum;
}
