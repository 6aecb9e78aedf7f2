/**
 * Finds the residual stream in an exported language model: the tensor that holds the *output* of each decoder layer
 * (`blocks.L.hook_resid_post`), whatever exporter wrote the graph and whatever it called things.
 *
 * From the embeddings on, the stream is the chain of skip connections: a tensor is added to something computed from
 * itself, the sum is added to something computed from it, and so on. Layers are then numbered twice, by the
 * exporter's scopes or names and by counting (each layer adds equally often), and the two must agree.
 */
import { ModelError } from "../errors.ts";
import type { OnnxModel, OnnxNode } from "./onnx-model.ts";

/** The output of one decoder layer. */
export interface ResidualPoint {
  readonly layer: number;
  /** the tensor's name; null when the graph holds it only inside a fused node, as `sumOf` */
  readonly tensor: string | null;
  /** tensors whose sum it is, when `tensor` is null (the last layer of graphs with fused skip + norm) */
  readonly sumOf: readonly string[];
  /** the node that makes the sum */
  readonly node: OnnxNode;
}

export interface ResidualStream {
  /** the embeddings' tensor, or the graph input `inputs_embeds` */
  readonly root: string;
  /** one entry a layer, ascending from 0 */
  readonly layers: readonly ResidualPoint[];
  readonly addsPerLayer: number;
  readonly numberedBy: "names and count" | "names" | "count";
}

/** One skip connection: the stream after it, scalar factors included. */
interface SkipAdd {
  tensor: string | null;
  readonly sumOf: readonly string[];
  readonly node: OnnxNode;
}

export const FUSED_SKIP = /^Skip(Simplified)?LayerNormalization$/;
/** operators that hand a tensor on, as far as the stream is concerned */
const PASS = new Set(["Cast", "Identity", "Dropout", "QuantizeLinear", "DequantizeLinear"]);
/** operators between `input_ids` and the embedding table */
const ID_STEPS = new Set(["Cast", "Reshape", "Identity", "Unsqueeze", "Squeeze", "Where", "Clip", "Flatten"]);

/**
 * The residual stream of `model`.
 * @param nLayers number of decoder layers the configuration states, if there is one
 * @throws {ModelError} none found, or names, count and configuration disagree; says what was found
 */
export function findResidualStream(model: OnnxModel, nLayers: number | null): ResidualStream {
  const roots = embeddingTensors(model);
  const chains = roots.map((root) => ({ root, ...followSkips(model, root) }));
  chains.sort((a, b) => b.adds.length - a.adds.length);
  const best = chains[0];
  if (best === undefined)
    throw notFound(model, "no input_ids that reach an embedding table, and no inputs_embeds");
  if (best.adds.length === 0)
    throw notFound(model, `nothing is added to the embeddings "${best.root}"; they go to ${best.end}`);

  const named = numberByNames(best.adds, nLayers);
  const counted =
    nLayers !== null && best.adds.length % nLayers === 0 ? numberByCount(best.adds, nLayers) : null;
  const found =
    `${best.adds.length} skip connections from "${best.root}" to "${lastTensor(best.adds)}"` +
    (named === null
      ? ", without layer numbers in their names"
      : `, named as layers 0 to ${named.length - 1}`);
  if (nLayers !== null && counted === null)
    throw disagreement(model, `${found}, but the configuration says ${nLayers} layers`);
  if (named !== null && counted !== null && !sameLayers(named, counted))
    throw disagreement(model, `${found}, but counting gives other tensors for ${nLayers} layers`);
  const layers = named ?? counted;
  if (layers === null)
    throw new ModelError(`${model.file}: the residual stream's layers cannot be numbered: ${found}`, {
      hint: "Put the model's config.json beside it: it tells the number of layers.",
    });
  return {
    root: best.root,
    layers: layers.map((add, layer) => ({ layer, ...add })),
    addsPerLayer: best.adds.length / layers.length,
    numberedBy: named === null ? "count" : counted === null ? "names" : "names and count",
  };
}

