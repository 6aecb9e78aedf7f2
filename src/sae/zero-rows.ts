/**
 * New rows for latents that have lost theirs: a random unit direction in the decoder, and the same in the encoder, small
 * enough that selection first sees 0.2 of a typical latent. The proportion is resampling's; the direction is not, for
 * no batch is at hand here.
 */
import type { Weights } from "../kernels/kernels.ts";
import { Philox } from "../random/philox.ts";

const SCALE = 0.2;

/** Copies of `weights` in which each latent of `rows` points in a seeded random direction, its bias zero. */
export function reinitialiseRows(weights: Weights, rows: readonly number[], seed: number): Weights {
  const { dIn, dSae } = weights;
  const wEnc = weights.wEnc.slice();
  const wDec = weights.wDec.slice();
  const bEnc = weights.bEnc.slice();
  const product = SCALE * medianProduct(weights, new Set(rows));
  const stream = new Philox(seed, "sae/zero-rows");
  for (const i of rows) {
    const direction = Float64Array.from({ length: dIn }, (_, j) => stream.normal(i * dIn + j));
    const norm = Math.sqrt(direction.reduce((sum, v) => sum + v * v, 0));
    for (let j = 0; j < dIn; j++) {
      wDec[i * dIn + j] = direction[j] / norm;
      wEnc[i * dIn + j] = (direction[j] / norm) * product;
    }
    bEnc[i] = 0;
  }
  return { dIn, dSae, wEnc, wDec, bEnc, bDec: weights.bDec };
}

/** Median of ‖wEnc[i]‖·‖wDec[i]‖ over the other latents; 1 if there are none. */
function medianProduct({ dIn, dSae, wEnc, wDec }: Weights, except: ReadonlySet<number>): number {
  const products: number[] = [];
  for (let i = 0; i < dSae; i++) {
    if (except.has(i)) continue;
    let e = 0;
    let d = 0;
    for (let j = i * dIn; j < (i + 1) * dIn; j++) {
      e += wEnc[j] * wEnc[j];
      d += wDec[j] * wDec[j];
    }
    products.push(Math.sqrt(e * d));
  }
  return products.sort((a, b) => a - b)[products.length >> 1] ?? 1;
}
