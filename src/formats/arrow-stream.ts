/**
 * The map of an Arrow IPC *stream* file: its schema, and where each record batch keeps its buffers. Bodies are not read
 * here, so a file may be far larger than memory; `arrow.ts` reads ranges of columns by this map. Compressed bodies and the
 * random-access file format are refused by name. Source: Arrow columnar format 1.4, "Serialization and IPC".
 */
import { type FileHandle, open } from "node:fs/promises";
import { FormatError, UnsupportedError } from "../errors.ts";
import { fileError, isAbsent } from "../storage/file-error.ts";
import { FlatTable } from "./flatbuffer.ts";
import { readExactly } from "./read-exactly.ts";

export type ArrowType =
  | { readonly kind: "int"; readonly bits: number; readonly signed: boolean }
  | { readonly kind: "float"; readonly bits: number }
  /** variable-length list; its offsets have 32 or 64 bits */
  | { readonly kind: "list"; readonly offsetBits: 32 | 64 }
  | { readonly kind: "fixed-list"; readonly size: number }
  /** UTF-8; its offsets have 32 or 64 bits */
  | { readonly kind: "text"; readonly offsetBits: 32 | 64 }
  /** its children side by side */
  | { readonly kind: "struct" }
  /** anything else: only the number of its own buffers matters, to find the columns behind it */
  | { readonly kind: "other"; readonly name: string; readonly nBuffers: number };

export interface ArrowField {
  readonly name: string;
  readonly type: ArrowType;
  readonly children: readonly ArrowField[];
}

/** One record batch. Nodes and buffers in depth-first order of the schema's fields. */
export interface ArrowBatch {
  readonly nRows: number;
  readonly nodes: readonly { readonly length: number; readonly nNull: number }[];
  /** byte ranges in the file, half-open */
  readonly buffers: readonly { readonly begin: number; readonly end: number }[];
}

export interface ArrowStream {
  readonly path: string;
  readonly fields: readonly ArrowField[];
  readonly batches: readonly ArrowBatch[];
}

const MAX_METADATA_BYTES = 64 * 1024 * 1024;
const MAX_FIELDS = 10_000;
const MAX_DEPTH = 16;
const HEADER = { schema: 1, dictionary: 2, batch: 3 };

/** Own buffers of the types that are not read, by their number in Arrow's `Type` union. */
const OTHER_TYPES: Record<number, readonly [name: string, nBuffers: number]> = {
  1: ["null", 0],
  4: ["binary", 3],
  6: ["bool", 2],
  7: ["decimal", 2],
  8: ["date", 2],
  9: ["time", 2],
  10: ["timestamp", 2],
  11: ["interval", 2],
  15: ["fixed-size binary", 2],
  17: ["map", 2],
  18: ["duration", 2],
  19: ["large binary", 3],
};

/** Bytes [from, to) of a file. */
export type ReadRange = (from: number, to: number) => Promise<Uint8Array>;

/**
 * Maps the stream file at `path`.
 * @throws {FormatError} not an Arrow stream, cut short, or contradicting itself
 * @throws {UnsupportedError} compressed, or of a column type without a known layout
 */
export async function mapArrowStream(path: string): Promise<ArrowStream> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw isAbsent(cause) ? new FormatError(path, "no such file", { cause }) : fileError(cause, path);
  });
  try {
    return await mapMessages(path, (await file.stat()).size, (from, to) =>
      readBytes(path, file, from, to - from),
    );
  } finally {
    await file.close();
  }
}

/** Maps a stream of `size` bytes, wherever it lies; `path` is its name in messages. @throws as `mapArrowStream` */
export async function mapMessages(path: string, size: number, read: ReadRange): Promise<ArrowStream> {
  let fields: ArrowField[] | null = null;
  const batches: ArrowBatch[] = [];
  let at = 0;
  let ended = false;
  while (at < size) {
    const [prefix, metadataBytes] = await metadataLength(path, read, at, size);
    if (metadataBytes === 0) {
      ended = true;
      break;
    }
    const bytes = await read(at + prefix, at + prefix + metadataBytes);
    const bodyStart = at + prefix + metadataBytes;
    const bodyBytes = decode(path, at, () => {
      const message = FlatTable.root(bytes);
      const body = message.i64(3);
      if (body < 0 || bodyStart + body > size)
        throw new RangeError(`a body of ${body} bytes passes the end of the file (${size} bytes)`);
      const header = message.table(2);
      if (header === null) throw new RangeError("a message without a header");
      if (message.u8(1) === HEADER.schema) fields ??= parseFields(header.tables(1), { left: MAX_FIELDS }, 0);
      else if (message.u8(1) === HEADER.batch)
        batches.push(parseBatch(path, header, bodyStart, bodyStart + body));
      else if (message.u8(1) !== HEADER.dictionary) throw new RangeError(`message type ${message.u8(1)}`);
      return body;
    });
    if (fields === null)
      throw new FormatError(path, "the stream does not begin with a schema", { offset: at });
    at = bodyStart + bodyBytes;
  }
  if (fields === null) throw new FormatError(path, "no Arrow schema in it", { offset: 0 });
  if (!ended) {
    throw new FormatError(path, "ends without the mark of its end, so batches may be missing", {
      offset: at,
      hint: "the file is cut short; fetch or write it again",
    });
  }
  return { path, fields, batches };
}

