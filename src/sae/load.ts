/** SAEs from SAELens directories: the neutral record of `formats/saelens.ts`, made into what the rest of Lapidary runs. */
import { UnsupportedError } from "../errors.ts";
import {
  readActivationScale,
  readRunnerConfig,
  readSaelens,
  readSaelensConfig,
  readSparsity,
  type SaelensDirectory,
} from "../formats/saelens.ts";
import { type InferenceFacts, toInferenceForm, withoutInputScale } from "./convert.ts";
import type { Architecture, Sae, SaeConfig, TrainingSae } from "./sae.ts";

/**
 * Loads an SAE for inference. A training checkpoint of batch-topk or matryoshka batch-topk, which SAELens itself cannot
 * load so, comes in the inference form that saving would have given it.
 * @throws {FormatError} the directory is not what its cfg.json says
 * @throws {UnsupportedError} an architecture that is not run
 */
export async function loadSae(dir: string): Promise<Sae> {
  const directory = await readSaelens(dir);
  const architecture = inferenceArchitecture(directory);
  if (architecture === null) {
    const { training, ...cfg } = directory.config;
    const record = {
      k: cfg.k,
      rescale_acts_by_decoder_norm: cfg.rescaleActsByDecoderNorm,
      ...recordOf(training),
    };
    return toInferenceForm(await trainingSaeOf(dir, directory), {
      ...factsOf(directory),
      runnerConfig: directory.runnerConfig ?? { sae: { architecture: cfg.architecture, ...record } },
    });
  }
  const { wEnc, wDec, bEnc, bDec, threshold, runnerConfig } = directory;
  const config = configOf(directory, architecture);
  const { dIn, dSae } = config;
  return { config, weights: { dIn, dSae, wEnc, wDec, bEnc, bDec }, threshold, runnerConfig };
}

/** An SAE without its tensors. */
export type SaeFacts = Pick<Sae, "config" | "runnerConfig">;

/**
 * What `loadSae` would say of the SAE beside its weights, without reading them; only a training checkpoint is read
 * whole. @throws as `loadSae`, for cfg.json
 */
export async function loadSaeFacts(dir: string): Promise<SaeFacts> {
  const directory = { config: await readSaelensConfig(dir), runnerConfig: await readRunnerConfig(dir) };
  const architecture = inferenceArchitecture(directory);
  if (architecture !== null)
    return { config: configOf(directory, architecture), runnerConfig: directory.runnerConfig };
  const { config, runnerConfig } = await loadSae(dir);
  return { config, runnerConfig };
}

/**
 * Loads a SAELens training checkpoint (`topk`, `batchtopk`, `matryoshka_batchtopk`) to train on: weights, objective and
 * threshold, not Adam's state. Weights trained on scaled inputs are made ready for unscaled ones.
 * @throws {UnsupportedError} no training checkpoint, or one that was trained on normalised inputs
 */
export async function loadTrainingSae(dir: string): Promise<TrainingSae> {
  return trainingSaeOf(dir, await readSaelens(dir));
}

/** Whether `dir` is a SAELens training checkpoint that `loadTrainingSae` reads. Looks at cfg.json alone. */
export async function isTrainingCheckpoint(dir: string): Promise<boolean> {
  return (await readSaelensConfig(dir)).training !== null;
}

/** log10 firing frequencies that the directory ships, [dSae], or null. */
export async function loadSparsity(dir: string): Promise<Float32Array | null> {
  return readSparsity(dir, (await readSaelensConfig(dir)).dSae);
}

async function trainingSaeOf(dir: string, directory: SaelensDirectory): Promise<TrainingSae> {
  const { config, wEnc, wDec, bEnc, bDec, topkThreshold } = directory;
  const { dIn, dSae, training, normalization, k } = config;
  if (training === null || k === null)
    throw new UnsupportedError(
      `${dir}: architecture "${config.architecture}" is no checkpoint of a training that Lapidary continues`,
      "load it with loadSae and start from it with warmStart",
    );
  if (config.reshape !== "none" || (normalization !== "none" && normalization !== "expected_average_only_in"))
    throw new UnsupportedError(
      `${dir}: trained with normalize_activations "${normalization}", reshape_activations "${config.reshape}"`,
      "Lapidary trains on activations as they are",
    );
  const widths = training.matryoshkaWidths.filter((width) => width < dSae);
  const trained: TrainingSae = {
    form: {
      selection: config.architecture === "topk" ? "topk" : "batch-topk",
      k,
      widths: [...widths, dSae],
      applyBDecToInput: config.applyBDecToInput,
      rescaleActsByDecoderNorm: config.rescaleActsByDecoderNorm,
      auxCoefficient: training.auxLossCoefficient,
      thresholdLr: training.topkThresholdLr,
    },
    weights: { dIn, dSae, wEnc, wDec, bEnc, bDec },
    threshold: topkThreshold ?? 0,
  };
  if (normalization === "none") return trained;
  const scale = await readActivationScale(dir);
  if (scale === null)
    throw new UnsupportedError(
      `${dir}: trained on scaled activations, and no activation_scaler.json says by how much`,
      "copy activation_scaler.json of the same checkpoint beside its weights",
    );
  return withoutInputScale(trained, scale);
}

/** What a directory's JSON files say. */
type Description = Pick<SaelensDirectory, "config" | "runnerConfig">;

/** Null for a training checkpoint. */
function inferenceArchitecture({ config }: Description): Architecture | null {
  const { architecture } = config;
  return architecture === "batchtopk" || architecture === "matryoshka_batchtopk" ? null : architecture;
}

function configOf(directory: Description, architecture: Architecture): SaeConfig {
  const { dIn, dSae, dtype, applyBDecToInput, normalization, reshape, k, rescaleActsByDecoderNorm } =
    directory.config;
  const { hookName, modelName, contextSize, prependBos, metadata } = factsOf(directory);
  return {
    architecture,
    dIn,
    dSae,
    dtype,
    applyBDecToInput,
    normalization,
    reshape,
    k,
    rescaleActsByDecoderNorm,
    hookName,
    modelName,
    contextSize,
    prependBos,
    metadata,
  };
}

function factsOf({ config, runnerConfig }: Description): InferenceFacts {
  const { hook_name, model_name, context_size, prepend_bos } = config.metadata;
  return {
    hookName: typeof hook_name === "string" ? hook_name : null,
    modelName: typeof model_name === "string" ? model_name : null,
    contextSize: typeof context_size === "number" ? context_size : null,
    prependBos: typeof prepend_bos === "boolean" ? prepend_bos : null,
    metadata: config.metadata,
    runnerConfig,
  };
}

function recordOf(training: SaelensDirectory["config"]["training"]): Record<string, unknown> {
  if (training === null) return {};
  return {
    matryoshka_widths: training.matryoshkaWidths,
    aux_loss_coefficient: training.auxLossCoefficient,
    topk_threshold_lr: training.topkThresholdLr,
  };
}
