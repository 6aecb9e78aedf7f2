/**
 * JumpReLU SAEs: h = c·wEncᵀ + bEnc, θ = exp(logThreshold), a = h · 1[h > θ]. With rect(z) = 1[|z| < ½] and bandwidth w,
 * the straight-through estimators are
 *   ∂a/∂h = 1[h > θ]        ∂a/∂θ = −(θ/w) · rect((h − θ)/w)        ∂1[h > θ]/∂θ = −(1/w) · rect((h − θ)/w)
 * Sparsity, "step": l0 · (1/B) Σ_b Σ_i 1[h > θ], which moves θ alone; "tanh": l0 · (1/B) Σ_b Σ_i tanh(scale · a · n).
 * Dead latents may be pulled up: aux = coefficient · (1/B) Σ_b Σ_i dead[i] · relu(θ − h) · n.
 * Source: SAELens 6.18 `JumpReLUTrainingSAE`, spec §2; Rajamanoharan et al. 2024, "Jumping Ahead".
 */
import type { DenseArchitecture, Weights } from "../../kernels.ts";
import { extraOf } from "../gradients.ts";
import type { Rule } from "./rule.ts";

export function jumpReluRule(
  { bandwidth, sparsity: kind }: Extract<DenseArchitecture, { kind: "jumprelu" }>,
  weights: Weights,
): Rule {
  const thresholds = extraOf(weights, "logThreshold").map(Math.exp);
  const activation = (h: number, i: number) => (h > thresholds[i] ? h : 0);
  return {
    bias: weights.bEnc,
    activation,
    gate: null,
    pullOf({ nTokens, sparsity: l0, aux: preAct }) {
      const perToken = l0 / nTokens;
      return ({ i, norm, h, da, dh }, gradients) => {
        const theta = thresholds[i];
        const revival = preAct?.dead[i] ? preAct.coefficient / nTokens : 0;
        let [sparsity, aux, dNorm, dTheta, dBias] = [0, 0, 0, 0, 0];
        for (let b = 0; b < nTokens; b++) {
          const fires = h[b] > theta;
          const near = Math.abs((h[b] - theta) / bandwidth) < 0.5 ? 1 / bandwidth : 0;
          let dActivation = da[b];
          if (kind.loss === "step") {
            if (fires) sparsity += perToken;
            dTheta -= perToken * near;
          } else {
            const a = activation(h[b], i);
            const steepness = Math.tanh(kind.scale * a * norm);
            const slope = perToken * kind.scale * (1 - steepness * steepness);
            sparsity += perToken * steepness;
            dActivation += slope * norm;
            dNorm += slope * a;
          }
          dh[b] = fires ? dActivation : 0;
          dTheta -= theta * near * dActivation;
          if (theta > h[b]) {
            aux += revival * (theta - h[b]) * norm;
            dNorm += revival * (theta - h[b]);
            dTheta += revival * norm;
            dh[b] -= revival * norm;
          }
          dBias += dh[b];
        }
        gradients.bEnc[i] = dBias;
        extraOf(gradients, "logThreshold")[i] = theta * dTheta;
        return { sparsity, aux, dNorm };
      };
    },
  };
}
