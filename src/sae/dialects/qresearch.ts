/**
 * qresearch's SAEs of DeepSeek-R1 distillations: one file `<model>-SAE-l<layer>.pt`, two Linears with biases:
 *   latents = relu(x · encoder.weightᵀ + encoder.bias),  recon = latents · decoder.weightᵀ + decoder.bias
 * The tensors alone could mean other things, so the file's name has to say that it is one. Source: the release's notebook;
 * SAELens 6.18 (`deepseek_r1`) reads it alike, for one size.
 */
import type { TensorFile } from "../../formats/tensor-file.ts";
import { plainConfig } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import {
  expectNoOthers,
  expectTensors,
  laidOutRows,
  linearLayout,
  openFrom,
  storedDtype,
} from "./tensors.ts";

const NAME = /^(.+)-SAE-l(\d{1,3})\.pt$/;

export const qresearch: Dialect = {
  name: "qresearch",
  files: "<model>-SAE-l<layer>.pt",
  recognises: ({ file }) => file !== null && NAME.test(file),
  open: ({ path, file: name }) => openFrom(path, (file) => open(name ?? "", file)),
};

async function open(name: string, file: TensorFile): Promise<OpenSae> {
  expectTensors(file, "qresearch's SAEs", [
    "encoder.weight",
    "encoder.bias",
    "decoder.weight",
    "decoder.bias",
  ]);
  expectNoOthers(file);
  const layout = linearLayout("encoder.bias", "decoder.bias");
  const rows = await laidOutRows(file, layout, "SAE");
  const [, model, layer] = NAME.exec(name) ?? [];
  return {
    config: plainConfig({
      architecture: "standard",
      dIn: rows.dIn,
      dSae: rows.dSae,
      dtype: storedDtype(file, layout.encoder.name),
      applyBDecToInput: false,
      hookName: `blocks.${layer}.hook_resid_post`,
      modelName: model,
    }),
    threshold: null,
    runnerConfig: null,
    rows,
    origin: { dialect: qresearch.name, architecture: "relu", notes: ["context size and BOS: not recorded"] },
  };
}
