/**
 * Reads the structure of an ONNX model: nodes, initializers, inputs and outputs by name, each with the bytes it was
 * read from. Weights are neither decoded nor copied, and fields we do not know stay in those bytes, so that
 * `onnx-cut.ts` can put a changed model together byte for byte. It is no general ONNX library: attributes are skipped,
 * except for what they reference. Field numbers: onnx.proto of ONNX 1.19.
 */
import { FormatError } from "../errors.ts";
import {
  fieldCount,
  fieldCounts,
  fieldText,
  messageFields,
  type WireField,
  type WireFile,
  wireFields,
} from "./protobuf.ts";

export interface OnnxNode {
  /** place in the graph's order */
  readonly index: number;
  /** the whole field, tag included */
  readonly raw: Uint8Array;
  readonly op: string;
  readonly domain: string;
  readonly name: string;
  /** tensor names in the operator's order; "" = left out */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** names that subgraphs (If, Loop, Scan) of this node mention: those of the outer graph, and their own */
  readonly implicitInputs: readonly string[];
  /** metadata_props: torch's exporter keeps module scopes here */
  readonly metadata: ReadonlyMap<string, string>;
  /** shape of a Constant's value, null for other nodes */
  readonly constantDims: readonly number[] | null;
}

/** Where an initializer's bytes lie outside the graph file. */
export interface ExternalData {
  readonly location: string;
  readonly offset: number;
  /** bytes; null = to the end of the file */
  readonly length: number | null;
}

export interface OnnxInitializer {
  readonly raw: Uint8Array;
  readonly name: string;
  /** TensorProto.DataType: 1 float32, 7 int64, 10 float16, 16 bfloat16 … */
  readonly elemType: number;
  readonly dims: readonly number[];
  readonly external: ExternalData | null;
}

/** A typed tensor name: graph input, output or value_info. */
export interface OnnxValue {
  readonly raw: Uint8Array;
  readonly name: string;
  /** 0 = not stated */
  readonly elemType: number;
  /** numbers are fixed, texts symbolic, null unknown; null as a whole = not stated */
  readonly shape: readonly (number | string | null)[] | null;
}

export interface OnnxModel {
  readonly file: string;
  readonly producer: string;
  readonly opsets: ReadonlyMap<string, number>;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, OnnxInitializer>;
  /** graph inputs, those that are initializers too left out */
  readonly inputs: readonly OnnxValue[];
  /** inputs with a default: files of IR version 3 list every initializer so */
  readonly defaultedInputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  /** value_info, inputs and outputs by name */
  readonly values: ReadonlyMap<string, OnnxValue>;
  readonly producerOf: ReadonlyMap<string, OnnxNode>;
  readonly consumersOf: ReadonlyMap<string, readonly OnnxNode[]>;
  /** every external data reference, wherever in the file */
  readonly external: readonly ExternalData[];
  /** fields of the model beside `graph`, and of the graph beside those above, as they are */
  readonly otherFields: readonly Uint8Array[];
  readonly otherGraphFields: readonly Uint8Array[];
}

/** No single protobuf message, and so no ONNX file, may be longer. */
export const MAX_GRAPH_BYTES = 2 ** 31 - 1;
const MAX_ENTRIES = 1_000_000;
const MAX_SUBGRAPH_DEPTH = 32;

/**
 * Parses the bytes of a `.onnx` file.
 * @throws {FormatError} not ONNX, cut short, no graph or operator set, duplicate tensor names, or an external data
 *   location that leaves the model's folder
 */
export function parseOnnx(bytes: Uint8Array, name: string): OnnxModel {
  const file: WireFile = { name, bytes };
  const reader = new GraphReader(file);
  let producer = "";
  let graphs = 0;
  const opsets = new Map<string, number>();
  const otherFields: Uint8Array[] = [];
  for (const field of wireFields(file)) {
    if (field.number === 7) {
      // Protobuf merges repeated occurrences of a singular message, so a graph may come in several pieces.
      for (const part of messageFields(file, field)) reader.graphField(part);
      graphs++;
      continue;
    }
    otherFields.push(bytes.subarray(field.start, field.end));
    if (field.number === 2) producer = fieldText(file, field);
    else if (field.number === 8) {
      let domain = "";
      let version = 0;
      for (const part of messageFields(file, field)) {
        if (part.number === 1) domain = fieldText(file, part);
        else if (part.number === 2) version = fieldCount(file, part);
      }
      opsets.set(domain, version);
    } else if (field.number === 25)
      for (const part of messageFields(file, field)) if (part.number === 7) reader.node(part, 1);
  }
  if (graphs === 0) throw new FormatError(name, "no graph in it", { hint: "Is this an ONNX model?" });
  if (opsets.size === 0) throw new FormatError(name, "no operator set version in it");
  return { file: name, producer, opsets, otherFields, ...reader.finish() };
}

