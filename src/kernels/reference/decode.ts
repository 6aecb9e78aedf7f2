/**
 * Reconstructions from sparse activations:
 *   x̂ = Σ_i (a_i / n_i) · wDec[i] + bDec      (a_i itself without rescaling), latents ascending, sums in f64.
 * A decoder row of norm zero has no direction and decodes to nothing (SAELens: 0/0, NaN).
 */
import type { SparseActs, Weights } from "../kernels.ts";
import { Breath } from "./breath.ts";

/** What an activation contributes its latent's decoder row with: a / n, or a. Equals h where p > 0. */
export function coefficients(acts: SparseActs, norms: Float32Array | null): Float64Array {
  const c = Float64Array.from(acts.values);
  if (norms === null) return c;
  for (let e = 0; e < c.length; e++) {
    const n = norms[acts.latents[e]];
    c[e] = n > 0 ? c[e] / n : 0;
  }
  return c;
}

/** Calls `visit(token, prefix, x̂)` with the f64 reconstruction of each token from the latents below each width, widths ascending. */
export async function visitReconstructions(
  acts: SparseActs,
  coefficient: Float64Array,
  weights: Weights,
  widths: readonly number[],
  visit: (token: number, level: number, recon: Float64Array) => void,
): Promise<void> {
  const { dIn, wDec, bDec } = weights;
  const recon = new Float64Array(dIn);
  const breath = new Breath();
  for (let t = 0; t < acts.nTokens; t++) {
    recon.set(bDec);
    let e = acts.offsets[t];
    for (let level = 0; level < widths.length; level++) {
      for (; e < acts.offsets[t + 1] && acts.latents[e] < widths[level]; e++)
        addRow(recon, coefficient[e], wDec, acts.latents[e] * dIn);
      visit(t, level, recon);
    }
    if (breath.due()) await breath.take();
  }
}

/** sum += scale · rows[at …] */
export function addRow(
  sum: Float64Array,
  scale: number,
  rows: Float32Array | Float64Array,
  at: number,
): void {
  for (let j = 0; j < sum.length; j++) sum[j] += scale * rows[at + j];
}

/** ⟨a[at …], b[bt …]⟩ over d values, ascending, f64. */
export function dot(a: Float32Array, at: number, b: Float64Array, bt: number, d: number): number {
  let sum = 0;
  for (let j = 0; j < d; j++) sum += a[at + j] * b[bt + j];
  return sum;
}
