/**
 * dictionary_learning (Marks, Karvonen, Mueller): `ae.pt`, a state dict (or `ae.safetensors`, the same without a pickle),
 * and `config.json`, whose trainer.dict_class says what the numbers mean. Biases and thresholds are saved for unscaled
 * activations (`scale_biases`). A backup, which has the same name, holds those of scaled ones: refused. Latents are as
 * stored: the library's own `from_pretrained` may rescale AutoEncoder's to unit decoder norm, which changes no
 * reconstruction. Source: dictionary.py and trainers/ of the repository. SAELens 6.18 reads every class but three as plain
 * ReLU, thresholds lost.
 */
import { basename, dirname, join } from "node:path";
import { FormatError, UnsupportedError } from "../../errors.ts";
import { JsonFields } from "../../formats/json-fields.ts";
import type { TensorFile } from "../../formats/tensor-file.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { gatedAsJumprelu } from "../gated.ts";
import type { SaeConfig } from "../sae.ts";
import { expectSize, plainConfig, readFields, refuse } from "./config.ts";
import type { Dialect, OpenSae } from "./dialect.ts";
import type { Place } from "./place.ts";
import {
  expectNoOthers,
  expectTensors,
  type Layout,
  laidOutRows,
  linearLayout,
  openFrom,
  plainLayout,
  scalar,
  storedDtype,
  vector,
} from "./tensors.ts";

const CHECKPOINT = /^ae(_\d+)?\.(pt|safetensors)$/;
const CONFIG = "config.json";
/** In order of preference: the same state dict without a pickle is what Lapidary writes. */
const FINAL = ["ae.pt", "ae.safetensors"];

export const dictionaryLearning: Dialect = {
  name: "dictionary_learning",
  files: `ae.pt or ae.safetensors, ${CONFIG}`,
  recognises: ({ file, names }) =>
    file === null ? FINAL.some((name) => names.has(name)) : CHECKPOINT.test(file),
  async open(place) {
    const configFile = await findConfig(place);
    const config = await readFields(configFile, "its trainer.dict_class decides what the numbers mean");
    const trainer = new JsonFields(`${configFile}, trainer`, config.object("trainer"));
    const name = place.file ?? FINAL.find((final) => place.names.has(final)) ?? FINAL[0];
    return openFrom(join(place.folder, name), async (file) => {
      refuseBackup(file);
      return open(file, trainer, contextSize(config));
    });
  },
};

/** Checkpoints on the way lie in a folder beside it. */
async function findConfig({ folder, names }: Place): Promise<string> {
  const above = join(dirname(folder), CONFIG);
  const isOnTheWay = basename(folder) === "checkpoints" && !names.has(CONFIG);
  return isOnTheWay && (await statIfPresent(above)) !== null ? above : join(folder, CONFIG);
}

function refuseBackup(file: TensorFile): void {
  if (!["ae", "step", "norm_factor"].every((key) => file.others.has(key))) return;
  throw new UnsupportedError(
    `${file.path}: a backup of unfinished training {${[...file.others.keys()].slice(0, 6).join(", ")}}, made for scaled activations`,
    "let the training finish, which writes ae.pt anew, or use one of checkpoints/ae_<step>.pt",
  );
}

/** How the tensors of each class are called and lie, and which come beside the four parameters. */
const CLASSES: Readonly<
  Record<string, { layout: Layout; required: readonly string[]; optional?: readonly string[] }>
> = {
  AutoEncoder: { layout: linearLayout("encoder.bias", "bias"), required: [] },
  AutoEncoderNew: { layout: linearLayout("encoder.bias", "decoder.bias"), required: [] },
  AutoEncoderTopK: {
    layout: linearLayout("encoder.bias", "b_dec"),
    required: [],
    optional: ["k", "threshold"],
  },
  BatchTopKSAE: { layout: linearLayout("encoder.bias", "b_dec"), required: ["k", "threshold"] },
  MatryoshkaBatchTopKSAE: {
    layout: plainLayout("W_enc", "W_dec", "b_enc", "b_dec"),
    required: ["k", "threshold", "group_sizes"],
  },
  JumpReluAutoEncoder: { layout: plainLayout("W_enc", "W_dec", "b_enc", "b_dec"), required: ["threshold"] },
  GatedAutoEncoder: { layout: linearLayout("mag_bias", "decoder_bias"), required: ["gate_bias", "r_mag"] },
};

