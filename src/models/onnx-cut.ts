/**
 * Cuts a part out of an ONNX graph: the nodes that wanted tensors need, with every kept byte as it was. Weights in
 * external files stay where they are; only the references are copied.
 */
import { ModelError } from "../errors.ts";
import { type OnnxModel, type OnnxNode, parseOnnx, tensorsOf } from "./onnx-model.ts";
import { modelBytes, nodeField, valueField } from "./onnx-write.ts";
import {
  bytesField,
  bytesFieldParts,
  concatBytes,
  fieldText,
  messageFields,
  textField,
  wireFields,
} from "./protobuf.ts";

/** A tensor with a type; shape as in `OnnxValue`. */
export interface TypedName {
  readonly name: string;
  readonly elemType: number;
  readonly shape?: readonly (number | string | null)[] | null;
}

export interface Cut {
  /** new graph inputs, each standing for the tensor of its name, or for `replaces`; what produced that is left out */
  readonly inputs?: readonly (TypedName & { readonly replaces?: string })[];
  /** wanted tensors; type optional */
  readonly outputs: readonly { readonly name: string; readonly elemType?: number }[];
  /** nodes to put after the kept ones, and the tensors of the model that they read */
  readonly append?: readonly Uint8Array[];
  readonly appendReads?: readonly string[];
}

/** The model with its external weights looked for under other names; everything else as it was. */
export function relocateWeights(model: OnnxModel, nameOf: (location: string) => string): OnnxModel {
  const initializers = new Map(model.initializers);
  for (const [name, initializer] of initializers) {
    const { external, raw } = initializer;
    if (external === null) continue;
    const location = nameOf(external.location);
    const file = { name: model.file, bytes: raw };
    const [tensor] = wireFields(file);
    const parts = [...messageFields(file, tensor)].map((part) => {
      const isLocation =
        part.number === 13 &&
        [...messageFields(file, part)].some((t) => t.number === 1 && fieldText(file, t) === "location");
      return isLocation
        ? bytesField(13, [textField(1, "location"), textField(2, location)])
        : raw.subarray(part.start, part.end);
    });
    initializers.set(name, {
      ...initializer,
      raw: bytesField(tensor.number, parts),
      external: { ...external, location },
    });
  }
  return { ...model, initializers };
}

/** The model with other nodes in the place of some, given by their `index`, as `nodeField` writes them. */
export function replaceNodes(
  model: OnnxModel,
  replacements: ReadonlyMap<number, readonly Uint8Array[]>,
): OnnxModel {
  if (replacements.size === 0) return model;
  const nodes = model.nodes
    .flatMap((node) => {
      const fields = replacements.get(node.index);
      return fields === undefined ? [node] : parseOnnx(modelBytes(fields), model.file).nodes;
    })
    .map((node, index) => ({ ...node, index }));
  return { ...model, nodes, ...tensorsOf(nodes, model.initializers, model.file) };
}

/** A node with other inputs and outputs, and without some of its attributes; all else of it as it was. A field of a graph. */
export function rewireNode(
  node: OnnxNode,
  inputs: readonly string[],
  outputs: readonly string[],
  without: readonly string[] = [],
): Uint8Array {
  const file = { name: node.name, bytes: node.raw };
  const [whole] = wireFields(file);
  const kept = [...messageFields(file, whole)].filter((part) => {
    if (part.number === 1 || part.number === 2) return false;
    if (part.number !== 5) return true;
    const name = [...messageFields(file, part)].find(({ number }) => number === 1);
    return name === undefined || !without.includes(fieldText(file, name));
  });
  return bytesField(1, [
    ...inputs.map((name) => textField(1, name)),
    ...outputs.map((name) => textField(2, name)),
    ...kept.map(({ start, end }) => node.raw.subarray(start, end)),
  ]);
}

/** Nodes that the targets depend on, not looking behind the tensors in `stop`. */
export function ancestors(
  model: OnnxModel,
  targets: Iterable<string>,
  stop: ReadonlySet<string> = new Set(),
): Set<OnnxNode> {
  const found = new Set<OnnxNode>();
  const open = [...targets];
  while (open.length > 0) {
    const tensor = open.pop() as string;
    if (stop.has(tensor)) continue;
    const node = model.producerOf.get(tensor);
    if (node === undefined || found.has(node)) continue;
    found.add(node);
    open.push(...node.inputs, ...node.implicitInputs);
  }
  return found;
}

/** The model's bytes after the cut. @throws {ModelError} a wanted tensor is not in the graph */
export function cutModel(model: OnnxModel, cut: Cut): Uint8Array<ArrayBuffer> {
  const appended = new Set(cut.append === undefined ? [] : cut.outputs.map((output) => output.name));
  const targets = [
    ...cut.outputs.map((output) => output.name).filter((name) => isTensor(model, name)),
    ...(cut.appendReads ?? []),
  ];
  for (const { name } of cut.outputs)
    if (!isTensor(model, name) && !appended.has(name))
      throw new ModelError(`${model.file}: no tensor "${name}" in the graph`);
  const newInputs = cut.inputs ?? [];
  const entering = new Set(newInputs.map((input) => input.replaces ?? input.name));
  const kept = ancestors(model, targets, entering);
  const used = new Set(targets);
  for (const node of kept) for (const name of [...node.inputs, ...node.implicitInputs]) used.add(name);
  const produced = new Set<string>();
  for (const node of kept) for (const name of node.outputs) produced.add(name);
  const outputs = new Set(cut.outputs.map((output) => output.name));
  const outputValues = new Map(model.outputs.map((output) => [output.name, output]));

  const graph: Uint8Array[] = [];
  for (const { name, replaces } of newInputs)
    if (replaces !== undefined) graph.push(nodeField("Identity", [name], [replaces]));
  for (const node of model.nodes) if (kept.has(node)) graph.push(node.raw);
  graph.push(...(cut.append ?? []));
  graph.push(...model.otherGraphFields);
  for (const initializer of model.initializers.values())
    if (used.has(initializer.name)) graph.push(initializer.raw);
  for (const input of [...model.inputs, ...model.defaultedInputs])
    if (used.has(input.name) && !entering.has(input.name)) graph.push(input.raw);
  for (const input of newInputs) graph.push(valueField(11, input.name, input.elemType, input.shape));
  for (const output of cut.outputs) {
    const known = outputValues.get(output.name);
    graph.push(known?.raw ?? valueField(12, output.name, output.elemType ?? 0));
  }
  const ends = new Set(
    [...model.inputs, ...model.defaultedInputs, ...model.outputs].map((value) => value.name),
  );
  for (const value of model.values.values())
    if (
      produced.has(value.name) &&
      !ends.has(value.name) &&
      !outputs.has(value.name) &&
      !entering.has(value.name)
    )
      graph.push(value.raw);
  return concatBytes([...model.otherFields, ...bytesFieldParts(7, graph)]);
}

function isTensor(model: OnnxModel, name: string): boolean {
  return (
    model.producerOf.has(name) ||
    model.initializers.has(name) ||
    model.inputs.some((input) => input.name === name)
  );
}
