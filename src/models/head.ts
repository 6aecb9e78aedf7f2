/**
 * A model's head alone: float32 rows times the vocabulary's matrix, and nothing after it: no bias, no scale of the logits,
 * no soft cap. It is the graph's own product, taken out of the graph and computed in single precision whatever the graph's
 * is. Rows that the graph would round to int8 are not rounded: the weights are dequantised instead. And the weight of the
 * norm before it.
 */
import { ModelError } from "../errors.ts";
import { ancestors, cutModel, rewireNode } from "./onnx-cut.ts";
import type { OnnxModel, OnnxNode } from "./onnx-model.ts";
import { ELEM, nodeField } from "./onnx-write.ts";
import { descendants, embeddingTensors } from "./residual-stream.ts";

export const HEAD_ROWS = "lapidary/rows";
export const HEAD_LOGITS = "lapidary/logits";
export const NORM_WEIGHT = "lapidary/norm_weight";

const DEQUANTIZED = "lapidary/dequantized";

/** A piece of a model, ready to be loaded. */
export interface HeadPiece {
  readonly graph: Uint8Array<ArrayBuffer>;
  /** bytes of its weights as they are stored, and in float32 */
  readonly storedBytes: number;
  readonly float32Bytes: number;
}

/** Inputs of each product that are floating-point numbers, of whatever precision; the first is the rows. Biases are left out. */
const OPERANDS: Readonly<Record<string, { readonly takes: number; readonly floats: readonly number[] }>> = {
  MatMul: { takes: 2, floats: [1] },
  FusedMatMul: { takes: 2, floats: [1] },
  Gemm: { takes: 2, floats: [1] },
  MatMulNBits: { takes: 5, floats: [2, 3] },
  MatMulBnb4: { takes: 3, floats: [2] },
  MatMulFpQ4: { takes: 3, floats: [] },
};
/** Of MatMulNBits: bytes, or floating-point numbers. */
const ZERO_POINTS = 3;
/** By this a product may round its rows to int8. */
const ROUNDING = ["accuracy_level"];

/**
 * The graph rows [n, dIn] → logits [n, vocabulary] of the product that `findUnembedding` found.
 * @throws {ModelError} integer weights without a scale that can be found
 */
export function headGraph(model: OnnxModel, product: OnnxNode, dIn: number): HeadPiece {
  const { nodes, reads } = OPERANDS[product.op]
    ? floatProduct(model, product)
    : integerProduct(model, product);
  return piece(model, reads, {
    inputs: [{ name: HEAD_ROWS, elemType: ELEM.float32, shape: ["rows", dIn] }],
    outputs: [{ name: HEAD_LOGITS, elemType: ELEM.float32 }],
    append: nodes,
  });
}

/**
 * The graph that gives the weight of the last norm before the product, as the graph multiplies by it: where a model adds 1
 * to what it stores, that is in it.
 * @returns the problem in words, where none is found
 */
export function finalNormGraph(
  model: OnnxModel,
  product: OnnxNode,
): HeadPiece | { readonly problem: string } {
  const found = normWeight(model, product.inputs[0]);
  if (typeof found !== "string") return found;
  return piece(model, [found], {
    outputs: [{ name: NORM_WEIGHT, elemType: ELEM.float32 }],
    append: [nodeField("Cast", [found], [NORM_WEIGHT], { attributes: { to: ELEM.float32 } })],
  });
}

interface Product {
  readonly nodes: readonly Uint8Array[];
  readonly reads: readonly string[];
}

function floatProduct(model: OnnxModel, product: OnnxNode): Product {
  const { takes, floats } = OPERANDS[product.op];
  const nodes: Uint8Array[] = [];
  const operands = product.inputs.slice(1, takes).map((name, i) => {
    if (name === "" || !floats.includes(i + 1) || !mayBeHalf(model, name, i + 1 !== ZERO_POINTS)) return name;
    const single = `${HEAD_ROWS}/operand_${i + 1}`;
    nodes.push(nodeField("Cast", [name], [single], { attributes: { to: ELEM.float32 } }));
    return single;
  });
  nodes.push(rewireNode(product, [HEAD_ROWS, ...operands], [HEAD_LOGITS], ROUNDING));
  return { nodes, reads: product.inputs.slice(1, takes).filter((name) => name !== "") };
}

/** Whether a tensor may be of another precision than single; one whose type is not stated may be, a zero point excepted. */
function mayBeHalf(model: OnnxModel, tensor: string, ifUnknown = true): boolean {
  const type = model.initializers.get(tensor)?.elemType ?? model.values.get(tensor)?.elemType ?? 0;
  if (type === 0) return ifUnknown;
  return type === ELEM.float16 || type === ELEM.bfloat16 || type === ELEM.float64;
}

