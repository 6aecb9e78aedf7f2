/**
 * New rows for latents that have lost theirs: a random unit direction in the decoder, and the same in the encoder, small
 * enough that selection first sees 0.2 of a typical latent. The proportion is resampling's; the direction is not, for
 * no batch is at hand here.
 */
import type { Weights } from "../kernels/kernels.ts";
import { changedRows, type WeightRows, type WeightTensor } from "../kernels/weight-rows.ts";
import { Philox } from "../random/philox.ts";
import { rowSquares, squaresOf } from "./fold.ts";

const SCALE = 0.2;

/** Copies of `weights` in which each latent of `rows` points in a seeded random direction, its bias zero. */
export function reinitialiseRows(weights: Weights, rows: readonly number[], seed: number): Weights {
  const { dIn, dSae, wEnc, wDec } = weights;
  const product = SCALE * medianProduct(squaresOf(wEnc, dIn), squaresOf(wDec, dIn), new Set(rows));
  const fresh = (tensor: WeightTensor) => {
    const values = weights[tensor].slice();
    replaceRows(tensor, values, 0, { dIn, latents: rows, product, seed });
    return values;
  };
  return { dIn, dSae, wEnc: fresh("wEnc"), wDec: fresh("wDec"), bEnc: fresh("bEnc"), bDec: weights.bDec };
}

/** The same, of rows that are read when they are wanted; reads both matrices once. */
export async function reinitialiseRowsOf(
  rows: WeightRows,
  latents: readonly number[],
  seed: number,
): Promise<WeightRows> {
  const product =
    SCALE * medianProduct(await rowSquares(rows, "wEnc"), await rowSquares(rows, "wDec"), new Set(latents));
  return changedRows(rows, (tensor, piece, from) =>
    replaceRows(tensor, piece, from, { dIn: rows.dIn, latents, product, seed }),
  );
}

interface NewRows {
  readonly dIn: number;
  readonly latents: readonly number[];
  readonly product: number;
  readonly seed: number;
}

/** Writes over those of `latents` that lie in a piece of a tensor. */
function replaceRows(
  tensor: WeightTensor,
  piece: Float32Array,
  from: number,
  { dIn, latents, product, seed }: NewRows,
): void {
  if (tensor === "bDec") return;
  const width = tensor === "bEnc" ? 1 : dIn;
  const stream = new Philox(seed, "sae/zero-rows");
  for (const latent of latents) {
    const at = (latent - from) * width;
    if (at < 0 || at >= piece.length) continue;
    if (tensor === "bEnc") {
      piece[at] = 0;
      continue;
    }
    const direction = Float64Array.from({ length: dIn }, (_, j) => stream.normal(latent * dIn + j));
    const norm = Math.sqrt(direction.reduce((sum, v) => sum + v * v, 0));
    for (let j = 0; j < dIn; j++)
      piece[at + j] = tensor === "wDec" ? direction[j] / norm : (direction[j] / norm) * product;
  }
}

/** Median of ‖wEnc[i]‖·‖wDec[i]‖ over the other latents, from squares; 1 if there are none. */
function medianProduct(encoder: Float64Array, decoder: Float64Array, except: ReadonlySet<number>): number {
  const products: number[] = [];
  for (let i = 0; i < encoder.length; i++)
    if (!except.has(i)) products.push(Math.sqrt(encoder[i] * decoder[i]));
  return products.sort((a, b) => a - b)[products.length >> 1] ?? 1;
}
