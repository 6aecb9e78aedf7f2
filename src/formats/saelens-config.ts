/**
 * `cfg.json` of a SAELens directory ⇄ a neutral record in our spelling. Knows the keys of 6.x, what they default to
 * when absent, and how 6.18 reads files older than 6.0 (spec §3.3–3.6). It refuses what it does not know to be safe.
 */
import { FormatError, UnsupportedError } from "../errors.ts";
import { isObject, JsonFields, type JsonObject, shown } from "./json-fields.ts";

/** The release whose format is written, and whose reading is followed. */
const SAELENS_VERSION = "6.18.0";

export type SaelensDtype = "float32" | "bfloat16" | "float16" | "float64";
export type SaelensNormalization =
  | "none"
  | "layer_norm"
  | "constant_norm_rescale"
  | "expected_average_only_in";

/**
 * Architectures whose directories are read. Those with batchtopk exist only as training checkpoints;
 * jumprelu_skip_transcoder is newer than 6.18.
 */
export type SaelensArchitecture =
  | "standard"
  | "topk"
  | "jumprelu"
  | "gated"
  | "transcoder"
  | "skip_transcoder"
  | "jumprelu_transcoder"
  | "jumprelu_skip_transcoder"
  | "batchtopk"
  | "matryoshka_batchtopk";

