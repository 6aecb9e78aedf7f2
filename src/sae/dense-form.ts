/**
 * Standard, gated and jumprelu SAEs: from training to inference. What training holds as log θ becomes θ; a gated SAE
 * becomes the jumprelu SAE that it is in other words (`gated.ts`). Source: SAELens 6.18 `save_inference_model`, spec §3.2.
 */
import { ShapeError } from "../errors.ts";
import type { ExtraParameter, Weights } from "../kernels/kernels.ts";
import type { DenseForm, InferenceFacts, Sae } from "./sae.ts";

/** @throws {ShapeError} a parameter of the architecture is missing */
export function denseInferenceForm(form: DenseForm, weights: Weights, facts: InferenceFacts): Sae {
  const { dIn, dSae } = weights;
  const { runnerConfig, ...recorded } = facts;
  const { extra: _, ...plain } = weights;
  return {
    config: {
      architecture: form.architecture.kind === "standard" ? "standard" : "jumprelu",
      dIn,
      dSae,
      dtype: "float32",
      applyBDecToInput: form.applyBDecToInput,
      normalization: "none",
      reshape: "none",
      k: null,
      rescaleActsByDecoderNorm: false,
      ...recorded,
    },
    ...fired(form, weights, plain),
    runnerConfig,
  };
}

function fired(
  { architecture }: DenseForm,
  weights: Weights,
  plain: Weights,
): Pick<Sae, "weights" | "threshold"> {
  switch (architecture.kind) {
    case "standard":
      return { weights: plain, threshold: null };
    case "jumprelu":
      return { weights: plain, threshold: extra(weights, "logThreshold").map(Math.exp) };
    case "gated": {
      const { dIn, wEnc, bEnc } = weights;
      const scale = Float64Array.from(extra(weights, "rMag"), Math.exp);
      const bGate = extra(weights, "bGate");
      return {
        weights: { ...plain, wEnc: wEnc.map((w, at) => w * scale[Math.floor(at / dIn)]) },
        threshold: bEnc.map((bMag, i) => bMag - scale[i] * bGate[i]),
      };
    }
  }
}

function extra(weights: Weights, name: ExtraParameter): Float32Array {
  const found = weights.extra?.[name];
  if (found === undefined) throw new ShapeError(`values in ${name}`, 0, weights.dSae);
  return found;
}
