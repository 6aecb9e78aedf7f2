/**
 * Which files of a repository make up a language model: the graph (or the two graphs of the hub's Gemma layout), their
 * external weights, the configuration and the tokenizer. Pure: names in, names out, so that a download fetches exactly
 * what opening a model will read. What the graphs say about their external data is `onnx-model.ts`' business.
 */
import { ModelError } from "../errors.ts";

export interface ModelFiles {
  /** "single": tokens → logits in one graph. "embeds": `embed_tokens` feeds the decoder with `inputs_embeds`. */
  readonly layout: "single" | "embeds";
  /** the variant's suffix in words: "fp32" for none, else e.g. "fp16", "q4", "quantized" */
  readonly dtype: string;
  /** the graph that holds the decoder layers */
  readonly decoder: string;
  /** the graph tokens go through first, in the layout "embeds" */
  readonly embed: string | null;
  /** files that by their names hold the graphs' external weights */
  readonly data: readonly string[];
  /** config.json and its kin, the one nearest to the graph first */
  readonly config: readonly string[];
  readonly tokenizer: readonly string[];
}

interface Candidate {
  readonly path: string;
  readonly folder: string;
  readonly stem: string;
  readonly dtype: string;
}

/** Longest first, so that q4f16 is not read as f16 of something. */
const DTYPES = [
  "quantized",
  "q4f16",
  "q2f16",
  "q1f16",
  "uint8",
  "int8",
  "int4",
  "bnb4",
  "bf16",
  "fp16",
  "fp32",
  "q8",
  "q4",
  "q2",
  "q1",
];
/** decoder graphs by preference; `null`: no embedding graph goes with it */
const DECODERS = [
  { stem: "model", embed: null },
  { stem: "decoder_model_merged", embed: "embed_tokens" },
  { stem: "decoder_model", embed: "embed_tokens" },
  { stem: "decoder_model_merged", embed: null },
  { stem: "decoder_model", embed: null },
] as const;
const CONFIG = ["config.json", "genai_config.json", "generation_config.json"];
const TOKENIZER = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "chat_template.json",
];

/**
 * Chooses the files of one model among `fileNames` (relative, with forward slashes). Graphs are looked for in the
 * folder itself, then in `onnx/`, then in any one other folder.
 *
 * Without `dtype`: the only variant there is, else fp32. `dtype` is the suffix of a file name, "fp32" for none; "q8"
 * also finds `_quantized`.
 * @throws {ModelError} no graph, no such variant, or several and none chosen; lists what there is
 */
export function chooseModelFiles(fileNames: readonly string[], options: { dtype?: string } = {}): ModelFiles {
  const graphs = fileNames.filter((name) => name.endsWith(".onnx")).map(candidate);
  const folder = graphFolder(graphs);
  const here = graphs.filter((graph) => graph.folder === folder);
  for (const { stem, embed } of DECODERS) {
    const decoders = here.filter((graph) => graph.stem === stem);
    const embeds = embed === null ? [] : here.filter((graph) => graph.stem === embed);
    if (decoders.length === 0 || (embed !== null && embeds.length === 0)) continue;
    const decoder = chooseVariant(decoders, options.dtype);
    const embedGraph =
      embed === null
        ? null
        : (embeds.find((graph) => graph.dtype === decoder.dtype) ?? chooseVariant(embeds));
    const chosen = [decoder.path, ...(embedGraph === null ? [] : [embedGraph.path])];
    return {
      layout: embedGraph === null ? "single" : "embeds",
      dtype: decoder.dtype,
      decoder: decoder.path,
      embed: embedGraph?.path ?? null,
      data: fileNames.filter((name) => chosen.some((graph) => isDataOf(name, graph))),
      config: nearest(fileNames, folder, CONFIG),
      tokenizer: nearest(fileNames, folder, TOKENIZER),
    };
  }
  throw new ModelError(`no language model among the graphs: ${here.map((graph) => graph.path).join(", ")}`, {
    hint: "Wanted: model.onnx, or decoder_model_merged.onnx with embed_tokens.onnx (any dtype suffix).",
  });
}

function candidate(path: string): Candidate {
  const slash = path.lastIndexOf("/");
  const base = path.slice(slash + 1, -".onnx".length);
  const dtype = DTYPES.find((suffix) => base.endsWith("_" + suffix));
  return {
    path,
    folder: path.slice(0, slash + 1),
    stem: dtype === undefined ? base : base.slice(0, -dtype.length - 1),
    dtype: dtype ?? "fp32",
  };
}

function graphFolder(graphs: readonly Candidate[]): string {
  const decoders = new Set<string>(DECODERS.map(({ stem }) => stem));
  const folders = [
    ...new Set(graphs.filter((graph) => decoders.has(graph.stem)).map((graph) => graph.folder)),
  ];
  const known = ["", "onnx/"].find((folder) => folders.includes(folder));
  if (known !== undefined) return known;
  if (folders.length === 1) return folders[0];
  if (folders.length > 1)
    throw new ModelError(`several models: one in each of ${folders.join(", ")}`, {
      hint: "Name the folder you want.",
    });
  throw new ModelError(
    graphs.length === 0
      ? "no .onnx file there"
      : `no language model among the graphs: ${graphs.map((graph) => graph.path).join(", ")}`,
    {
      hint: "A model needs model.onnx, or decoder_model_merged.onnx with embed_tokens.onnx; see docs/MODELS.md.",
    },
  );
}

function chooseVariant(graphs: readonly Candidate[], dtype?: string): Candidate {
  const choices = graphs.map((graph) => graph.dtype).join(", ");
  const wanted = dtype === undefined ? undefined : [dtype, ...(dtype === "q8" ? ["quantized"] : [])];
  const found =
    wanted === undefined
      ? graphs.length === 1
        ? graphs[0]
        : graphs.find((graph) => graph.dtype === "fp32")
      : graphs.find((graph) => wanted.includes(graph.dtype));
  if (found !== undefined) return found;
  throw new ModelError(
    dtype === undefined
      ? `several variants of ${graphs[0].stem}: ${choices}`
      : `no ${graphs[0].stem} of dtype "${dtype}"; there is ${choices}`,
    { hint: `Choose one with dtype: ${choices}.` },
  );
}

/** Exporters write weights to X.onnx_data, X.onnx_data_1 …, X.onnx.data or X.data beside X.onnx. */
function isDataOf(name: string, graph: string): boolean {
  if (name === graph.replace(/\.onnx$/, ".data")) return true;
  return name.startsWith(graph) && /^[._]data([._]\d+)?$/.test(name.slice(graph.length));
}

/** Files by these names, in the graph's folder or above it; where both have one, the graph's folder wins. */
function nearest(fileNames: readonly string[], folder: string, wanted: readonly string[]): string[] {
  const folders: string[] = [folder];
  for (let up = folder; up !== ""; ) {
    up = up.slice(0, up.lastIndexOf("/", up.length - 2) + 1);
    folders.push(up);
  }
  return wanted.flatMap((name) => {
    const found = folders.map((place) => place + name).find((path) => fileNames.includes(path));
    return found === undefined ? [] : [found];
  });
}