/** Tensors that may start the stream: `inputs_embeds`, or what is gathered from a table by token ids. */
export function embeddingTensors(model: OnnxModel): string[] {
  if (model.inputs.some((input) => input.name === "inputs_embeds")) return ["inputs_embeds"];
  const ids = new Set(["input_ids"]);
  const roots: string[] = [];
  for (const node of model.nodes) {
    if (ID_STEPS.has(node.op) && node.inputs.some((input) => ids.has(input))) ids.add(node.outputs[0]);
    const gathers = node.op === "Gather" || node.op === "GatherBlockQuantized";
    if (gathers && ids.has(node.inputs[1])) roots.push(node.outputs[0]);
  }
  return roots;
}

/** Follows the chain of skip connections from `root`; `end` says in words where it stopped. */
function followSkips(model: OnnxModel, root: string): { adds: SkipAdd[]; end: string } {
  const stream = descendants(model, [root]);
  const adds: SkipAdd[] = [];
  let current: string | null = root;
  const seen = new Set<string>();
  while (current !== null && !seen.has(current)) {
    seen.add(current);
    const aliases = passedOn(model, current);
    const consumers = aliases
      .flatMap((alias) => model.consumersOf.get(alias) ?? [])
      .filter((node) => node.op !== "Shape" && !PASS.has(node.op))
      .sort((a, b) => a.index - b.index);
    const skip = consumers.find((node) => addsTo(node, aliases, stream, true));
    if (skip !== undefined) {
      const add = sumOf(skip);
      adds.push(add);
      current = add.tensor;
      continue;
    }
    // A lone factor (embedding scale, Gemma 4's layer_scalar) or a term from elsewhere (GPT-2's position embeddings)
    // belongs to the position before it.
    const only = consumers.length === 1 ? consumers[0] : undefined;
    if (only === undefined) break;
    if (scales(model, only, aliases) || addsTo(only, aliases, stream, false)) {
      const next: string | null = sumOf(only).tensor;
      const last = adds.at(-1);
      if (last !== undefined) last.tensor = next;
      current = next;
    } else break;
  }
  const last = current === null ? [] : (model.consumersOf.get(current) ?? []);
  return { adds, end: [...new Set(last.map((node) => node.op))].join(", ") || "nothing" };
}

/** Whether `node` adds one of `aliases` to a tensor that is (`own`) or is not computed from the stream itself. */
function addsTo(
  node: OnnxNode,
  aliases: readonly string[],
  stream: ReadonlySet<string>,
  own: boolean,
): boolean {
  const operands =
    node.op === "Add" || node.op === "Sum"
      ? node.inputs
      : FUSED_SKIP.test(node.op)
        ? node.inputs.slice(0, 2)
        : [];
  const others = operands.filter((input) => !aliases.includes(input));
  return (
    others.length === operands.length - 1 && others.length > 0 && others.some((o) => stream.has(o)) === own
  );
}

function scales(model: OnnxModel, node: OnnxNode, aliases: readonly string[]): boolean {
  if (node.op !== "Mul" && !(node.op === "Div" && aliases.includes(node.inputs[0]))) return false;
  const others = node.inputs.filter((input) => !aliases.includes(input));
  return others.length === 1 && isScalar(model, others[0]);
}

function isScalar(model: OnnxModel, tensor: string, depth = 0): boolean {
  const dims = model.initializers.get(tensor)?.dims ?? model.producerOf.get(tensor)?.constantDims;
  if (dims !== undefined && dims !== null) return dims.every((size) => size === 1);
  const node = model.producerOf.get(tensor);
  return node !== undefined && depth < 8 && PASS.has(node.op) && isScalar(model, node.inputs[0], depth + 1);
}

/** `tensor` and what is the same value in other clothes. */
function passedOn(model: OnnxModel, tensor: string): string[] {
  const aliases = [tensor];
  for (let i = 0; i < aliases.length; i++)
    for (const node of model.consumersOf.get(aliases[i]) ?? [])
      if (PASS.has(node.op) && node.inputs[0] === aliases[i] && !aliases.includes(node.outputs[0]))
        aliases.push(node.outputs[0]);
  return aliases;
}

