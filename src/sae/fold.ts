/**
 * Rescalings of an SAE's weights that change no reconstruction: norms of decoder rows moved into the encoder, and a
 * factor on the inputs moved into both. Arithmetic in f64, stored once in f32, as correctly rounded fp32 would be.
 */
import type { Weights } from "../kernels/kernels.ts";

/**
 * wDec/n, wEnc·n, bEnc·n: every decoder row gets norm 1 and pre-activations h become p = h·n.
 * A row with n = 0 has no direction: its decoder row stays zero and its encoder row and bias become zero, so that it
 * can never fire (SAELens divides by zero and gets NaN). Thresholds are the caller's to multiply by n.
 */
export function foldDecoderNorms(weights: Weights, norms: Float32Array): Weights {
  const { dIn, dSae, wEnc: oldEnc, wDec: oldDec } = weights;
  const wEnc = new Float32Array(weights.wEnc.length);
  const wDec = new Float32Array(weights.wDec.length);
  const bEnc = new Float32Array(dSae);
  for (let i = 0; i < dSae; i++) {
    const n = norms[i];
    if (n === 0) continue;
    for (let j = i * dIn; j < (i + 1) * dIn; j++) {
      wEnc[j] = oldEnc[j] * n;
      wDec[j] = oldDec[j] / n;
    }
    bEnc[i] = weights.bEnc[i] * n;
  }
  return { dIn, dSae, wEnc, wDec, bEnc, bDec: weights.bDec.slice() };
}

/**
 * Weights for x from weights for s·x: wEnc·s, wDec/s, bDec/s; bEnc stays. What SAELens does at the end of a run with
 * `expected_average_only_in`. Decoder norms are divided by s, and so are pre-activations rescaled by them.
 */
export function foldInputScale(weights: Weights, s: number): Weights {
  return {
    dIn: weights.dIn,
    dSae: weights.dSae,
    wEnc: weights.wEnc.map((w) => w * s),
    wDec: weights.wDec.map((w) => w / s),
    bEnc: weights.bEnc.slice(),
    bDec: weights.bDec.map((b) => b / s),
  };
}