function integerProduct(model: OnnxModel, product: OnnxNode): Product {
  const { weights, scale, zero } = integerWeights(model, product);
  const inputs = [weights, scale, zero].filter((name) => name !== "");
  const nodes: Uint8Array[] = [];
  let single = scale;
  if (mayBeHalf(model, scale)) {
    single = `${DEQUANTIZED}/scale`;
    nodes.push(nodeField("Cast", [scale], [single], { attributes: { to: ELEM.float32 } }));
  }
  nodes.push(
    nodeField("DequantizeLinear", [weights, single, ...inputs.slice(2)], [DEQUANTIZED], {
      attributes: { axis: 1 },
    }),
    nodeField("MatMul", [HEAD_ROWS, DEQUANTIZED], [HEAD_LOGITS]),
  );
  return { nodes, reads: inputs };
}

/** Of `(rows − zero) · (weights − zero) → Cast → · (rows' scale · weights' scale)`: the weights' part. */
function integerWeights(
  model: OnnxModel,
  product: OnnxNode,
): { readonly weights: string; readonly scale: string; readonly zero: string } {
  const [, weights] = product.inputs;
  if (product.op === "MatMulIntegerToFloat")
    return { weights, scale: product.inputs[3], zero: product.inputs[5] ?? "" };
  const contents = descendants(model, embeddingTensors(model));
  let tensor = product.outputs[0];
  for (const op of ["Cast", "Mul"]) {
    const next = model.consumersOf.get(tensor)?.find((node) => node.op === op);
    if (next === undefined) break;
    const [other] = next.inputs.filter((name) => name !== tensor);
    const scales = other === undefined ? undefined : model.producerOf.get(other);
    if (scales?.op === "Mul") {
      const own = scales.inputs.filter((name) => !contents.has(name));
      if (own.length === 1) return { weights, scale: own[0], zero: product.inputs[3] ?? "" };
    }
    tensor = next.outputs[0];
  }
  throw new ModelError(
    `${model.file}: the head multiplies integers (${product.name || product.op}), and the scale of its weights was not found`,
    { hint: "Use an export of the model with floating-point or 4-bit weights (--dtype)." },
  );
}

/** Operators between a norm and its product that leave each number of a row in its place. */
const IN_PLACE = new Set([
  "Cast",
  "Identity",
  "Reshape",
  "Squeeze",
  "Unsqueeze",
  "Slice",
  "Gather",
  "GatherND",
  "DynamicQuantizeLinear",
  "QuantizeLinear",
  "DequantizeLinear",
]);
/** Norms that are one operator: which input is their weight. */
const NORMS: Readonly<Record<string, number>> = {
  RMSNormalization: 1,
  SimplifiedLayerNormalization: 1,
  LayerNormalization: 1,
  SkipSimplifiedLayerNormalization: 2,
  SkipLayerNormalization: 2,
};

function normWeight(model: OnnxModel, hidden: string): string | { readonly problem: string } {
  const contents = descendants(model, embeddingTensors(model));
  let tensor = hidden;
  for (;;) {
    const node = model.producerOf.get(tensor);
    if (node === undefined) return { problem: `no node makes "${tensor}", which the head multiplies` };
    const constant = node.inputs.filter((name) => name !== "" && !contents.has(name));
    if (NORMS[node.op] !== undefined) {
      const weight = node.inputs[NORMS[node.op]];
      return weight ? weight : { problem: `the last norm (${node.name || node.op}) has no weight` };
    }
    if (node.op === "Mul" && constant.length === 1) return constant[0];
    const isBias = node.op === "Add" && constant.length === 1;
    if (!isBias && !IN_PLACE.has(node.op))
      return { problem: `before the head stands ${node.op} (${node.name || tensor}), not a norm's weight` };
    tensor = isBias ? (node.inputs.find((name) => contents.has(name)) as string) : node.inputs[0];
  }
}

function piece(
  model: OnnxModel,
  reads: readonly string[],
  cut: Omit<Parameters<typeof cutModel>[1], "appendReads">,
): HeadPiece {
  const used = new Set([...reads, ...[...ancestors(model, reads)].flatMap(({ inputs }) => inputs)]);
  let storedBytes = 0;
  let float32Bytes = 0;
  for (const name of used) {
    const weight = model.initializers.get(name);
    if (weight === undefined) continue;
    const count = weight.dims.reduce((product, size) => product * size, 1);
    storedBytes += weight.external === null ? weight.raw.length : (weight.external.length ?? 4 * count);
    float32Bytes += 4 * count;
  }
  return { graph: cutModel(model, { ...cut, appendReads: reads }), storedBytes, float32Bytes };
}
