/**
 * EleutherAI's sparsify: `cfg.json`, `sae.safetensors` with encoder.weight [dSae, dIn], encoder.bias, W_dec [dSae, dIn],
 * b_dec, and W_skip [dIn, dIn] where there is a skip connection (x · W_skipᵀ). Latents are the k largest of
 * relu((x − b_dec) · encoder.weightᵀ + encoder.bias); with `transcode`, b_dec is not taken from the input. num_latents 0
 * means d_in · expansion_factor. The folder is named after the module. Source: sparsify's sparse_coder.py. SAELens 6.18
 * transposes W_dec, takes num_latents literally, and subtracts b_dec unless normalize_decoder: none of it is so.
 */
import { basename, dirname, join } from "node:path";
import { FormatError } from "../../errors.ts";
import { isObject } from "../../formats/json-fields.ts";
import type { TensorFile } from "../../formats/tensor-file.ts";
import { readJsonIfPresent } from "../../storage/json.ts";
import { expectSize, plainConfig, readFields, refuse } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import { holds, type Place } from "./place.ts";
import { expectTensors, laidOutRows, matrix, openFrom, rowLayout, storedDtype } from "./tensors.ts";

const CONFIG = "cfg.json";
const WEIGHTS = "sae.safetensors";

export const sparsify: Dialect = {
  name: "sparsify",
  files: `${CONFIG}, ${WEIGHTS}`,
  recognises: (place) => holds(place, CONFIG, WEIGHTS),
  async open(place) {
    return openFrom(join(place.folder, WEIGHTS), (file) => open(place, file));
  },
};

/** Keys that say how training went, and nothing about what came of it. */
const HARMLESS = ["normalize_decoder", "multi_topk", "init_b_dec_as_zeros"];
const READ = [
  "activation",
  "expansion_factor",
  "num_latents",
  "k",
  "skip_connection",
  "transcode",
  "d_in",
  "signed",
];

async function open(place: Place, file: TensorFile): Promise<OpenSae> {
  const configFile = join(place.folder, CONFIG);
  const config = await readFields(configFile);
  const activation = config.textOrNull("activation") ?? "topk";
  if (activation !== "topk") refuse(configFile, "activation", activation, "topk is");
  if (config.flag("signed", false)) refuse(configFile, "signed", true, "latents here are never negative");
  for (const [key, value] of config.entries())
    if (![...HARMLESS, ...READ].includes(key) && value !== false && value !== null)
      refuse(configFile, key, value, "it is not known whether it changes what the weights mean");
  const isTranscoder = config.flag("transcode", false);
  const hasSkip = config.flag("skip_connection", false);
  const required = ["encoder.weight", "encoder.bias", "W_dec", "b_dec", ...(hasSkip ? ["W_skip"] : [])];
  expectTensors(file, "sparsify", required);
  const layout = rowLayout("encoder.weight", "W_dec", "encoder.bias", "b_dec");
  const rows = await laidOutRows(file, layout, "SAE");
  const { dIn, dSae, dOut } = rows;
  expectSize(configFile, "d_in", config.dimension("d_in"), dIn);
  const stated = config.number("num_latents", 0) || dIn * config.number("expansion_factor", 32);
  expectSize(configFile, "num_latents", stated, dSae);
  const k = config.dimension("k", 32);
  if (k > dSae) throw new FormatError(configFile, `"k" is ${k}, there are ${dSae} latents`);
  const hook = moduleOf(place.folder);
  // A skip connection makes what comes out more than what the latents say: held as a transcoder to the same place.
  const output = isTranscoder || hasSkip ? { output: { dOut, hookName: hook } } : {};
  return {
    config: plainConfig({
      architecture: "topk",
      dIn,
      dSae,
      dtype: storedDtype(file, "encoder.weight"),
      applyBDecToInput: !isTranscoder,
      k,
      hookName: hook,
      modelName: await modelOf(place.folder),
      ...output,
    }),
    threshold: null,
    ...(hasSkip ? { skip: await matrix(file, "W_skip", dOut, dIn) } : {}),
    runnerConfig: null,
    rows,
    origin: {
      dialect: sparsify.name,
      architecture: `topk${isTranscoder ? " transcoder" : ""}${hasSkip ? " with a skip connection" : ""}`,
      notes: [
        ...(hook === null ? ["hook point: the folder's name is not that of a module"] : []),
        ...(isTranscoder ? ["from the input of the module named to its output"] : []),
      ],
    },
  };
}

const MODULE = /^(?:[a-z_]+\.)*(?:layers|h|blocks)\.\d{1,5}(?:\.[a-z_][a-z0-9_.]*)?$|^embed_tokens$/i;

/** `layers.10`, `h.3.mlp`, `embed_tokens`; with several seeds the folder lies in it. */
export function moduleOf(folder: string): string | null {
  const name = /^seed\d+$/.test(basename(folder)) ? basename(dirname(folder)) : basename(folder);
  return MODULE.test(name) ? name : null;
}

/** The run's own configuration lies beside its modules' folders. */
async function modelOf(folder: string): Promise<string | null> {
  const run = await readJsonIfPresent(join(dirname(folder), "config.json")).catch(() => undefined);
  return isObject(run) && typeof run.model === "string" ? run.model : null;
}