/** Every tensor computed from `roots`, and these; knowing its shape does not count. */
export function descendants(model: OnnxModel, roots: readonly string[]): Set<string> {
  const reached = new Set(roots);
  const open = [...roots];
  while (open.length > 0)
    for (const node of model.consumersOf.get(open.pop() as string) ?? []) {
      if (node.op === "Shape") continue;
      for (const output of node.outputs)
        if (output !== "" && !reached.has(output)) {
          reached.add(output);
          open.push(output);
        }
    }
  return reached;
}

/** The sum a node makes. Fused nodes give it as their output 3, or, in a graph's last layer, not at all. */
function sumOf(node: OnnxNode): SkipAdd {
  if (!FUSED_SKIP.test(node.op)) return { tensor: node.outputs[0], sumOf: [], node };
  const bias = node.inputs[node.op.includes("Simplified") ? 3 : 4] ?? "";
  const terms = [node.inputs[0], node.inputs[1], bias].filter((name) => name !== "");
  return { tensor: node.outputs[3] || null, sumOf: terms, node };
}

const LAYER = /(?:^|[^a-z])(?:layers?|h|blocks?)[./](\d+)(?!\d)/i;

/** The last skip connection of each layer by the exporter's names, or null when the names do not tell. */
function numberByNames(adds: readonly SkipAdd[], nLayers: number | null): SkipAdd[] | null {
  const byLayer: SkipAdd[] = [];
  let highest = -1;
  for (const add of adds) {
    const fused = FUSED_SKIP.test(add.node.op);
    const label = labels(add).find((text) => LAYER.test(text));
    let layer = label === undefined ? -1 : Number(LAYER.exec(label)?.[1]);
    // A skip connection fused into the norm that opens layer L + 1 (or, after the last, the final norm, which model
    // builder counts as one layer more) is what layer L gave out.
    if (fused && label !== undefined && /input_layernorm|final_norm|ln_1\b/.test(label)) layer -= 1;
    if (label === undefined && fused && labels(add).some((text) => /final_norm|ln_f|\/norm\//.test(text)))
      layer = (nLayers ?? highest + 1) - 1;
    if (layer < 0 || layer < highest || layer > highest + 1) return null;
    highest = layer;
    byLayer[layer] = add;
  }
  return byLayer.length === 0 ? null : byLayer;
}

function numberByCount(adds: readonly SkipAdd[], nLayers: number): SkipAdd[] {
  const perLayer = adds.length / nLayers;
  return Array.from({ length: nLayers }, (_, layer) => adds[(layer + 1) * perLayer - 1]);
}

/** Texts that may carry a layer number: torch's module scopes, the node's name, its output's name. */
function labels({ node, tensor }: SkipAdd): string[] {
  return [
    node.metadata.get("pkg.torch.onnx.name_scopes") ?? "",
    node.metadata.get("namespace") ?? "",
    node.name,
    tensor ?? "",
  ];
}

function sameLayers(a: readonly SkipAdd[], b: readonly SkipAdd[]): boolean {
  return a.length === b.length && a.every((add, i) => add.node === b[i].node);
}

function lastTensor(adds: readonly SkipAdd[]): string {
  const last = adds[adds.length - 1];
  return last.tensor ?? last.sumOf.join(" + ");
}

function notFound(model: OnnxModel, found: string): ModelError {
  const conditional = model.nodes.some((node) => node.op === "If");
  const inputs = model.inputs.map((input) => input.name).join(", ");
  return new ModelError(`${model.file}: no residual stream found: ${found} (inputs: ${inputs})`, {
    hint: conditional
      ? "The decoder seems to lie inside an If node (a merged export with and without past); use an export without it."
      : "Only decoder language models with a plain residual stream are understood; see docs/MODELS.md.",
  });
}

function disagreement(model: OnnxModel, found: string): ModelError {
  return new ModelError(`${model.file}: the residual stream does not fit the configuration: found ${found}`, {
    hint: "Is config.json that of this very model? Otherwise its architecture is not understood; see docs/MODELS.md.",
  });
}
