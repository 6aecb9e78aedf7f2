/**
 * Kissane's and Krzyzanowski's attention SAEs of GPT-2 (`connor_rob_hook_z` in SAELens), in the format of Nanda's
 * 1L-Sparse-Autoencoder: `<name>.pt` with W_enc [dIn, dSae], W_dec, b_enc, b_dec, and `<name>_cfg.json` beside it:
 *   latents = relu((x − b_dec) · W_enc + b_enc),  recon = latents · W_dec + b_dec
 */
import { join } from "node:path";
import type { TensorFile } from "../../formats/tensor-file.ts";
import { expectSize, plainConfig, readFields } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import type { Place } from "./place.ts";
import { expectNoOthers, expectTensors, laidOutRows, openFrom, plainLayout, storedDtype } from "./tensors.ts";

export const hookZ: Dialect = {
  name: "1L-Sparse-Autoencoder",
  files: "<name>.pt, <name>_cfg.json",
  recognises: (place) => place.file?.endsWith(".pt") === true && place.names.has(configName(place)),
  open: (place) => openFrom(place.path, (file) => open(join(place.folder, configName(place)), file)),
};

function configName({ file }: Place): string {
  return `${file?.slice(0, -".pt".length)}_cfg.json`;
}

async function open(configFile: string, file: TensorFile): Promise<OpenSae> {
  const config = await readFields(configFile);
  const layout = plainLayout("W_enc", "W_dec", "b_enc", "b_dec");
  expectTensors(file, hookZ.name, ["W_enc", "W_dec", "b_enc", "b_dec"]);
  expectNoOthers(file);
  const rows = await laidOutRows(file, layout, "SAE");
  expectSize(configFile, "act_size", config.dimension("act_size"), rows.dIn);
  expectSize(configFile, "dict_size", config.dimension("dict_size"), rows.dSae);
  const hookName = config.text("act_name");
  return {
    config: plainConfig({
      architecture: "standard",
      dIn: rows.dIn,
      dSae: rows.dSae,
      dtype: storedDtype(file, "W_enc"),
      applyBDecToInput: true,
      reshape: hookName.endsWith("hook_z") ? "hook_z" : "none",
      hookName,
      modelName: config.textOrNull("model_name"),
      contextSize: config.has("seq_len") ? config.dimension("seq_len") : null,
    }),
    threshold: null,
    runnerConfig: null,
    rows,
    origin: { dialect: hookZ.name, architecture: "relu", notes: [] },
  };
}
