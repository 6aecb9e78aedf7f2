/** Sums over all tokens of each latent's activations: what densities, moments and the cut into blocks are made from. */
import type { SparseActs } from "../../kernels/kernels.ts";

export class LatentTotals {
  /** [dSae] tokens on which it fires */
  readonly count: Uint32Array;
  /** [dSae] Σ a and Σ a², in f64, tokens ascending */
  readonly sum: Float64Array;
  readonly squares: Float64Array;

  constructor(dSae: number) {
    this.count = new Uint32Array(dSae);
    this.sum = new Float64Array(dSae);
    this.squares = new Float64Array(dSae);
  }

  add({ latents, values }: SparseActs): void {
    const { count, sum, squares } = this;
    for (let e = 0; e < latents.length; e++) {
      const latent = latents[e];
      const value = values[e];
      count[latent] += 1;
      sum[latent] += value;
      squares[latent] += value * value;
    }
  }
}
