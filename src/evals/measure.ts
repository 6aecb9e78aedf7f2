/** What is measured on each token of a chunk, in fp64: a table of quantities, which sums of tokens are made of. */
import { DataError, ShapeError } from "../errors.ts";
import type { SparseActs } from "../kernels/kernels.ts";
import { INDEX, N_QUANTITIES } from "./token-sums.ts";

/** Activations and what an SAE made of them. */
export interface Reconstructed {
  /** [nTokens, dIn] */
  readonly x: Float32Array;
  /** x̂ [nTokens, dIn] */
  readonly recon: Float32Array;
  readonly acts: SparseActs;
}

/**
 * The quantities of each token, [nTokens, N_QUANTITIES]; those that need the set's mean stay 0.
 * `origin`: μ₀ [dIn]. `first`: number of the first token, for errors.
 * @throws {ShapeError} x, x̂ and the activations are not of the same tokens
 * @throws {DataError} a number of x or x̂ is not finite
 */
export function measure(
  { x, recon, acts }: Reconstructed,
  origin: Float64Array,
  first: number,
): Float64Array {
  const dIn = origin.length;
  const nTokens = x.length / dIn;
  if (!Number.isInteger(nTokens)) throw new ShapeError("activations", x.length, `a multiple of dIn ${dIn}`);
  if (recon.length !== x.length) throw new ShapeError("reconstructions", recon.length, x.length);
  if (acts.nTokens !== nTokens)
    throw new ShapeError("tokens of the sparse activations", acts.nTokens, nTokens);
  const table = new Float64Array(nTokens * N_QUANTITIES);
  for (let token = 0; token < nTokens; token++) {
    const start = token * dIn;
    let [yy, sse, xx, rr, xr] = [0, 0, 0, 0, 0];
    for (let j = 0; j < dIn; j++) {
      const a = x[start + j];
      const b = recon[start + j];
      const y = a - origin[j];
      yy += y * y;
      sse += (a - b) * (a - b);
      xx += a * a;
      rr += b * b;
      xr += a * b;
    }
    if (!Number.isFinite(sse)) {
      const side = Number.isFinite(xx) ? "reconstruction" : "activation";
      throw new DataError(`the ${side} of evaluated token ${first + token} is not finite`);
    }
    let absActs = 0;
    for (let e = acts.offsets[token]; e < acts.offsets[token + 1]; e++) absActs += Math.abs(acts.values[e]);
    const at = token * N_QUANTITIES;
    table[at + INDEX.n] = 1;
    table[at + INDEX.yy] = yy;
    table[at + INDEX.sse] = sse;
    table[at + INDEX.active] = acts.offsets[token + 1] - acts.offsets[token];
    table[at + INDEX.absActs] = absActs;
    table[at + INDEX.rr] = rr;
    table[at + INDEX.xr] = xr;
    table[at + INDEX.norm] = Math.sqrt(xx);
    table[at + INDEX.reconNorm] = Math.sqrt(rr);
    if (xx > 0) {
      table[at + INDEX.normRatio] = Math.sqrt(rr / xx);
      table[at + INDEX.nNormRatio] = 1;
    }
    if (xx > 0 && rr > 0) {
      table[at + INDEX.cosine] = xr / Math.sqrt(xx * rr);
      table[at + INDEX.nCosine] = 1;
    }
  }
  return table;
}

/** ‖x − c‖² of token `row` of x [n, dIn]. */
export function squaredDistance(x: Float32Array, row: number, c: Float64Array): number {
  const start = row * c.length;
  let square = 0;
  for (let j = 0; j < c.length; j++) {
    const d = x[start + j] - c[j];
    square += d * d;
  }
  return square;
}

/** Mean of the first tokens of x [n, dIn], at most 64: an origin near the mean of them all. */
export function originOf(x: Float32Array, dIn: number): Float64Array {
  const n = Math.min(64, x.length / dIn);
  const origin = new Float64Array(dIn);
  for (let i = 0; i < n * dIn; i++) origin[i % dIn] += x[i];
  return origin.map((sum) => sum / n);
}
