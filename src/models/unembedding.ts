/**
 * Finds where a model's unembedding begins: the final hidden states that are multiplied by the vocabulary's matrix. Logits
 * are wide (Gemma: 262 144 numbers a token), so they are computed for few tokens at a time, from these.
 */
import { replaceNodes } from "./onnx-cut.ts";
import type { OnnxModel, OnnxNode } from "./onnx-model.ts";
import { nodeField } from "./onnx-write.ts";
import { descendants, embeddingTensors } from "./residual-stream.ts";

/** Where a graph's end can be cut off. */
export interface Unembedding {
  /** the final hidden states, [..., tokens, d]: each row decides the logits of its token */
  readonly hidden: string;
  /** the node that multiplies them, of the model as it was given */
  readonly product: OnnxNode;
  /** the model, its logits keeping the rows as they come */
  readonly model: OnnxModel;
}

/** Products with a constant matrix, row by row; the first input is the rows. */
const PRODUCTS = new Set([
  "MatMul",
  "Gemm",
  "FusedMatMul",
  "MatMulNBits",
  "MatMulBnb4",
  "MatMulFpQ4",
  "MatMulInteger",
  "MatMulIntegerToFloat",
]);
/** What may stand between the product and the logits: soft caps, biases, scales, types. */
const ROW_BY_ROW = new Set(["Tanh", "Mul", "Div", "Add", "Sub", "Cast", "Identity", "Clip", "Min", "Max"]);

/**
 * Goes back from `output` to the one product that makes it. A scale by which that product's rows were quantised dynamically
 * may be read too: it is one number for all rows.
 * @returns the problem in words, where the end is of another kind
 */
export function findUnembedding(
  model: OnnxModel,
  output: string,
): Unembedding | { readonly problem: string } {
  const contents = descendants(model, embeddingTensors(model));
  const found = { products: new Set<OnnxNode>(), scales: new Set<OnnxNode>(), reshapes: new Set<OnnxNode>() };
  const open = [output];
  const seen = new Set<string>();
  while (open.length > 0) {
    const tensor = open.pop() as string;
    const node = model.producerOf.get(tensor);
    if (seen.has(tensor)) continue;
    seen.add(tensor);
    if (node === undefined) return { problem: `they depend on "${tensor}", which no node makes` };
    if (PRODUCTS.has(node.op)) found.products.add(node);
    else if (node.op === "DynamicQuantizeLinear") found.scales.add(node);
    else if (node.op === "Reshape") {
      found.reshapes.add(node);
      open.push(node.inputs[0]);
    } else if (ROW_BY_ROW.has(node.op)) open.push(...node.inputs.filter((name) => contents.has(name)));
    else return { problem: `between them and their product stands ${node.op} (${node.name || tensor})` };
  }
  const [product, ...others] = found.products;
  if (product === undefined || others.length > 0)
    return { problem: `they are made of ${found.products.size} products, expected one` };
  const hidden = product.inputs[0];
  const scale = model.producerOf.get(hidden);
  const quantized = [...found.scales, ...product.inputs.slice(1).map((name) => model.producerOf.get(name))];
  for (const node of quantized)
    if (node !== undefined && node !== scale && node.outputs.some((name) => contents.has(name)))
      return { problem: `what the final hidden states are multiplied by depends on the tokens (${node.op})` };
  if (!contents.has(hidden)) return { problem: `"${hidden}" does not depend on the tokens` };
  return { hidden, product, model: replaceNodes(model, new Map([...found.reshapes].map(asTheyCome))) };
}

/** In place of a reshape that gives rows back their batch: nothing, so that any number of rows passes. */
function asTheyCome(reshape: OnnxNode): [number, Uint8Array[]] {
  return [reshape.index, [nodeField("Identity", [reshape.inputs[0]], [reshape.outputs[0]])]];
}
