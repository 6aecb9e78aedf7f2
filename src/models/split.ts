/**
 * Splits a model at the residual stream: lower half (tokens → residual) and upper half (residual → logits), so that
 * something can be put in between. The residual alone seldom suffices: Gemma 4's per-layer inputs, and keys and values
 * shared by later layers, cross the cut too. They are found and handed over; masks and rotary tables, which do not
 * depend on the tokens' contents, are computed in both halves.
 */
import { ModelError } from "../errors.ts";
import { ancestors, cutModel } from "./onnx-cut.ts";
import { type OnnxModel, type OnnxNode, parseOnnx } from "./onnx-model.ts";
import { ELEM, nodeField } from "./onnx-write.ts";
import { fieldText, messageFields, type WireFile, wireFields } from "./protobuf.ts";
import {
  descendants,
  embeddingTensors,
  FUSED_SKIP,
  type ResidualPoint,
  type ResidualStream,
} from "./residual-stream.ts";
import { sumNodes } from "./taps.ts";

export interface SplitModel {
  /** name of the residual tensor: the lower half's first output, an input of the upper half */
  readonly residual: string;
  /** every tensor that crosses the cut, `residual` first */
  readonly boundary: readonly string[];
  readonly lower: Uint8Array<ArrayBuffer>;
  /** Builds the upper half; takes the element types ("float32", "float16" …) that the lower half's session declares. */
  upper(types: ReadonlyMap<string, string>): Uint8Array<ArrayBuffer>;
}

/**
 * Splits `model` after decoder layer `layer`. The upper half sees the residual stream only through its inputs: a norm
 * that the exporter fused with the skip connection is separated from it first.
 * @throws {ModelError} the graph has no output of the given name
 */
export function splitModel(
  model: OnnxModel,
  stream: ResidualStream,
  layer: number,
  outputs: readonly string[] = ["logits"],
): SplitModel {
  const point = stream.layers[layer];
  const residual = point.tensor ?? `blocks.${layer}.hook_resid_post`;
  for (const name of outputs)
    if (!model.outputs.some((output) => output.name === name))
      throw new ModelError(`${model.file}: no output "${name}" to split for`);
  const fused =
    FUSED_SKIP.test(point.node.op) && (point.tensor === null || point.tensor === point.node.outputs[3]);
  const above = fused ? separateNorm(model, point, residual) : model;
  const boundary = [residual, ...crossing(above, fused ? point.sumOf : [residual], residual, outputs)];
  const sum = sumNodes(point, residual);
  const append = point.tensor === null ? [...sum.nodes, nodeField("Identity", [sum.tensor], [residual])] : [];
  return {
    residual,
    boundary,
    lower: cutModel(model, {
      outputs: boundary.map((name) => ({ name })),
      append,
      appendReads: point.tensor === null ? point.sumOf : [],
    }),
    upper: (types) =>
      cutModel(above, {
        inputs: boundary.map((name) => ({ name, elemType: elemTypeOf(types.get(name), name) })),
        outputs: outputs.map((name) => ({ name })),
      }),
  };
}

/** Tensors beside the residual that the upper part needs and that depend on the tokens' contents. */
function crossing(
  model: OnnxModel,
  residualFrom: readonly string[],
  residual: string,
  outputs: readonly string[],
): string[] {
  const contents = descendants(model, embeddingTensors(model));
  const lower = ancestors(model, residualFrom);
  const upper = ancestors(model, outputs, new Set([residual]));
  const shared = new Set(
    [...upper].filter((node) => lower.has(node) && node.outputs.some((name) => contents.has(name))),
  );
  const found = new Set<string>();
  for (const node of upper) {
    if (shared.has(node)) continue;
    for (const name of [...node.inputs, ...node.implicitInputs]) {
      const producer = model.producerOf.get(name);
      if (name !== residual && producer !== undefined && shared.has(producer)) found.add(name);
    }
  }
  return [...found];
}

/** Replaces the fused skip + norm of `point` by the norm alone, reading `residual`. */
function separateNorm(model: OnnxModel, point: ResidualPoint, residual: string): OnnxModel {
  const { node } = point;
  const simplified = node.op.includes("Simplified");
  const weights = [node.inputs[2], ...(simplified ? [] : [node.inputs[3]])].filter((name) => name);
  const norm = nodeField(
    simplified ? "SimplifiedLayerNormalization" : "LayerNormalization",
    [residual, ...weights],
    [node.outputs[0]],
    { attributes: { axis: -1, stash_type: 1, epsilon: { float: epsilonOf(node) } } },
  );
  const bytes = cutModel(model, {
    outputs: model.outputs.map(({ name }) => ({ name })),
    replace: new Map([[node.index, [norm]]]),
  });
  return parseOnnx(bytes, model.file);
}

/** The norm's epsilon; 1e-12 is what ONNX Runtime's fused operators take when it is not given. */
function epsilonOf(node: OnnxNode): number {
  const file: WireFile = { name: node.name, bytes: node.raw };
  for (const field of wireFields(file))
    for (const part of messageFields(file, field)) {
      if (part.number !== 5) continue;
      let name = "";
      let value: number | null = null;
      for (const item of messageFields(file, part)) {
        if (item.number === 1) name = fieldText(file, item);
        if (item.number === 2 && item.wireType === 5)
          value = new DataView(file.bytes.buffer, file.bytes.byteOffset + item.from, 4).getFloat32(0, true);
      }
      if (name === "epsilon" && value !== null) return value;
    }
  return 1e-12;
}

function elemTypeOf(type: string | undefined, tensor: string): number {
  const known = Object.entries(ELEM).find(([name]) => name === type);
  if (known === undefined)
    throw new ModelError(`the element type of "${tensor}" (${type ?? "not given"}) cannot cross a cut`);
  return known[1];
}
