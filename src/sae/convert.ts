/**
 * Training form → inference form, as SAELens 6.18 `save_inference_model` converts it (spec §3.2), without its two
 * defects: a decoder row of norm zero gives no NaN, and a threshold learnt on scaled inputs is scaled with them.
 */
import { ShapeError } from "../errors.ts";
import { decoderNorms } from "../kernels/reference/encode.ts";
import { denseParameters } from "./dense-form.ts";
import { foldDecoderNorms, foldInputScale } from "./fold.ts";
import type {
  Architecture,
  InferenceFacts,
  Sae,
  SaeConfig,
  TopKForm,
  TrainingForm,
  TrainingSae,
} from "./sae.ts";

export type { InferenceFacts } from "./sae.ts";

/**
 * batch-topk → JumpReLU with the threshold T in every latent; topk → topk. With rescaling, decoder norms are folded
 * into the encoder, so that h of the result is p of the training form, which is T's unit. A latent whose decoder row is
 * zero keeps the threshold T and can never fire. Standard, gated and jumprelu: `dense-form.ts`.
 */
export function toInferenceForm({ form, weights, threshold }: TrainingSae, facts: InferenceFacts): Sae {
  if (form.selection === "own") {
    const { kind } = form.architecture;
    return {
      config: inferenceConfig(kind === "standard" ? "standard" : "jumprelu", form, weights, facts),
      ...denseParameters(form.architecture, weights),
      runnerConfig: facts.runnerConfig,
    };
  }
  return {
    ...inferenceForm(form, threshold, weights, facts),
    weights: form.rescaleActsByDecoderNorm ? foldDecoderNorms(weights, decoderNorms(weights)) : weights,
  };
}

/** The same without its weights. */
export function inferenceForm(
  form: TopKForm,
  threshold: number,
  sizes: Sizes,
  facts: InferenceFacts,
): Omit<Sae, "weights"> {
  const isTopk = form.selection === "topk";
  return {
    config: {
      ...inferenceConfig(isTopk ? "topk" : "jumprelu", form, sizes, facts),
      k: isTopk ? form.k : null,
      rescaleActsByDecoderNorm: isTopk && form.rescaleActsByDecoderNorm,
    },
    threshold: isTopk ? null : new Float32Array(sizes.dSae).fill(threshold),
    runnerConfig: facts.runnerConfig,
  };
}

type Sizes = Pick<SaeConfig, "dIn" | "dSae">;

/** What is alike of all architectures; k and rescaling are topk's. */
function inferenceConfig(
  architecture: Architecture,
  { applyBDecToInput }: TrainingForm,
  { dIn, dSae }: Sizes,
  { runnerConfig: _, ...recorded }: InferenceFacts,
): SaeConfig {
  return {
    architecture,
    dIn,
    dSae,
    dtype: "float32",
    applyBDecToInput,
    normalization: "none",
    reshape: "none",
    k: null,
    rescaleActsByDecoderNorm: false,
    ...recorded,
  };
}

/** The same SAE with other thresholds: one for all latents, or [dSae] of them. `sae` must have some: a jumprelu. */
export function withThreshold(sae: Sae, threshold: number | Float32Array): Sae {
  const { dSae } = sae.config;
  if (sae.threshold === null) throw new ShapeError("thresholds to replace", 0, dSae);
  if (typeof threshold !== "number" && threshold.length !== dSae)
    throw new ShapeError("thresholds", threshold.length, dSae);
  const thresholds = typeof threshold === "number" ? new Float32Array(dSae).fill(threshold) : threshold;
  return { ...sae, threshold: thresholds };
}

/**
 * An SAE trained on s·x, made ready for x. T is in units of p: with rescaling, p = h·‖wDec‖ shrinks by s, and T with
 * it. (SAELens 6.18 keeps T, which for s < 1 lets too few latents be silent, and for s > 1 too many.)
 */
export function withoutInputScale({ form, weights, threshold }: TrainingSae, s: number): TrainingSae {
  return { form, weights: foldInputScale(weights, s), threshold: thresholdWithoutScale(form, threshold, s) };
}

export function thresholdWithoutScale(form: TrainingForm, threshold: number, s: number): number {
  return form.rescaleActsByDecoderNorm ? threshold / s : threshold;
}
