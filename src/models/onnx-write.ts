/**
 * Writes ONNX messages: nodes, tensors, typed names, whole models. Small on purpose: enough to add a few nodes to a
 * graph and to build miniature models for tests and demonstrations.
 */
import { bytesField, concatBytes, floatField, intField, textField } from "./protobuf.ts";

/** TensorProto.DataType of the element types we name. */
export const ELEM = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
} as const;

/** Attribute values: numbers are `i` (int) unless wrapped in `{ float }`. */
export type Attribute =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly tensor: Uint8Array }
  | { readonly graph: readonly Uint8Array[] };

export interface NodeOptions {
  readonly name?: string;
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A node, as a field of a graph. "" in inputs or outputs leaves one out. */
export function nodeField(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  options: NodeOptions = {},
): Uint8Array {
  return bytesField(1, [
    ...inputs.map((name) => textField(1, name)),
    ...outputs.map((name) => textField(2, name)),
    ...(options.name === undefined ? [] : [textField(3, options.name)]),
    textField(4, op),
    ...Object.entries(options.attributes ?? {}).map(([name, value]) => attributeField(name, value)),
    ...(options.domain === undefined ? [] : [textField(7, options.domain)]),
    ...Object.entries(options.metadata ?? {}).map(([key, value]) => pairField(9, key, value)),
  ]);
}

function attributeField(name: string, value: Attribute): Uint8Array {
  const parts = [textField(1, name)];
  if (typeof value === "number") parts.push(intField(3, value), intField(20, 2));
  else if (typeof value === "string") parts.push(textField(4, value), intField(20, 3));
  else if ("float" in value) parts.push(floatField(2, value.float), intField(20, 1));
  else if ("tensor" in value) parts.push(bytesField(5, [value.tensor]), intField(20, 4));
  else if ("graph" in value) parts.push(bytesField(6, value.graph), intField(20, 5));
  else parts.push(...value.map((item) => intField(8, item)), intField(20, 7));
  return bytesField(5, parts);
}

function pairField(number: number, key: string, value: string): Uint8Array {
  return bytesField(number, [textField(1, key), textField(2, value)]);
}

/** A tensor's message: its data as raw little-endian bytes, or a reference into an external file. */
export function tensorMessage(
  name: string,
  elemType: number,
  dims: readonly number[],
  data: Uint8Array | { readonly location: string; readonly offset?: number; readonly length?: number },
): Uint8Array {
  const head = [...dims.map((dim) => intField(1, dim)), intField(2, elemType), textField(8, name)];
  if (data instanceof Uint8Array) return concatBytes([...head, bytesField(9, [data])]);
  return concatBytes([
    ...head,
    ...Object.entries(data).map(([key, value]) => pairField(13, key, String(value))),
    intField(14, 1),
  ]);
}

/** An initializer, as a field of a graph. */
export function initializerField(...tensor: Parameters<typeof tensorMessage>): Uint8Array {
  return bytesField(5, [tensorMessage(...tensor)]);
}

type Shape = readonly (number | string | null)[];

/** A graph input (11), output (12) or value_info (13). Outputs may go without a type: ONNX Runtime infers it. */
export function valueField(
  number: 11 | 12 | 13,
  name: string,
  elemType = 0,
  shape?: Shape | null,
): Uint8Array {
  if (elemType === 0) return bytesField(number, [textField(1, name)]);
  const dims = (shape ?? []).map((size) =>
    bytesField(1, size === null ? [] : [typeof size === "number" ? intField(1, size) : textField(2, size)]),
  );
  const type = [intField(1, elemType), ...(shape ? [bytesField(2, dims)] : [])];
  return bytesField(number, [textField(1, name), bytesField(2, [bytesField(1, type)])]);
}

/** A model of the given graph fields. Opset 18 of ONNX and version 1 of com.microsoft unless told otherwise. */
export function modelBytes(
  graph: readonly Uint8Array[],
  options: { producer?: string; opset?: number; irVersion?: number } = {},
): Uint8Array<ArrayBuffer> {
  const opset = (domain: string, version: number) =>
    bytesField(8, [textField(1, domain), intField(2, version)]);
  return concatBytes([
    intField(1, options.irVersion ?? 8),
    textField(2, options.producer ?? "lapidary"),
    bytesField(7, [textField(2, "graph"), ...graph]),
    opset("", options.opset ?? 18),
    opset("com.microsoft", 1),
  ]);
}
