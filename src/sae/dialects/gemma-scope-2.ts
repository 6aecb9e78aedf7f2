/**
 * Gemma Scope 2 (Gemma 3): `params.safetensors` with w_enc [dIn, dSae], w_dec [dSae, dOut], b_enc, b_dec, threshold, and for
 * transcoders with a skip connection affine_skip_connection [dIn, dOut], which is added as x · affine_skip_connection;
 * `config.json` with the hook points. Latents as in Gemma Scope. Cross-layer transcoders and crosscoders, whose decoders
 * have more axes, are refused. Source: the release's tutorial notebook. SAELens multiplies with the transposed skip
 * connection.
 */
import { join } from "node:path";
import { FormatError, UnsupportedError } from "../../errors.ts";
import type { JsonFields } from "../../formats/json-fields.ts";
import type { TensorFile } from "../../formats/tensor-file.ts";
import { expectSize, plainConfig, readFields, refuse } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import { hasFile, type Place } from "./place.ts";
import {
  expectTensors,
  laidOutRows,
  matrix,
  openFrom,
  plainLayout,
  storedDtype,
  transposed,
  vector,
} from "./tensors.ts";

const PARAMS = "params.safetensors";
const CONFIG = "config.json";
const SKIP = "affine_skip_connection";

export const gemmaScope2: Dialect = {
  name: "Gemma Scope 2",
  files: `${PARAMS}, ${CONFIG}`,
  recognises: ({ file, names }) => names.has(PARAMS) && (file === null || file === PARAMS || file === CONFIG),
  async open(place) {
    if (!(await hasFile(place, CONFIG)))
      throw new FormatError(join(place.folder, CONFIG), "no such file", {
        hint: "it says whether this is an SAE or a transcoder: fetch it from beside params.safetensors",
      });
    const config = await readFields(join(place.folder, CONFIG));
    return openFrom(join(place.folder, PARAMS), (file) => open(place, config, file));
  },
};

async function open(place: Place, config: JsonFields, file: TensorFile): Promise<OpenSae> {
  const configFile = join(place.folder, CONFIG);
  const architecture = config.text("architecture");
  if (architecture !== "jump_relu") refuse(configFile, "architecture", architecture, "jump_relu is");
  const hookIn = config.text("hf_hook_point_in");
  const hookOut = config.textOrNull("hf_hook_point_out") || hookIn; // some say "" for an SAE
  const kind = config.textOrNull("type") ?? (hookIn === hookOut ? "sae" : "transcoder");
  if (kind !== "sae" && kind !== "transcoder")
    refuse(configFile, "type", kind, "SAEs and transcoders of one layer are read");
  const isTranscoder = kind === "transcoder";
  if (!isTranscoder && hookIn !== hookOut)
    throw new FormatError(configFile, `of type sae, but from ${hookIn} to ${hookOut}`);
  const hasSkip = config.flag("affine_connection", false);
  if (file.tensors.get("w_dec")?.shape.length !== 2 && file.tensors.has("w_dec"))
    throw new UnsupportedError(
      `${file.path}: w_dec has shape [${file.tensors.get("w_dec")?.shape.join(", ")}]`,
      "a crosscoder, or a transcoder across layers: only those of one layer are read",
    );
  expectTensors(file, `a Gemma Scope 2 ${kind}`, [
    ...["w_enc", "w_dec", "b_enc", "b_dec", "threshold"],
    ...(hasSkip ? [SKIP] : []),
  ]);
  const rows = await laidOutRows(
    file,
    plainLayout("w_enc", "w_dec", "b_enc", "b_dec"),
    isTranscoder ? "transcoder" : "SAE",
  );
  const { dIn, dSae, dOut } = rows;
  if (config.has("width")) expectSize(configFile, "width", config.number("width"), dSae);
  if (hasSkip && !isTranscoder) refuse(configFile, "affine_connection", true, "only transcoders have one");
  const skip = hasSkip ? transposed(await matrix(file, SKIP, dIn, dOut), dIn, dOut) : null;
  return {
    config: plainConfig({
      architecture: "jumprelu",
      dIn,
      dSae,
      dtype: storedDtype(file, "w_enc"),
      applyBDecToInput: false,
      hookName: hookOf(hookIn),
      modelName: config.textOrNull("model_name"),
      ...(isTranscoder ? { output: { dOut, hookName: hookOf(hookOut) } } : {}),
    }),
    threshold: await vector(file, "threshold", dSae),
    ...(skip === null ? {} : { skip }),
    runnerConfig: null,
    rows,
    origin: {
      dialect: gemmaScope2.name,
      architecture: `jump_relu ${kind}${hasSkip ? " with a skip connection" : ""}`,
      notes: ["context size and BOS: not recorded"],
    },
  };
}

/** Hugging Face's words for what a module gives; the output of a whole layer is named by the layer. */
function hookOf(name: string): string {
  return name.replace(/^(.*\.layers\.\d{1,5})\.output$/, "$1");
}