async function open(file: TensorFile, trainer: JsonFields, context: number | null): Promise<OpenSae> {
  const dictClass = trainer.text("dict_class");
  const known = Object.hasOwn(CLASSES, dictClass) ? CLASSES[dictClass] : undefined;
  if (known === undefined)
    refuse(file.path, "dict_class", dictClass, `classes that are: ${Object.keys(CLASSES).join(", ")}`);
  const { layout, required, optional } = known;
  const names = [layout.encoder.name, layout.decoder.name, layout.encoderBias, layout.decoderBias];
  expectTensors(file, dictClass, [...names.filter((name) => name !== null), ...required], optional);
  expectNoOthers(file);
  const rows = await laidOutRows(file, layout, "SAE");
  const { dIn, dSae } = rows;
  if (trainer.has("activation_dim"))
    expectSize(file.path, "activation_dim", trainer.number("activation_dim"), dIn);
  if (trainer.has("dict_size")) expectSize(file.path, "dict_size", trainer.number("dict_size"), dSae);
  const site = siteOf(trainer);
  const config = plainConfig({
    architecture: "standard",
    dIn,
    dSae,
    dtype: storedDtype(file, layout.encoder.name),
    applyBDecToInput: dictClass !== "AutoEncoderNew" && dictClass !== "JumpReluAutoEncoder",
    hookName: site.hookName,
    modelName: trainer.textOrNull("lm_name"),
    contextSize: context,
  });
  const origin = { dialect: dictionaryLearning.name, architecture: dictClass, notes: site.notes };
  const opened: OpenSae = { config, threshold: null, runnerConfig: null, rows, origin };
  switch (dictClass) {
    case "AutoEncoderTopK":
      return { ...opened, config: { ...config, architecture: "topk", k: await kOf(file, trainer, dSae) } };
    case "BatchTopKSAE":
    case "MatryoshkaBatchTopKSAE":
      return { ...opened, ...(await batchTopk(file, trainer, config, dictClass)) };
    case "JumpReluAutoEncoder": {
      const threshold = await vector(file, "threshold", dSae);
      return { ...opened, config: { ...config, architecture: "jumprelu" }, threshold };
    }
    case "GatedAutoEncoder": {
      const gate = {
        bGate: await vector(file, "gate_bias", dSae),
        rMag: await vector(file, "r_mag", dSae),
      };
      const jumprelu = await gatedAsJumprelu(file.path, rows, gate);
      return { ...opened, config: { ...config, architecture: "jumprelu" }, ...jumprelu };
    }
    default:
      return opened;
  }
}

/** relu(h)·1[relu(h) > threshold], one threshold for all latents, and what a training to be continued needs to know. */
async function batchTopk(
  file: TensorFile,
  trainer: JsonFields,
  config: SaeConfig,
  dictClass: string,
): Promise<Pick<OpenSae, "config" | "threshold" | "runnerConfig">> {
  const { dSae } = config;
  const threshold = await scalar(file, "threshold");
  if (threshold < 0)
    throw new UnsupportedError(
      `${file.path}: the threshold is ${threshold}, which means that training never set one`,
      "it is set from threshold_start_step on (default 1000): train longer. Without it, which latents fire depends on the batch",
    );
  const k = await kOf(file, trainer, dSae);
  const isMatryoshka = dictClass === "MatryoshkaBatchTopKSAE";
  const widths = isMatryoshka ? await widthsOf(file, dSae) : [dSae];
  return {
    config: { ...config, architecture: "jumprelu" },
    threshold: new Float32Array(dSae).fill(threshold),
    runnerConfig: {
      sae: {
        architecture: isMatryoshka ? "matryoshka_batchtopk" : "batchtopk",
        k,
        matryoshka_widths: widths,
        rescale_acts_by_decoder_norm: false, // the library holds decoder norms at one
      },
    },
  };
}

/** The state dict's k, or the configuration's. @throws {FormatError} they differ, as the library's own loader does */
async function kOf(file: TensorFile, trainer: JsonFields, dSae: number): Promise<number> {
  const stored = file.tensors.has("k") ? await scalar(file, "k") : null;
  const stated = trainer.has("k") ? trainer.number("k") : null;
  const k = stored ?? stated;
  if (k === null) throw new FormatError(file.path, "neither the state dict nor config.json says k");
  if (stored !== null && stated !== null && stored !== stated)
    throw new FormatError(file.path, `k is ${stored}, config.json says ${stated}`);
  if (!Number.isInteger(k) || k < 1 || k > dSae)
    throw new FormatError(file.path, `k is ${k}, expected an integer from 1 to ${dSae}`);
  return k;
}

async function widthsOf(file: TensorFile, dSae: number): Promise<number[]> {
  const sizes = await file.numbers("group_sizes");
  let sum = 0;
  const widths = sizes.map((size) => {
    sum += size;
    return sum;
  });
  if (sum !== dSae || sizes.some((size) => !(Number.isInteger(size) && size > 0)))
    throw new FormatError(
      file.path,
      `group_sizes [${sizes.slice(0, 8).join(", ")}] do not add up to ${dSae}`,
    );
  return widths;
}

/** `submodule_name` names the site by the library's own habit; a layer alone does not. */
function siteOf(trainer: JsonFields): { hookName: string | null; notes: string[] } {
  const name = trainer.textOrNull("submodule_name");
  const layer = trainer.has("layer") ? String(trainer.value("layer")) : null;
  const residual = name === null ? null : /^resid_post_layer_(\d{1,5})$/.exec(name);
  if (residual !== null) return { hookName: `blocks.${residual[1]}.hook_resid_post`, notes: [] };
  if (name !== null && layer !== null)
    return { hookName: null, notes: [`hook point: "${name}" of layer ${layer}`] };
  return {
    hookName: null,
    notes: [
      `hook point: not recorded${layer === null ? "" : `, beside that it is of layer ${layer.slice(0, 20)}`}`,
    ],
  };
}

function contextSize(config: JsonFields): number | null {
  const { ctx_len: length } = config.object("buffer");
  return typeof length === "number" ? length : null;
}
