/**
 * Llama Scope R1-Distill: `config.json` and `sae_weights.safetensors`, as Llama Scope, with a threshold for each latent,
 * log_jumprelu_threshold, and the average norm of activations as a tensor named after the hook point. Thresholds were
 * learnt on scaled inputs, and are compared with h·‖decoder row‖ where `sparsity_include_decoder_norm`, which SAELens
 * 6.18 leaves out; the scale it takes from a table of its own. Source: lm_saes, sae.py of February 2025.
 */
import { join } from "node:path";
import { FormatError } from "../../errors.ts";
import type { JsonFields } from "../../formats/json-fields.ts";
import type { TensorFile } from "../../formats/tensor-file.ts";
import { expectSize, readFields, refuse } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import { inputScale, LINEARS, linearRows, refuseOtherModes, scaledSae } from "./llama-scope.ts";
import { holds } from "./place.ts";
import { expectTensors, openFrom, scalar, vector } from "./tensors.ts";

const CONFIG = "config.json";
const WEIGHTS = "sae_weights.safetensors";
const NORM = "dataset_average_activation_norm.";
const LOG_THRESHOLD = "log_jumprelu_threshold";

export const llamaScopeR1: Dialect = {
  name: "Llama Scope R1-Distill",
  files: `${CONFIG}, ${WEIGHTS}`,
  recognises: (place) => holds(place, CONFIG, WEIGHTS) && !place.names.has("cfg.json"),
  async open({ folder }) {
    const config = await readFields(join(folder, CONFIG));
    return openFrom(join(folder, WEIGHTS), (file) => open(join(folder, CONFIG), config, file));
  },
};

async function open(configFile: string, config: JsonFields, file: TensorFile): Promise<OpenSae> {
  refuseOtherModes(configFile, config);
  const activation = config.text("act_fn");
  if (activation !== "jumprelu") refuse(configFile, "act_fn", activation, "jumprelu is");
  const hookName = config.text("hook_point_in");
  const norms = [...file.tensors.keys()].filter((name) => name.startsWith(NORM));
  if (!file.tensors.has(LOG_THRESHOLD))
    throw new FormatError(file.path, `no ${LOG_THRESHOLD}: a jumprelu SAE cannot do without`);
  expectTensors(file, "Llama Scope R1-Distill", [...LINEARS, LOG_THRESHOLD, `${NORM}${hookName}`], norms);
  const rows = await linearRows(configFile, config, file);
  const { dIn, dSae } = rows;
  expectSize(configFile, "expansion_factor", config.number("expansion_factor") * dIn, dSae);
  const s = inputScale(file.path, dIn, await scalar(file, `${NORM}${hookName}`));
  const compared = Float64Array.from(await vector(file, LOG_THRESHOLD, dSae), Math.exp);
  return scaledSae({ dialect: llamaScopeR1.name, config, file }, rows, s, compared);
}
