/**
 * Gated SAEs. Gate and magnitude share an encoder, u = c·wEncᵀ, here in place of h; bEnc is bMag:
 *   g = u + bGate        mag = u·eʳ + bMag        a = 1[g > 0] · relu(mag)
 *   sparsity = l1 · (1/B) Σ_b Σ_i relu(g)·n        aux = (1/B) Σ_b ‖relu(g)·wDec + bDec − x‖²
 * No gradient passes through the indicator; that of aux reaches the decoder too (the paper's decoder is frozen there).
 * Source: SAELens 6.18 `GatedTrainingSAE`, spec §2.
 */
import type { Weights } from "../../kernels.ts";
import { extraOf } from "../gradients.ts";
import type { Rule } from "./rule.ts";

export function gatedRule(weights: Weights): Rule {
  const bMag = weights.bEnc;
  const bGate = extraOf(weights, "bGate");
  const scale = Float64Array.from(extraOf(weights, "rMag"), Math.exp);
  return {
    bias: new Float32Array(weights.dSae),
    activation: (u, i) => (u + bGate[i] > 0 ? Math.max(u * scale[i] + bMag[i], 0) : 0),
    gate: (u, i) => Math.max(u + bGate[i], 0),
    pullOf({ nTokens, sparsity: l1 }) {
      return ({ i, norm, h: u, da, dGate, dh: du }, gradients) => {
        let [sparsity, dNorm, dbGate, dbMag, dr] = [0, 0, 0, 0, 0];
        for (let b = 0; b < nTokens; b++) {
          const g = u[b] + bGate[i];
          const mag = u[b] * scale[i] + bMag[i];
          const dg = g > 0 ? dGate[b] + (l1 / nTokens) * norm : 0;
          const dmag = g > 0 && mag > 0 ? da[b] : 0;
          sparsity += (l1 / nTokens) * Math.max(g, 0) * norm;
          dNorm += (l1 / nTokens) * Math.max(g, 0);
          du[b] = dg + dmag * scale[i];
          dbGate += dg;
          dbMag += dmag;
          dr += dmag * u[b] * scale[i];
        }
        gradients.bEnc[i] = dbMag;
        extraOf(gradients, "bGate")[i] = dbGate;
        extraOf(gradients, "rMag")[i] = dr;
        return { sparsity, aux: 0, dNorm };
      };
    },
  };
}
