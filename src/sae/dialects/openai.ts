/**
 * OpenAI's GPT-2 autoencoders (`openai/sparse_autoencoder`): one `.pt`, a state dict with encoder.weight [dSae, dIn],
 * decoder.weight [dIn, dSae], pre_bias, latent_bias, three statistics of training, and the activation's class by name.
 *   latents = activation((x − pre_bias) · encoder.weightᵀ + latent_bias),  recon = latents · decoder.weightᵀ + pre_bias
 * With TopK the input is layer-normed first and the reconstruction brought back. Source: model.py of the repository,
 * `from_state_dict`; which reads an unknown activation as ReLU, and here is refused.
 */
import { FormatError } from "../../errors.ts";
import { openTensorFile } from "../../formats/sharded-safetensors.ts";
import type { TensorFile } from "../../formats/tensor-file.ts";
import { plainConfig, refuse } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import { inPath, type Place } from "./place.ts";
import {
  expectNoOthers,
  expectTensors,
  laidOutRows,
  linearLayout,
  openFrom,
  storedDtype,
} from "./tensors.ts";

const REQUIRED = ["encoder.weight", "decoder.weight", "pre_bias", "latent_bias"];
const STATISTICS = ["stats_last_nonzero", "latents_activation_frequency", "latents_mean_square"];

export const openai: Dialect = {
  name: "OpenAI",
  files: "<layer>.pt",
  async recognises({ path, file }) {
    if (file === null || !file.endsWith(".pt")) return false;
    const opened = await openTensorFile(path);
    await opened.close();
    return opened.tensors.has("pre_bias") && opened.tensors.has("latent_bias");
  },
  async open(place) {
    return openFrom(place.path, (file) => open(place, file));
  },
};

async function open(place: Place, file: TensorFile): Promise<OpenSae> {
  expectTensors(file, "OpenAI's autoencoders", REQUIRED, STATISTICS);
  expectNoOthers(file, ["activation", "activation_state_dict"]);
  const layout = linearLayout("latent_bias", "pre_bias");
  const rows = await laidOutRows(file, layout, "SAE");
  const { dIn, dSae } = rows;
  const activation = file.others.get("activation") ?? "ReLU";
  if (activation !== "ReLU" && activation !== "TopK")
    refuse(file.path, "activation", activation, "ReLU and TopK are");
  const isTopk = activation === "TopK";
  const hookName = hookOf(place);
  return {
    config: plainConfig({
      architecture: isTopk ? "topk" : "standard",
      dIn,
      dSae,
      dtype: storedDtype(file, layout.encoder.name),
      applyBDecToInput: true,
      normalization: isTopk ? "layer_norm" : "none",
      k: isTopk ? kOf(file, dSae) : null,
      hookName,
      modelName: hookName === null ? null : "gpt2",
    }),
    threshold: null,
    runnerConfig: null,
    rows,
    origin: {
      dialect: openai.name,
      architecture: String(activation),
      notes:
        hookName === null ? ["hook point and model: they stand in the path, which does not have them"] : [],
    },
  };
}

function kOf(file: TensorFile, dSae: number): number {
  const state = file.others.get("activation_state_dict");
  const [k, after] = state instanceof Map ? [state.get("k"), state.get("postact_fn") ?? "ReLU"] : [];
  if (typeof k !== "number" || !Number.isInteger(k) || k < 1 || k > dSae)
    throw new FormatError(file.path, `activation TopK, and its k is ${String(k)}, expected 1 to ${dSae}`);
  if (after !== "ReLU") refuse(file.path, "postact_fn", after, "ReLU is: latents here are never negative");
  return k;
}

/** The places of the repository's paths.py: `…/<location>[_v4|_v5_32k|_v5_128k]/autoencoders/<layer>.pt` */
const LOCATION =
  /^(mlp_post_act|resid_delta_attn|resid_post_attn|resid_delta_mlp|resid_post_mlp)(_v\d+(_\d+k)?)?$/;
const HOOKS: Readonly<Record<string, string>> = {
  mlp_post_act: "mlp.hook_post",
  resid_delta_attn: "hook_attn_out",
  resid_post_attn: "hook_resid_mid",
  resid_delta_mlp: "hook_mlp_out",
  resid_post_mlp: "hook_resid_post",
};

function hookOf(place: Place): string | null {
  const location = inPath(place, LOCATION)?.[1];
  const layer = /^(\d{1,3})\.pt$/.exec(place.file ?? "")?.[1];
  return location === undefined || layer === undefined ? null : `blocks.${layer}.${HOOKS[location]}`;
}
