/** SAEs from SAELens directories: the neutral record of `formats/saelens.ts`, made into what the rest of Lapidary runs. */
import { UnsupportedError } from "../errors.ts";
import {
  type OpenSaelens,
  openSaelens,
  readActivationScale,
  readRunnerConfig,
  readSaelensConfig,
  readSparsity,
  type SaelensDirectory,
} from "../formats/saelens.ts";
import { type WeightRows, wholeWeights } from "../kernels/weight-rows.ts";
import { type InferenceFacts, inferenceForm, thresholdWithoutScale } from "./convert.ts";
import { decoderNormsOf, foldDecoderNormsOfRows, foldInputScaleOfRows } from "./fold.ts";
import type { Architecture, Sae, SaeConfig, TrainingForm, TrainingSae } from "./sae.ts";

/** An SAE whose weights stay in its file until they are wanted. */
export interface OpenSae extends Omit<Sae, "weights"> {
  readonly rows: WeightRows;
}

/**
 * Opens an SAE for inference; the caller closes its rows. A training checkpoint of batch-topk or matryoshka batch-topk,
 * which SAELens itself cannot load so, comes in the inference form that saving would have given it.
 * @throws {FormatError} the directory is not what its cfg.json says; of the weights only when they are read
 * @throws {UnsupportedError} an architecture that is not run
 */
export async function openSae(dir: string): Promise<OpenSae> {
  const directory = await openSaelens(dir);
  try {
    const architecture = inferenceArchitecture(directory);
    if (architecture === null) return await openCheckpoint(dir, directory);
    const { threshold, runnerConfig } = directory;
    return { config: configOf(directory, architecture), threshold, runnerConfig, rows: rowsOf(directory) };
  } catch (error) {
    await directory.close();
    throw error;
  }
}

/** The same with its weights in memory. @throws as `openSae` */
export async function loadSae(dir: string): Promise<Sae> {
  const { rows, ...sae } = await openSae(dir);
  try {
    return { ...sae, weights: await wholeWeights(rows) };
  } finally {
    await rows.close();
  }
}

async function openCheckpoint(dir: string, directory: OpenSaelens): Promise<OpenSae> {
  const { training, ...cfg } = directory.config;
  const record = {
    k: cfg.k,
    rescale_acts_by_decoder_norm: cfg.rescaleActsByDecoderNorm,
    ...recordOf(training),
  };
  const { form, threshold, rows } = await openTrainingSae(dir, directory);
  const facts = {
    ...factsOf(directory),
    runnerConfig: directory.runnerConfig ?? { sae: { architecture: cfg.architecture, ...record } },
  };
  return {
    ...inferenceForm(form, threshold, rows, facts),
    rows: form.rescaleActsByDecoderNorm ? foldDecoderNormsOfRows(rows, await decoderNormsOf(rows)) : rows,
  };
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
  const directory = await openSaelens(dir);
  try {
    const { form, threshold, rows } = await openTrainingSae(dir, directory);
    return { form, threshold, weights: await wholeWeights(rows) };
  } finally {
    await directory.close();
  }
}

/** Whether `dir` is a SAELens training checkpoint that `loadTrainingSae` reads. Looks at cfg.json alone. */
export async function isTrainingCheckpoint(dir: string): Promise<boolean> {
  return (await readSaelensConfig(dir)).training !== null;
}

/** log10 firing frequencies that the directory ships, [dSae], or null. */
export async function loadSparsity(dir: string): Promise<Float32Array | null> {
  return readSparsity(dir, (await readSaelensConfig(dir)).dSae);
}

interface OpenTrainingSae extends Omit<TrainingSae, "weights"> {
  readonly rows: WeightRows;
}

async function openTrainingSae(dir: string, directory: OpenSaelens): Promise<OpenTrainingSae> {
  const { config, topkThreshold } = directory;
  const { dSae, training, normalization, k } = config;
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
  const form: TrainingForm = {
    selection: config.architecture === "topk" ? "topk" : "batch-topk",
    k,
    widths: [...widths, dSae],
    applyBDecToInput: config.applyBDecToInput,
    rescaleActsByDecoderNorm: config.rescaleActsByDecoderNorm,
    auxCoefficient: training.auxLossCoefficient,
    thresholdLr: training.topkThresholdLr,
  };
  const threshold = topkThreshold ?? 0;
  const rows = rowsOf(directory);
  if (normalization === "none") return { form, threshold, rows };
  const scale = await readActivationScale(dir);
  if (scale === null)
    throw new UnsupportedError(
      `${dir}: trained on scaled activations, and no activation_scaler.json says by how much`,
      "copy activation_scaler.json of the same checkpoint beside its weights",
    );
  return {
    form,
    threshold: thresholdWithoutScale(form, threshold, scale),
    rows: foldInputScaleOfRows(rows, scale),
  };
}

function rowsOf({ config, bEnc, bDec, rows, close }: OpenSaelens): WeightRows {
  const { dIn, dSae } = config;
  return {
    dIn,
    dSae,
    async read(tensor, from, to) {
      if (tensor === "bEnc") return bEnc.slice(from, to);
      return tensor === "bDec" ? bDec.slice(from, to) : rows(tensor, from, to);
    },
    close,
  };
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