export interface SaelensConfig {
  readonly architecture: SaelensArchitecture;
  readonly dIn: number;
  readonly dSae: number;
  /** of a transcoder; null for an SAE */
  readonly dOut: number | null;
  readonly dtype: SaelensDtype;
  readonly applyBDecToInput: boolean;
  readonly normalization: SaelensNormalization;
  readonly reshape: "none" | "hook_z";
  /** latents per token; null where the architecture has none */
  readonly k: number | null;
  readonly rescaleActsByDecoderNorm: boolean;
  /** what only a training checkpoint says; null for an inference SAE */
  readonly training: SaelensTrainingConfig | null;
  /** as in the file (6.x), or rebuilt from its top level (older) */
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface SaelensTrainingConfig {
  /** as in the file; empty if not a matryoshka */
  readonly matryoshkaWidths: readonly number[];
  readonly auxLossCoefficient: number;
  readonly topkThresholdLr: number;
}

const ARCHITECTURES: readonly SaelensArchitecture[] = [
  "standard",
  "topk",
  "jumprelu",
  "gated",
  "transcoder",
  "skip_transcoder",
  "jumprelu_transcoder",
  "jumprelu_skip_transcoder",
  "batchtopk",
  "matryoshka_batchtopk",
];
const NORMALIZATIONS: readonly SaelensNormalization[] = [
  "none",
  "layer_norm",
  "constant_norm_rescale",
  "expected_average_only_in",
];
const DTYPES: readonly SaelensDtype[] = ["float32", "bfloat16", "float16", "float64"];
const K_DEFAULT = 100;
const D_OUT_DEFAULT = 768;

/**
 * Reads a parsed cfg.json; `file` names it in errors.
 * @throws {FormatError} a key is missing or has a value its type does not allow
 * @throws {UnsupportedError} an architecture or an activation function that Lapidary does not run
 */
export function parseConfig(file: string, json: unknown): SaelensConfig {
  if (!isObject(json)) throw new FormatError(file, "not a JSON object");
  const isLegacy = versionIsBefore6(file, json);
  const cfg = isLegacy ? modernised(file, json) : json;
  if (!isLegacy) refuseOldKeys(file, json);
  const fields = new JsonFields(file, cfg);

  const architecture = architectureOf(file, fields.text("architecture"));
  const hasK = architecture.endsWith("topk");
  const isTranscoder = architecture.endsWith("transcoder");
  const isTraining =
    architecture === "batchtopk" ||
    architecture === "matryoshka_batchtopk" ||
    (architecture === "topk" && fields.has("aux_loss_coefficient"));
  const dSae = fields.dimension("d_sae");
  const config: SaelensConfig = {
    architecture,
    dIn: fields.dimension("d_in"),
    dSae,
    dOut: isTranscoder ? fields.dimension("d_out", D_OUT_DEFAULT) : null,
    dtype: dtypeOf(file, fields.text("dtype")),
    applyBDecToInput: fields.flag("apply_b_dec_to_input", true),
    normalization: fields.oneOf("normalize_activations", NORMALIZATIONS, "none"),
    reshape: fields.oneOf("reshape_activations", ["none", "hook_z"], "none"),
    k: hasK ? latentsPerToken(file, fields.number("k", K_DEFAULT), dSae, architecture) : null,
    rescaleActsByDecoderNorm: hasK ? fields.flag("rescale_acts_by_decoder_norm", isTraining) : false,
    training: isTraining
      ? {
          matryoshkaWidths:
            architecture === "matryoshka_batchtopk" ? fields.widths("matryoshka_widths", dSae) : [],
          auxLossCoefficient: fields.number("aux_loss_coefficient", 1),
          topkThresholdLr: fields.number("topk_threshold_lr", 0.01),
        }
      : null,
    metadata: fields.object("metadata"),
  };
  if (isTranscoder && config.applyBDecToInput)
    throw new FormatError(
      file,
      `"apply_b_dec_to_input" is ${shown(cfg.apply_b_dec_to_input)}, a ${architecture} needs false: its b_dec belongs to its output`,
    );
  checkHookZ(file, config);
  return config;
}

/** The cfg.json of an inference SAE, every key that SAELens 6.18 writes. */
export function serializeConfig(config: SaelensConfig): JsonObject {
  const { architecture, metadata } = config;
  const unknownToSource = Object.entries(METADATA).filter(([key]) => !(key in metadata));
  return {
    architecture,
    d_in: config.dIn,
    d_sae: config.dSae,
    ...(config.dOut === null ? {} : { d_out: config.dOut }),
    dtype: config.dtype,
    device: "cpu",
    apply_b_dec_to_input: config.applyBDecToInput,
    normalize_activations: config.normalization,
    reshape_activations: config.reshape,
    ...(architecture === "topk"
      ? { k: config.k, rescale_acts_by_decoder_norm: config.rescaleActsByDecoderNorm }
      : {}),
    metadata: {
      ...metadata,
      ...Object.fromEntries(unknownToSource),
      sae_lens_version: SAELENS_VERSION,
    },
  };
}

/** What metadata says where the source said nothing: the runner's own neutral value, or null for "not known". */
const METADATA: JsonObject = {
  sae_lens_training_version: null,
  model_name: null,
  model_class_name: null,
  hook_name: null,
  hook_head_index: null,
  context_size: null,
  prepend_bos: null,
  dataset_path: null,
  seqpos_slice: [null],
  model_from_pretrained_kwargs: {},
  exclude_special_tokens: null,
  sequence_separator_token: null,
  disable_concat_sequences: null,
};

/** Files without a version, or with one below 6.0.0-rc.0, are read by the old rules. */
function versionIsBefore6(file: string, cfg: JsonObject): boolean {
  const metadata = cfg.metadata;
  const version = cfg.sae_lens_version ?? (isObject(metadata) ? metadata.sae_lens_version : undefined);
  if (version === undefined || version === null) return true;
  const major = typeof version === "string" ? /^v?(\d{1,6})\./.exec(version) : null;
  if (major === null)
    throw new FormatError(file, `sae_lens_version is ${shown(version)}, expected "6.18.0" or the like`);
  return Number(major[1]) < 6;
}

const RENAMED: Readonly<Record<string, string>> = {
  hook_point: "hook_name",
  hook_point_head_index: "hook_head_index",
  activation_fn_str: "activation_fn",
};
const METADATA_OF_OLD = [
  "model_name",
  "hook_name",
  "model_class_name",
  "hook_head_index",
  "model_from_pretrained_kwargs",
  "prepend_bos",
  "exclude_special_tokens",
  "neuronpedia_id",
  "context_size",
  "seqpos_slice",
  "dataset_path",
  "sae_lens_version",
  "sae_lens_training_version",
  "hook_name_out",
  "hook_head_index_out",
];

/** What old keys say is not in a 6.x file, and SAELens would not look at it: an SAE that means them is another one. */
function refuseOldKeys(file: string, cfg: JsonObject): void {
  const activation = cfg.activation_fn ?? cfg.activation_fn_str ?? null;
  const isPlain = activation === null || activation === (cfg.architecture === "topk" ? "topk" : "relu");
  if (isPlain && cfg.finetuning_scaling_factor !== true) return;
  const said = isPlain ? "finetuning_scaling_factor true" : `activation function ${shown(activation)}`;
  throw new UnsupportedError(
    `${file}: ${said} beside architecture ${shown(cfg.architecture)}`,
    "a file of SAELens 6 does not say so; if an older release wrote it, take sae_lens_version out of it",
  );
}

/** A flat cfg from before 6.0, as 6.18 understands it; except that activation functions it would ignore are refused. */
function modernised(file: string, cfg: JsonObject): JsonObject {
  const old: Record<string, unknown> = { prepend_bos: true, neuronpedia_id: null };
  for (const [key, value] of Object.entries(cfg)) {
    const name = RENAMED[key] ?? key;
    if (name === key || !(name in cfg)) old[name] = value;
  }
  if (old.finetuning_scaling_factor === true)
    throw new UnsupportedError(
      `${file}: SAEs with a finetuning scaling factor are not read`,
      "fold scaling_factor into W_dec, and set finetuning_scaling_factor to false",
    );
  const activation = old.activation_fn ?? "relu";
  if (activation !== "relu" && activation !== "topk")
    throw new UnsupportedError(
      `${file}: activation function ${shown(activation)}`,
      "relu and topk are run; SAELens 6 itself would silently take relu",
    );
  const kwargs = isObject(old.activation_fn_kwargs) ? old.activation_fn_kwargs : {};
  if (activation === "topk" && typeof kwargs.k !== "number")
    throw new FormatError(file, `activation_fn_kwargs.k is ${shown(kwargs.k)}, expected a number`);
  const hookName = old.hook_name;
  const normalize = old.normalize_activations;
  return {
    ...old,
    architecture: activation === "topk" ? "topk" : (old.architecture ?? "standard"),
    ...(activation === "topk" ? { k: kwargs.k } : {}),
    normalize_activations:
      typeof normalize === "boolean"
        ? normalize
          ? "expected_average_only_in"
          : "none"
        : (normalize ?? "none"),
    reshape_activations: typeof hookName === "string" && hookName.includes("hook_z") ? "hook_z" : "none",
    metadata: Object.fromEntries(METADATA_OF_OLD.filter((key) => key in old).map((key) => [key, old[key]])),
  };
}

function architectureOf(file: string, name: string): SaelensArchitecture {
  const known = ARCHITECTURES.find((architecture) => architecture === name);
  if (known === undefined)
    throw new UnsupportedError(
      `${file}: architecture ${shown(name)}`,
      `Lapidary runs ${ARCHITECTURES.join(", ")}`,
    );
  return known;
}

function dtypeOf(file: string, name: string): SaelensDtype {
  const plain = name.replace(/^torch\./, "");
  const known = DTYPES.find((dtype) => dtype === plain);
  if (known === undefined)
    throw new UnsupportedError(`${file}: dtype ${shown(name)}`, `Lapidary reads ${DTYPES.join(", ")}`);
  return known;
}

function latentsPerToken(file: string, k: number, dSae: number, architecture: SaelensArchitecture): number {
  if (!(k > 0 && k <= dSae) || (architecture === "topk" && !Number.isInteger(k)))
    throw new FormatError(
      file,
      `k is ${k}, expected ${architecture === "topk" ? "an integer " : ""}from 1 to d_sae = ${dSae}`,
    );
  return k;
}

/** hook_z inputs are [nHeads, dHead]; SAELens insists that the hook is one. */
function checkHookZ(file: string, { reshape, metadata }: SaelensConfig): void {
  const name = metadata.hook_name;
  if (reshape === "hook_z" && !(typeof name === "string" && name.endsWith("_z")))
    throw new FormatError(
      file,
      `reshape_activations is "hook_z" but hook_name is ${shown(name)}, expected one ending in _z`,
    );
}
