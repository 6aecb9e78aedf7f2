/**
 * Llama Scope: `hyperparams.json` and `checkpoints/final.safetensors`, two Linears with biases. Inputs were scaled to a mean
 * norm of √dIn, by s = √dIn / dataset_average_activation_norm.in; s is folded into the weights, so that they take
 * activations as they are. Latents fire where h > t·s, h being of the scaled input: the library's inference mode compares
 * t with h/s, and SAELens 6.18 reads it so. With `sparsity_include_decoder_norm` h·‖decoder row‖ is compared, which
 * SAELens leaves out. Transcoders are refused: library and loaders disagree about their threshold. Source: lm_saes,
 * sae.py `standardize_parameters_of_dataset_norm` and initializer.py, at the time of the release (December 2024).
 */
import { basename, dirname, join } from "node:path";
import { FormatError, UnsupportedError } from "../../errors.ts";
import { JsonFields } from "../../formats/json-fields.ts";
import type { TensorFile } from "../../formats/tensor-file.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { decoderNormsOf, foldInputScaleOfRows } from "../fold.ts";
import { expectSize, plainConfig, readFields, refuse } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import { hasFile, type Place } from "./place.ts";
import {
  expectTensors,
  type LaidOutRows,
  laidOutRows,
  linearLayout,
  openFrom,
  storedDtype,
} from "./tensors.ts";

const CONFIG = "hyperparams.json";
const WEIGHTS = ["checkpoints", "final.safetensors"] as const;

export const llamaScope: Dialect = {
  name: "Llama Scope",
  files: `${CONFIG}, ${WEIGHTS.join("/")}`,
  async recognises(place) {
    if (place.file === "final.safetensors")
      return (await statIfPresent(join(dirname(place.folder), CONFIG))) !== null;
    const isFolder = place.file === null || place.file === CONFIG;
    return isFolder && place.names.has(CONFIG) && hasFile(place, ...WEIGHTS);
  },
  async open(place) {
    const folder = folderOf(place);
    const config = await readFields(join(folder, CONFIG));
    return openFrom(join(folder, ...WEIGHTS), (file) => open(join(folder, CONFIG), config, file));
  },
};

function folderOf({ folder, file }: Place): string {
  return file === "final.safetensors" && basename(folder) === "checkpoints" ? dirname(folder) : folder;
}

async function open(configFile: string, config: JsonFields, file: TensorFile): Promise<OpenSae> {
  refuseOtherModes(configFile, config);
  const activation = config.text("act_fn");
  const t = config.number("jump_relu_threshold", 0);
  // "topk" with a threshold is run as jumprelu by the library as well.
  if (activation !== "jumprelu" && !(activation === "topk" && t > 0))
    refuse(configFile, "act_fn", activation);
  if (!(t > 0))
    throw new FormatError(configFile, `"jump_relu_threshold" is ${t}, a jumprelu SAE needs a positive one`);
  const norms = new JsonFields(configFile, config.object("dataset_average_activation_norm"));
  const norm = norms.number("in");
  expectTensors(file, "Llama Scope", LINEARS);
  const rows = await linearRows(configFile, config, file);
  expectSize(configFile, "d_sae", config.dimension("d_sae"), rows.dSae);
  const s = inputScale(configFile, rows.dIn, norm);
  return scaledSae(
    { dialect: llamaScope.name, config, file },
    rows,
    s,
    new Float64Array(rows.dSae).fill(t * s),
  );
}

export const LINEARS = ["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"];

/** The four parameters, of as many dimensions as the configuration says. */
export async function linearRows(
  configFile: string,
  config: JsonFields,
  file: TensorFile,
): Promise<LaidOutRows> {
  const rows = await laidOutRows(file, linearLayout("encoder.bias", "decoder.bias"), "SAE");
  expectSize(configFile, "d_model", config.dimension("d_model"), rows.dIn);
  return rows;
}

/** What both generations of these files may say that is not run. @throws {UnsupportedError} */
export function refuseOtherModes(configFile: string, config: JsonFields): void {
  const [hookIn, hookOut] = [config.text("hook_point_in"), config.textOrNull("hook_point_out")];
  if (hookOut !== null && hookOut !== hookIn)
    throw new UnsupportedError(
      `${configFile}: a transcoder, from ${hookIn} to ${hookOut}`,
      "the library and its loaders disagree about the unit of its threshold",
    );
  if (config.flag("use_glu_encoder", false)) refuse(configFile, "use_glu_encoder", true);
  if (!config.flag("use_decoder_bias", true)) refuse(configFile, "use_decoder_bias", false);
  const normalization = config.text("norm_activation");
  if (normalization !== "dataset-wise")
    refuse(
      configFile,
      "norm_activation",
      normalization,
      "dataset-wise is, which fixes one scale for all inputs",
    );
}

/** s = √dIn / norm */
export function inputScale(configFile: string, dIn: number, norm: number): number {
  if (!(norm > 0)) throw new FormatError(configFile, `the average norm of activations is ${norm}`);
  return Math.sqrt(dIn) / norm;
}

/** What either generation comes to: inputs scaled by `s`, and a threshold of each latent for what is compared. */
export async function scaledSae(
  { dialect, config, file }: { dialect: string; config: JsonFields; file: TensorFile },
  rows: LaidOutRows,
  s: number,
  compared: Float64Array,
): Promise<OpenSae> {
  const modelName = config.textOrNull("model_name");
  return {
    config: plainConfig({
      architecture: "jumprelu",
      dIn: rows.dIn,
      dSae: rows.dSae,
      dtype: storedDtype(file, "encoder.weight"),
      applyBDecToInput: config.flag("apply_decoder_bias_to_pre_encoder", false),
      hookName: config.text("hook_point_in"),
      modelName,
    }),
    threshold: await thresholds(config, rows, compared),
    runnerConfig: null,
    rows: foldInputScaleOfRows(rows, s),
    origin: {
      dialect,
      architecture: config.text("act_fn"),
      notes: [
        `inputs were scaled by ${s.toPrecision(6)}: folded into the weights`,
        ...(modelName === null ? ["model: not recorded"] : []),
      ],
    },
  };
}

/**
 * Thresholds of h from those of what is compared: h itself, or h·n with n the norms of the decoder's rows. A latent with
 * n = 0 can never fire.
 */
async function thresholds(
  config: JsonFields,
  rows: LaidOutRows,
  compared: Float64Array,
): Promise<Float32Array> {
  if (!config.flag("sparsity_include_decoder_norm")) return Float32Array.from(compared);
  const norms = await decoderNormsOf(rows);
  return Float32Array.from(compared, (t, i) => Math.min(t / norms[i], LARGEST));
}

/** The largest f32. */
const LARGEST = 3.4028234663852886e38;
