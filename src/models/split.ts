/**
 * Cuts a model into segments that run one after the other, so that something can be put in between. The tensors of the cuts
 * alone seldom suffice: Gemma 4's per-layer inputs, and keys and values shared by later layers, cross too. They are found
 * and handed on; masks and rotary tables, which do not depend on the tokens' contents, are computed in every segment.
 */
import { ModelError } from "../errors.ts";
import { ancestors, cutModel } from "./onnx-cut.ts";
import type { OnnxModel, OnnxNode } from "./onnx-model.ts";
import { ELEM } from "./onnx-write.ts";
import { descendants, embeddingTensors } from "./residual-stream.ts";

/** One piece of a model, from a cut to the next. */
export interface Segment {
  /** tensors that it takes from earlier segments, beside inputs of the model */
  readonly reads: readonly string[];
  /** its outputs: the next cut first, then what later segments read */
  readonly gives: readonly string[];
  /** bytes of its weights, as they are stored */
  readonly weightBytes: number;
  /** bytes that those of them would take in float32 which it dequantises */
  readonly dequantizedBytes: number;
  /** Builds it; takes the element types ("float32", "float16" …) that the sessions of earlier segments declare for `reads`. */
  build(types: ReadonlyMap<string, string>): Uint8Array<ArrayBuffer>;
}

/**
 * Cuts `model` at the tensors `cuts`, each computed from the one before: n cuts make n + 1 segments, the last of which gives
 * `outputs`. Run in order over one table of named tensors they compute what the whole graph does. Each tensor that depends on
 * a cut is computed after it, so whoever changes a cut's tensor in the table changes all that depends on it, and nothing else.
 * @throws {ModelError} no such output or cut, or the cuts are in another order
 */
export function segmentModel(
  model: OnnxModel,
  cuts: readonly string[],
  outputs: readonly string[],
): Segment[] {
  for (const name of outputs)
    if (!model.outputs.some((output) => output.name === name))
      throw new ModelError(`${model.file}: no output "${name}" to split for`);
  const contents = descendants(model, embeddingTensors(model));
  const segmentOf = new Map<string, number>();
  const pieces = [...cuts, null].map((cut, index) => {
    if (cut !== null) checkCut(model, contents, segmentOf, cut);
    const targets = cut === null ? outputs : [cut];
    const nodes = ancestors(model, targets, new Set(segmentOf.keys()));
    const read = new Set<string>(targets.filter((name) => segmentOf.has(name)));
    for (const node of nodes) for (const name of inputsOf(node)) if (segmentOf.has(name)) read.add(name);
    for (const node of nodes)
      for (const name of node.outputs) if (contents.has(name)) segmentOf.set(name, index);
    return { targets, nodes, reads: [...read] };
  });
  return pieces.map(({ targets, nodes, reads }, index) => {
    const later = new Set(pieces.slice(index + 1).flatMap((piece) => piece.reads));
    const given = [...later].filter((name) => segmentOf.get(name) === index && !targets.includes(name));
    const gives = [...targets, ...given];
    return {
      reads,
      gives,
      weightBytes: weightBytes(model, nodes),
      dequantizedBytes: dequantizedBytes(model, nodes),
      build: (types) =>
        cutModel(model, {
          inputs: reads.map((name) => ({ name, elemType: elemTypeOf(types.get(name), name) })),
          outputs: gives.map((name) => ({ name })),
        }),
    };
  });
}

function checkCut(
  model: OnnxModel,
  contents: ReadonlySet<string>,
  segmentOf: ReadonlyMap<string, number>,
  cut: string,
): void {
  if (!model.producerOf.has(cut)) throw new ModelError(`${model.file}: no tensor "${cut}" in the graph`);
  if (!contents.has(cut))
    throw new ModelError(`${model.file}: the tensor "${cut}" does not depend on the tokens`);
  if (segmentOf.has(cut))
    throw new ModelError(`${model.file}: the tensor "${cut}" is computed before another cut`, {
      hint: "Name the tensors in the order of their layers.",
    });
}

function inputsOf(node: OnnxNode): string[] {
  return [...node.inputs, ...node.implicitInputs];
}

function weightBytes(model: OnnxModel, nodes: Iterable<OnnxNode>): number {
  let bytes = 0;
  for (const name of new Set([...nodes].flatMap(inputsOf))) {
    const weight = model.initializers.get(name);
    if (weight === undefined) continue;
    const { external, raw, dims } = weight;
    bytes += external === null ? raw.length : (external.length ?? dims.reduce((n, size) => n * size, 4));
  }
  return bytes;
}

function dequantizedBytes(model: OnnxModel, nodes: Iterable<OnnxNode>): number {
  const weights = [...nodes].filter(({ op }) => op === "DequantizeLinear").map(({ inputs }) => inputs[0]);
  return [...new Set(weights)].reduce(
    (sum, name) => sum + (model.initializers.get(name)?.dims.reduce((n, size) => n * size, 4) ?? 0),
    0,
  );
}

function elemTypeOf(type: string | undefined, tensor: string): number {
  const known = Object.entries(ELEM).find(([name]) => name === type);
  if (known === undefined)
    throw new ModelError(`the element type of "${tensor}" (${type ?? "not given"}) cannot cross a cut`);
  return known[1];
}