/** Bytes before a message's metadata, and its length: 0xFFFFFFFF then i32, or (before Arrow 0.15) i32 alone. */
async function metadataLength(
  path: string,
  read: ReadRange,
  at: number,
  size: number,
): Promise<[prefix: number, bytes: number]> {
  const bytesOfStart = await read(at, Math.min(size, at + 8));
  const start = new DataView(bytesOfStart.buffer, bytesOfStart.byteOffset, bytesOfStart.byteLength);
  if (at === 0 && start.byteLength >= 6 && start.getUint32(0, true) === 0x4f525241 /* "ARRO" */) {
    throw new UnsupportedError(
      `${path} is an Arrow file with random access; only the stream format that Hugging Face datasets writes is read`,
      "save it with `datasets`' save_to_disk",
    );
  }
  const isModern = start.byteLength >= 4 && start.getUint32(0, true) === 0xffffffff;
  const prefix = isModern ? 8 : 4;
  if (start.byteLength < prefix)
    throw new FormatError(path, "ends in the middle of a message's length", { offset: at });
  const bytes = start.getInt32(prefix - 4, true);
  if (bytes < 0 || bytes > MAX_METADATA_BYTES || at + prefix + bytes > size) {
    throw new FormatError(
      path,
      `a message of ${bytes} bytes, the file has ${size - at - prefix} left (cap ${MAX_METADATA_BYTES})`,
      { offset: at, hint: "the file is cut short or is no Arrow stream; fetch it again" },
    );
  }
  return [prefix, bytes];
}

function parseFields(tables: FlatTable[], budget: { left: number }, depth: number): ArrowField[] {
  if (depth > MAX_DEPTH) throw new RangeError(`column types nest deeper than ${MAX_DEPTH}`);
  budget.left -= tables.length;
  if (budget.left < 0) throw new RangeError(`the schema has more than ${MAX_FIELDS} fields`);
  return tables.map((table) => {
    const name = table.text(0);
    // A dictionary-encoded column stores its indices: one node, two buffers, whatever its values are.
    if (table.table(4) !== null)
      return { name, type: { kind: "other", name: "dictionary", nBuffers: 2 }, children: [] };
    return { name, type: parseType(table), children: parseFields(table.tables(5), budget, depth + 1) };
  });
}

function parseType(field: FlatTable): ArrowType {
  const number = field.u8(2);
  const type = field.table(3);
  if (number === 2) return { kind: "int", bits: type?.i32(0) ?? 0, signed: type?.u8(1) === 1 };
  if (number === 3) return { kind: "float", bits: [16, 32, 64][type?.i16(0) ?? 0] ?? 0 };
  if (number === 12) return { kind: "list", offsetBits: 32 };
  if (number === 21) return { kind: "list", offsetBits: 64 };
  if (number === 5) return { kind: "text", offsetBits: 32 };
  if (number === 20) return { kind: "text", offsetBits: 64 };
  if (number === 13) return { kind: "struct" };
  if (number === 16) return { kind: "fixed-list", size: type?.i32(0) ?? 0 };
  const other = OTHER_TYPES[number];
  if (other === undefined)
    throw new UnsupportedError(`column "${field.text(0)}" has Arrow type ${number}, which is not read`);
  return { kind: "other", name: other[0], nBuffers: other[1] };
}

function parseBatch(path: string, header: FlatTable, begin: number, end: number): ArrowBatch {
  if (header.table(3) !== null) {
    throw new UnsupportedError(
      `${path} has compressed record batches, which are not read`,
      "save it again without compression",
    );
  }
  const nRows = header.i64(0);
  const nodes = header.pairs(1).map(([length, nNull]) => ({ length, nNull }));
  const buffers = header.pairs(2).map(([offset, length]) => ({
    begin: begin + offset,
    end: begin + offset + length,
  }));
  const outside = buffers.find(
    (buffer) => !(begin <= buffer.begin && buffer.begin <= buffer.end && buffer.end <= end),
  );
  if (nRows < 0 || outside !== undefined) throw new RangeError("a record batch whose buffers leave its body");
  return { nRows, nodes, buffers };
}

/** Runs `parse`; what it finds wrong becomes a FormatError at `offset`. */
function decode<T>(path: string, offset: number, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new FormatError(path, `not a whole Arrow message: ${error.message}`, { offset, cause: error });
  }
}

/** `length` bytes of `file` from `position`. @throws {FormatError} the file ends before */
export async function readBytes(
  path: string,
  file: FileHandle,
  position: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  await readExactly(path, file, bytes, position);
  return bytes;
}

/** Where a column's values are in a batch: its field, and the index of its first node and first buffer. Null: no such column. */
export function locateColumn(
  fields: readonly ArrowField[],
  name: string,
): { readonly field: ArrowField; readonly node: number; readonly buffer: number } | null {
  let node = 0;
  let buffer = 0;
  for (const field of fields) {
    if (field.name === name) return { field, node, buffer };
    const size = footprint(field);
    node += size.nodes;
    buffer += size.buffers;
  }
  return null;
}

/** Nodes and buffers that a field takes, its children included. */
export function footprint(field: ArrowField): { nodes: number; buffers: number } {
  const total = { nodes: 1, buffers: ownBuffers(field.type) };
  for (const child of field.children) {
    const { nodes, buffers } = footprint(child);
    total.nodes += nodes;
    total.buffers += buffers;
  }
  return total;
}

function ownBuffers(type: ArrowType): number {
  if (type.kind === "other") return type.nBuffers;
  return { int: 2, float: 2, list: 2, text: 3, struct: 1, "fixed-list": 1 }[type.kind];
}
