/**
 * What an SAE is, in memory: its configuration and its weights. Inference forms are what the hub ships and what
 * evaluation runs; the training form is what the trainer continues from. Conversions between them: `convert.ts`.
 */
import type { DenseArchitecture, Weights } from "../kernels/kernels.ts";

/**
 * How an inference SAE's latents fire. A gated SAE is a jumprelu SAE in other words (`gated.ts`) and is held as one; a
 * transcoder is any of the three with an `output` of its own.
 */
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
  /** A transcoder's: what it predicts from its input. Absent: an SAE, which reconstructs its input. */
  readonly output?: TranscoderOutput;
  /** Everything the source's cfg.json said under `metadata`, kept to be written out again. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** Where a transcoder's predictions belong. */
export interface TranscoderOutput {
  readonly dOut: number;
  /** in the source's own spelling; null if not recorded */
  readonly hookName: string | null;
}

/** Where an SAE came from, for people. */
export interface Origin {
  /** whose format it was in, e.g. "Gemma Scope" */
  readonly dialect: string;
  /** the architecture by the source's own name, e.g. "gated" */
  readonly architecture: string;
  /** what the files do not say, and what was made of what they do say */
  readonly notes: readonly string[];
}

/** An SAE in its inference form. `threshold` [dSae]: jumprelu only. */
export interface Sae {
  readonly config: SaeConfig;
  /** of a transcoder: wDec [dSae, dOut], bDec [dOut] */
  readonly weights: Weights;
  readonly threshold: Float32Array | null;
  /** Skip connection [dOut, dIn], of transcoders that have one: x · skipᵀ is added to what the latents predict. */
  readonly skip?: Float32Array;
  /** Absent: made here, not read. */
  readonly origin?: Origin;
  /** The source's `runner_cfg.json`, if it shipped one: the recipe record (k, widths, …). */
  readonly runnerConfig: Readonly<Record<string, unknown>> | null;
}

/** What an SAE needs to be trained on, beside its weights. */
export type TrainingForm = TopKForm | DenseForm;

/** Of a matryoshka batch-topk (or topk) SAE. */
export interface TopKForm {
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

/** Of an SAE whose latents decide for themselves whether they fire. */
export interface DenseForm {
  readonly selection: "own";
  readonly architecture: DenseArchitecture;
  /** [dSae] */
  readonly widths: readonly number[];
  readonly applyBDecToInput: boolean;
  readonly rescaleActsByDecoderNorm: false;
  /** of the sparsity loss (L1 or L0) once it is warm */
  readonly sparsityCoefficient: number;
  /** it rises linearly from 0 over so many steps */
  readonly sparsityWarmUpSteps: number;
  /** of a jumprelu's pre-activation loss of dead latents; 0: none, and so of the others */
  readonly auxCoefficient: number;
}

/** An SAE ready to be trained on: weights, the rules of its objective, and its threshold (f64; 0 before any step). */
export interface TrainingSae<Form extends TrainingForm = TrainingForm> {
  readonly form: Form;
  readonly weights: Weights;
  readonly threshold: number;
}

/** What an inference SAE records that training does not know. */
export interface InferenceFacts {
  readonly hookName: string | null;
  readonly modelName: string | null;
  readonly contextSize: number | null;
  readonly prependBos: boolean | null;
  /** the source's metadata, to be kept */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly runnerConfig: Readonly<Record<string, unknown>> | null;
}
