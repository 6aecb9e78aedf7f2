/**
 * What an SAE is, in memory: its configuration and its weights. Inference forms are what the hub ships and what
 * evaluation runs; the training form is what the trainer continues from. Conversions between them: `convert.ts`.
 */
import type { Weights } from "../kernels/kernels.ts";

/** Inference architectures that Lapidary runs. */
export type Architecture = "standard" | "topk" | "jumprelu";

/** Input normalisation applied around an inference SAE (SAELens 6.18 `normalize_activations`). */
export type Normalization = "none" | "layer_norm" | "constant_norm_rescale" | "expected_average_only_in";

/** Facts about an SAE that its weights do not hold. */
export interface SaeConfig {
  readonly architecture: Architecture;
  readonly dIn: number;
  readonly dSae: number;
  /** dtype of the tensors on disk, our spelling: "float32" | "bfloat16" | "float16" | "float64". In memory: always f32. */
  readonly dtype: "float32" | "bfloat16" | "float16" | "float64";
  readonly applyBDecToInput: boolean;
  readonly normalization: Normalization;
  /** hook_z: inputs come as [nHeads, dHead] and are flattened head-major. */
  readonly reshape: "none" | "hook_z";
  /** topk only: latents per token. */
  readonly k: number | null;
  /** topk only: selection and values are scaled by decoder norms. */
  readonly rescaleActsByDecoderNorm: boolean;
  /** The source's own spelling, e.g. "blocks.4.hook_resid_post" or "model.layers.4"; null if not recorded. */
  readonly hookName: string | null;
  readonly modelName: string | null;
  readonly contextSize: number | null;
  readonly prependBos: boolean | null;
  /** Everything the source's cfg.json said under `metadata`, kept to be written out again. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** An SAE in its inference form. `threshold` [dSae]: jumprelu only. */
export interface Sae {
  readonly config: SaeConfig;
  readonly weights: Weights;
  readonly threshold: Float32Array | null;
  /** The source's `runner_cfg.json`, if it shipped one: the recipe record (k, widths, …). */
  readonly runnerConfig: Readonly<Record<string, unknown>> | null;
}

/** What a matryoshka batch-topk (or topk) SAE needs to be trained on, beside its weights. */
export interface TrainingForm {
  readonly selection: "batch-topk" | "topk";
  readonly k: number;
  /** strictly increasing, last = dSae */
  readonly widths: readonly number[];
  readonly applyBDecToInput: boolean;
  readonly rescaleActsByDecoderNorm: boolean;
  readonly auxCoefficient: number;
  /** rate of the threshold's EMA */
  readonly thresholdLr: number;
}

/** An SAE ready to be trained on: weights, the rules of its objective, and its threshold (f64; 0 before any step). */
export interface TrainingSae {
  readonly form: TrainingForm;
  readonly weights: Weights;
  readonly threshold: number;
}
