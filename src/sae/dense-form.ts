/**
 * Standard, gated and jumprelu SAEs: what training holds beside the four parameters, as inference wants it. log θ becomes
 * θ; a gated SAE becomes the jumprelu SAE that it is in other words (`gated.ts`). Source: SAELens 6.18
 * `save_inference_model`, spec §3.2.
 */
import { ShapeError } from "../errors.ts";
import type { DenseArchitecture, ExtraParameter, Weights } from "../kernels/kernels.ts";
import { gatedThreshold, magnitudes, scaleEncoder } from "./gated.ts";
import type { Sae } from "./sae.ts";

/** @throws {ShapeError} a parameter of the architecture is missing */
export function denseParameters(
  { kind }: DenseArchitecture,
  weights: Weights,
): Pick<Sae, "weights" | "threshold"> {
  const { extra: _, ...plain } = weights;
  switch (kind) {
    case "standard":
      return { weights: plain, threshold: null };
    case "jumprelu":
      return { weights: plain, threshold: extra(weights, "logThreshold").map(Math.exp) };
    case "gated": {
      const scale = magnitudes(extra(weights, "rMag"));
      const wEnc = weights.wEnc.slice();
      scaleEncoder(wEnc, 0, weights.dIn, scale);
      return {
        weights: { ...plain, wEnc },
        threshold: gatedThreshold(weights.bEnc, scale, extra(weights, "bGate")),
      };
    }
  }
}

function extra(weights: Weights, name: ExtraParameter): Float32Array {
  const found = weights.extra?.[name];
  if (found === undefined) throw new ShapeError(`values in ${name}`, 0, weights.dSae);
  return found;
}