/** Collects what the (possibly repeated) graph message says. */
class GraphReader {
  readonly #file: WireFile;
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers = new Map<string, OnnxInitializer>();
  readonly #inputs: OnnxValue[] = [];
  readonly #outputs: OnnxValue[] = [];
  readonly #values = new Map<string, OnnxValue>();
  readonly #external: ExternalData[] = [];
  readonly #otherGraphFields: Uint8Array[] = [];
  #entries = 0;

  constructor(file: WireFile) {
    this.#file = file;
  }

  graphField(field: WireField): void {
    if (++this.#entries > MAX_ENTRIES)
      throw new FormatError(this.#file.name, `more than ${MAX_ENTRIES} nodes and tensors`, {
        offset: field.start,
      });
    if (field.number === 1) this.#nodes.push(this.node(field, 0));
    else if (field.number === 5) {
      const initializer = this.#tensor(field);
      this.#initializers.set(initializer.name, initializer);
    } else if (field.number === 11) this.#value(field, this.#inputs);
    else if (field.number === 12) this.#value(field, this.#outputs);
    else if (field.number === 13) this.#value(field, null);
    else {
      if (field.number === 15) this.#sparseTensor(field);
      this.#otherGraphFields.push(this.#raw(field));
    }
  }

  node(field: WireField, depth: number): OnnxNode {
    const inputs: string[] = [];
    const outputs: string[] = [];
    const implicitInputs: string[] = [];
    const metadata = new Map<string, string>();
    let op = "";
    let domain = "";
    let name = "";
    let constantDims: readonly number[] | null = null;
    for (const part of messageFields(this.#file, field)) {
      if (part.number === 1) inputs.push(fieldText(this.#file, part));
      else if (part.number === 2) outputs.push(fieldText(this.#file, part));
      else if (part.number === 3) name = fieldText(this.#file, part);
      else if (part.number === 4) op = fieldText(this.#file, part);
      else if (part.number === 5) constantDims = this.#attribute(part, depth, implicitInputs) ?? constantDims;
      else if (part.number === 7) domain = fieldText(this.#file, part);
      else if (part.number === 9) {
        const [key, value] = this.#textPair(part);
        metadata.set(key, value);
      }
    }
    return {
      index: this.#nodes.length,
      raw: this.#raw(field),
      op,
      domain,
      name,
      inputs,
      outputs,
      implicitInputs,
      metadata,
      constantDims: op === "Constant" ? constantDims : null,
    };
  }

  /** Follows what an attribute references; returns the shape of a constant it holds. */
  #attribute(field: WireField, depth: number, mentioned: string[]): readonly number[] | undefined {
    let dims: readonly number[] | undefined;
    for (const part of messageFields(this.#file, field)) {
      if (part.number === 5 || part.number === 10) dims = this.#tensor(part).dims;
      else if (part.number === 6 || part.number === 11) this.#subgraph(part, depth + 1, mentioned);
      else if (part.number === 22 || part.number === 23) this.#sparseTensor(part);
      else if (part.number >= 2 && part.number <= 4) dims = [];
    }
    return dims;
  }

  /** Names used inside a subgraph. ONNX forbids shadowing, so names defined within never match one outside. */
  #subgraph(field: WireField, depth: number, mentioned: string[]): void {
    if (depth > MAX_SUBGRAPH_DEPTH)
      throw new FormatError(this.#file.name, `subgraphs nested more than ${MAX_SUBGRAPH_DEPTH} deep`, {
        offset: field.start,
      });
    for (const part of messageFields(this.#file, field)) {
      if (part.number === 1) {
        const node = this.node(part, depth);
        mentioned.push(...node.inputs, ...node.implicitInputs);
      } else if (part.number === 5) this.#tensor(part);
      else if (part.number === 12)
        for (const inner of messageFields(this.#file, part))
          if (inner.number === 1) mentioned.push(fieldText(this.#file, inner));
    }
  }

  #tensor(field: WireField): OnnxInitializer {
    const file = this.#file;
    const dims: number[] = [];
    const pairs = new Map<string, string>();
    let elemType = 0;
    let name = "";
    for (const part of messageFields(file, field)) {
      if (part.number === 1) dims.push(...fieldCounts(file, part));
      else if (part.number === 2) elemType = fieldCount(file, part);
      else if (part.number === 8) name = fieldText(file, part);
      else if (part.number === 13) pairs.set(...this.#textPair(part));
    }
    const external = pairs.size === 0 ? null : externalData(pairs, file.name, name, field.start);
    if (external !== null) this.#external.push(external);
    return { raw: this.#raw(field), name, elemType, dims, external };
  }

  #sparseTensor(field: WireField): void {
    for (const part of messageFields(this.#file, field))
      if (part.number === 1 || part.number === 2) this.#tensor(part);
  }

  #value(field: WireField, list: OnnxValue[] | null): void {
    const file = this.#file;
    let name = "";
    let elemType = 0;
    let shape: (number | string | null)[] | null = null;
    for (const part of messageFields(file, field)) {
      if (part.number === 1) name = fieldText(file, part);
      if (part.number !== 2) continue;
      for (const kind of messageFields(file, part)) {
        if (kind.number !== 1) continue; // sequences, maps and optionals have no tensor type
        for (const type of messageFields(file, kind)) {
          if (type.number === 1) elemType = fieldCount(file, type);
          else if (type.number === 2) {
            shape = [];
            for (const dim of messageFields(file, type))
              if (dim.number === 1) shape.push(this.#dimension(dim));
          }
        }
      }
    }
    const value = { raw: this.#raw(field), name, elemType, shape };
    list?.push(value);
    if (elemType !== 0 || !this.#values.has(name)) this.#values.set(name, value);
  }

  #dimension(field: WireField): number | string | null {
    let size: number | string | null = null;
    for (const part of messageFields(this.#file, field)) {
      if (part.number === 1) size = Number.isSafeInteger(part.value) ? part.value : null;
      else if (part.number === 2) size = fieldText(this.#file, part);
    }
    return size;
  }

  #textPair(field: WireField): [string, string] {
    let key = "";
    let value = "";
    for (const part of messageFields(this.#file, field)) {
      if (part.number === 1) key = fieldText(this.#file, part);
      else if (part.number === 2) value = fieldText(this.#file, part);
    }
    return [key, value];
  }

  #raw(field: WireField): Uint8Array {
    return this.#file.bytes.subarray(field.start, field.end);
  }

  finish() {
    return {
      nodes: this.#nodes,
      initializers: this.#initializers,
      inputs: this.#inputs.filter((input) => !this.#initializers.has(input.name)),
      defaultedInputs: this.#inputs.filter((input) => this.#initializers.has(input.name)),
      outputs: this.#outputs,
      values: this.#values,
      ...tensorsOf(this.#nodes, this.#initializers, this.#file.name),
      external: this.#external,
      otherGraphFields: this.#otherGraphFields,
    };
  }
}

/** Who makes each tensor, and who reads it. @throws {FormatError} a tensor is produced twice */
export function tensorsOf(
  nodes: readonly OnnxNode[],
  initializers: ReadonlyMap<string, OnnxInitializer>,
  file: string,
): Pick<OnnxModel, "producerOf" | "consumersOf"> {
  const producerOf = new Map<string, OnnxNode>();
  const consumersOf = new Map<string, OnnxNode[]>();
  for (const node of nodes) {
    for (const output of node.outputs) {
      if (output === "") continue;
      if (producerOf.has(output) || initializers.has(output))
        throw new FormatError(file, `the tensor "${output}" is produced twice`);
      producerOf.set(output, node);
    }
    for (const input of new Set([...node.inputs, ...node.implicitInputs])) {
      if (input === "") continue;
      const consumers = consumersOf.get(input);
      if (consumers === undefined) consumersOf.set(input, [node]);
      else consumers.push(node);
    }
  }
  return { producerOf, consumersOf };
}

function externalData(
  pairs: ReadonlyMap<string, string>,
  file: string,
  tensor: string,
  at: number,
): ExternalData {
  const location = pairs.get("location") ?? "";
  const inside =
    location !== "" &&
    !/[\\:\0]/.test(location) &&
    !location.startsWith("/") &&
    !location.split("/").includes("..");
  if (!inside)
    throw new FormatError(
      file,
      `the weights of "${tensor}" are said to lie in "${location}", which is no path inside the model's folder`,
      { offset: at, hint: "Do not use this file: an honest model keeps its weights beside the graph." },
    );
  const size = (key: string): number | null => {
    const text = pairs.get(key);
    if (text === undefined) return null;
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
      throw new FormatError(file, `external data of "${tensor}" has ${key} "${text}"`, { offset: at });
    return value;
  };
  return { location, offset: size("offset") ?? 0, length: size("length") };
}
