/**
 * SAELens directories: the neutral record of `formats/saelens.ts`, made into what the rest of Lapidary runs. Inference
 * saves of all architectures, and training checkpoints, which SAELens itself cannot load as SAEs.
 */
import { UnsupportedError } from "../../errors.ts";
import {
  type OpenSaelens,
  openSaelens,
  readActivationScale,
  readRunnerConfig,
  readSaelensConfig,
  type SaelensDirectory,
} from "../../formats/saelens.ts";
import type { SaelensArchitecture, SaelensConfig } from "../../formats/saelens-config.ts";
import { type WeightRows, wholeWeights } from "../../kernels/weight-rows.ts";
import { type InferenceFacts, inferenceForm, thresholdWithoutScale } from "../convert.ts";
import { decoderNormsOf, foldDecoderNormsOfRows, foldInputScaleOfRows } from "../fold.ts";
import { gatedAsJumprelu } from "../gated.ts";
import type { Architecture, SaeConfig, TopKForm, TrainingSae } from "../sae.ts";
import type { Dialect, OpenSae, SaeFacts } from "./dialect.ts";
import { holds } from "./place.ts";

/** Legacy saves lie so too. A folder with sae.safetensors beside its cfg.json is sparsify's. */
export const saelens: Dialect = {
  name: "SAELens",
  files: "cfg.json, sae_weights.safetensors",
  recognises: (place) =>
    holds(place, "cfg.json", "sae_weights.safetensors") ||
    (place.file === null && place.names.has("cfg.json") && !place.names.has("sae.safetensors")),
  open: ({ folder }) => open(folder),
  describe: ({ folder }) => describe(folder),
};

/** How the latents of each inference architecture fire; of checkpoints: see `openCheckpoint`. */
const FIRING: Readonly<Record<SaelensArchitecture, Architecture | null>> = {
  standard: "standard",
  topk: "topk",
  jumprelu: "jumprelu",
  gated: "jumprelu",
  transcoder: "standard",
  skip_transcoder: "standard",
  jumprelu_transcoder: "jumprelu",
  jumprelu_skip_transcoder: "jumprelu",
  batchtopk: null,
  matryoshka_batchtopk: null,
};

async function open(dir: string): Promise<OpenSae> {
  const directory = await openSaelens(dir);
  try {
    const architecture = FIRING[directory.config.architecture];
    const opened =
      architecture === null
        ? await openCheckpoint(dir, directory)
        : await openInferenceSave(dir, directory, architecture);
    const origin = { dialect: saelens.name, architecture: directory.config.architecture, notes: [] };
    return { ...opened, origin };
  } catch (error) {
    await directory.close();
    throw error;
  }
}

async function describe(dir: string): Promise<SaeFacts | null> {
  const directory = { config: await readSaelensConfig(dir), runnerConfig: await readRunnerConfig(dir) };
  const architecture = FIRING[directory.config.architecture];
  if (architecture === null) return null; // its weights decide some of it
  return { config: configOf(directory, architecture), runnerConfig: directory.runnerConfig };
}

async function openInferenceSave(
  dir: string,
  directory: OpenSaelens,
  architecture: Architecture,
): Promise<OpenSae> {
  const { threshold, runnerConfig, gate, skip } = directory;
  const opened = {
    config: configOf(directory, architecture),
    threshold,
    runnerConfig,
    rows: rowsOf(directory),
  };
  if (gate !== null) return { ...opened, ...(await gatedAsJumprelu(dir, opened.rows, gate)) };
  return skip === null ? opened : { ...opened, skip };
}

/** A checkpoint in the inference form that saving would have given it. */
async function openCheckpoint(dir: string, directory: OpenSaelens): Promise<OpenSae> {
  const { training, ...cfg } = directory.config;
  const record = {
    k: cfg.k,
    rescale_acts_by_decoder_norm: cfg.rescaleActsByDecoderNorm,
    ...recordOf(training),
  };
  const { form, threshold, rows } = await openTraining(dir, directory);
  const facts = {
    ...factsOf(directory),
    runnerConfig: directory.runnerConfig ?? { sae: { architecture: cfg.architecture, ...record } },
  };
  return {
    ...inferenceForm(form, threshold, rows, facts),
    rows: form.rescaleActsByDecoderNorm ? foldDecoderNormsOfRows(rows, await decoderNormsOf(rows)) : rows,
  };
}

/**
 * Loads a SAELens training checkpoint (`topk`, `batchtopk`, `matryoshka_batchtopk`) to train on: weights, objective and
 * threshold; Adam's state: `../checkpoint-start.ts`. Weights trained on scaled inputs are made ready for unscaled ones.
 * @throws {UnsupportedError} no training checkpoint, or one that was trained on normalised inputs
 */
export async function loadTrainingSae(dir: string): Promise<TrainingSae<TopKForm>> {
  const directory = await openSaelens(dir);
  try {
    const { form, threshold, rows } = await openTraining(dir, directory);
    return { form, threshold, weights: await wholeWeights(rows) };
  } finally {
    await directory.close();
  }
}

interface OpenTrainingSae extends Omit<TrainingSae<TopKForm>, "weights"> {
  readonly rows: WeightRows;
}

/** The same with its matrices left in their file. */
export async function openTraining(dir: string, directory: OpenSaelens): Promise<OpenTrainingSae> {
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
  const form: TopKForm = {
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
  const { dIn, dSae, dOut } = config;
  return {
    dIn,
    dSae,
    ...(dOut === null ? {} : { dOut }),
    async read(tensor, from, to) {
      if (tensor === "bEnc") return bEnc.slice(from, to);
      return tensor === "bDec" ? bDec.slice(from, to) : rows(tensor, from, to);
    },
    close,
  };
}

/** What a directory's JSON files say. */
type Description = Pick<SaelensDirectory, "config" | "runnerConfig">;

function configOf(directory: Description, architecture: Architecture): SaeConfig {
  const { dIn, dSae, dOut, dtype, applyBDecToInput, normalization, reshape, k, rescaleActsByDecoderNorm } =
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
    ...(dOut === null ? {} : { output: { dOut, hookName: textOrNull(metadata.hook_name_out) } }),
    metadata,
  };
}

function factsOf({ config, runnerConfig }: Description): InferenceFacts {
  const { hook_name, model_name, context_size, prepend_bos } = config.metadata;
  return {
    hookName: textOrNull(hook_name),
    modelName: textOrNull(model_name),
    contextSize: typeof context_size === "number" ? context_size : null,
    prependBos: typeof prepend_bos === "boolean" ? prepend_bos : null,
    metadata: config.metadata,
    runnerConfig,
  };
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function recordOf(training: SaelensConfig["training"]): Record<string, unknown> {
  if (training === null) return {};
  return {
    matryoshka_widths: training.matryoshkaWidths,
    aux_loss_coefficient: training.auxLossCoefficient,
    topk_threshold_lr: training.topkThresholdLr,
  };
}
