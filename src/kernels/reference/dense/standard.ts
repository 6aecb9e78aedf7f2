/**
 * Standard SAEs: h = c·wEncᵀ + bEnc, a = relu(h), and with y = a·n
 *   sparsity = l1 · (1/B) Σ_b ‖y_b‖_p        ∂/∂y = (l1/B) · (y / ‖y_b‖_p)^(p−1), for p = 1 plainly l1/B
 * The norm is homogeneous, so the loss is Σ y · ∂/∂y. Source: SAELens 6.18 `StandardTrainingSAE`, spec §2.
 */
import type { DenseArchitecture, SparseActs, Weights } from "../../kernels.ts";
import type { Rule } from "./rule.ts";

export function standardRule(
  { lpNorm: p }: Extract<DenseArchitecture, { kind: "standard" }>,
  weights: Weights,
): Rule {
  return {
    bias: weights.bEnc,
    activation: (h) => Math.max(h, 0),
    gate: null,
    pullOf({ nTokens, acts, norms, sparsity: l1 }) {
      const lengths = lengthsOf(acts, norms, p);
      return ({ i, norm, h, da, dh }, gradients) => {
        let [sparsity, dNorm, dBias] = [0, 0, 0];
        for (let b = 0; b < nTokens; b++) {
          const a = Math.max(h[b], 0);
          const share = lengths[b] > 0 ? (a * norm) / lengths[b] : 0;
          const dy = (l1 / nTokens) * share ** (p - 1);
          sparsity += dy * a * norm;
          dNorm += dy * a;
          dh[b] = a > 0 ? da[b] + dy * norm : 0;
          dBias += dh[b];
        }
        gradients.bEnc[i] = dBias;
        return { sparsity, aux: 0, dNorm };
      };
    },
  };
}

/** ‖a[b] · n‖_p of every token, [B]. */
function lengthsOf({ nTokens, offsets, latents, values }: SparseActs, norms: Float32Array, p: number) {
  const lengths = new Float64Array(nTokens);
  for (let b = 0; b < nTokens; b++) {
    for (let e = offsets[b]; e < offsets[b + 1]; e++) lengths[b] += (values[e] * norms[latents[e]]) ** p;
    lengths[b] **= 1 / p;
  }
  return lengths;
}
