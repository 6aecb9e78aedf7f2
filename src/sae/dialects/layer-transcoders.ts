/**
 * Hanna's transcoders (`mwhanna_transcoder` in SAELens): a repository of `layer_<n>.safetensors` beside a
 * `wandb-config.yaml`, with W_enc [dSae, dIn], W_dec [dSae, dOut], b_enc, b_dec:
 *   latents = relu(x · W_encᵀ + b_enc),  output = latents · W_dec + b_dec
 * from the input of the layer's MLP to its output. The yaml files are not read: they say what the tensors say already, and
 * the model's name.
 */
import type { TensorFile } from "../../formats/tensor-file.ts";
import { plainConfig } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import { expectTensors, laidOutRows, openFrom, rowLayout, storedDtype } from "./tensors.ts";

const NAME = /^layer_(\d{1,3})\.safetensors$/;
/** Some of the repositories spell it so. */
const CONFIGS = ["wandb-config.yaml", "wanb-config.yaml"];

export const layerTranscoders: Dialect = {
  name: "transcoders by layer",
  files: "layer_<n>.safetensors, wandb-config.yaml",
  recognises: ({ file, names }) =>
    file !== null && NAME.test(file) && CONFIGS.some((config) => names.has(config)),
  open: ({ path, file: name }) => openFrom(path, (file) => open(NAME.exec(name ?? "")?.[1] ?? "", file)),
};

async function open(layer: string, file: TensorFile): Promise<OpenSae> {
  expectTensors(file, "a transcoder of one layer", ["W_enc", "W_dec", "b_enc", "b_dec"]);
  const rows = await laidOutRows(file, rowLayout("W_enc", "W_dec", "b_enc", "b_dec"), "transcoder");
  return {
    config: plainConfig({
      architecture: "standard",
      dIn: rows.dIn,
      dSae: rows.dSae,
      dtype: storedDtype(file, "W_enc"),
      applyBDecToInput: false,
      hookName: `blocks.${layer}.mlp.hook_in`,
      output: { dOut: rows.dOut, hookName: `blocks.${layer}.hook_mlp_out` },
    }),
    threshold: null,
    runnerConfig: null,
    rows,
    origin: {
      dialect: layerTranscoders.name,
      architecture: "relu transcoder",
      notes: ["model: the repository's config.yaml says it, and is not read"],
    },
  };
}
