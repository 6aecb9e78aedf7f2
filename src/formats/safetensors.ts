/**
 * The safetensors format: an 8-byte little-endian header length, a JSON header, then the tensors' bytes without gaps.
 * Reading is by position, so a file may be larger than memory; headers are checked before a byte of data is believed.
 * Source: the format's specification (huggingface/safetensors README). All machines Lapidary runs on are little-endian.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { FormatError, LapidaryError, ShapeError } from "../errors.ts";
import { writeAtomically } from "../storage/atomic.ts";
import { fileError, isAbsent } from "../storage/file-error.ts";
import { bytesPerElement, type DType, isDType } from "../tensor/dtype.ts";
import { allocate, bytesOf, type TypedArray } from "../tensor/typed-array.ts";
import { append } from "./append.ts";
import { readExactly } from "./read-exactly.ts";
import { widened } from "./widen.ts";

/** Longest header that is read; the reference implementation's own limit. */
const MAX_HEADER_BYTES = 100_000_000;
/** Reads under way together, where a tensor is read in many short pieces. */
const READS_AT_ONCE = 64;

/** Where a tensor lies in its file. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** byte range in the file, half-open */
  readonly begin: number;
  readonly end: number;
}

/** An open file. Arrays it returns are fresh copies. */
export interface SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Whole tensor in its own element type (BF16 and F16 as 16-bit words). */
  read(name: string): Promise<TypedArray>;
  /** Whole tensor widened to f32; F32, BF16, F16 and F64 only. */
  readF32(name: string): Promise<Float32Array>;
  /** Rows [from, to) along the first axis. */
  readRows(name: string, from: number, to: number): Promise<TypedArray>;
  /** The same into `into`, which has the rows' bytes. */
  readRowsInto(name: string, from: number, to: number, into: TypedArray): Promise<void>;
  /** Columns [from, to) of a matrix [n, m], as [n, to − from]. */
  readColumns(name: string, from: number, to: number): Promise<TypedArray>;
  close(): Promise<void>;
}

/**
 * Opens a safetensors file and checks its header: length cap, known dtypes, shapes that match byte ranges, ranges that
 * neither overlap nor leave gaps nor pass the end of the file, no duplicate names.
 * @throws {FormatError} naming file, byte, what was got and expected
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw isAbsent(cause) ? new FormatError(path, "no such file", { cause }) : fileError(cause, path);
  });
  try {
    const { tensors, metadata } = await readHeader(path, file);
    return new OpenFile(path, file, tensors, metadata);
  } catch (error) {
    await file.close();
    throw error;
  }
}

class OpenFile implements SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #file: FileHandle;

  constructor(
    path: string,
    file: FileHandle,
    tensors: Map<string, TensorInfo>,
    metadata: Record<string, string>,
  ) {
    this.path = path;
    this.#file = file;
    this.tensors = tensors;
    this.metadata = metadata;
  }

  async read(name: string): Promise<TypedArray> {
    const info = this.#info(name);
    const data = allocate(
      info.dtype,
      info.shape.reduce((a, b) => a * b, 1),
    );
    await readExactly(this.path, this.#file, bytesOf(data), info.begin);
    return data;
  }

  async readF32(name: string): Promise<Float32Array> {
    const { dtype } = this.#info(name);
    return widened(this.path, `tensor "${name}"`, dtype, await this.read(name));
  }

  async readRows(name: string, from: number, to: number): Promise<TypedArray> {
    const { dtype, shape } = this.#rows(name, from, to);
    const data = allocate(dtype, (to - from) * rowLength(shape));
    await this.readRowsInto(name, from, to, data);
    return data;
  }

  async readRowsInto(name: string, from: number, to: number, into: TypedArray): Promise<void> {
    const { dtype, shape, begin } = this.#rows(name, from, to);
    const rowBytes = rowLength(shape) * bytesPerElement(dtype);
    if (into.byteLength !== (to - from) * rowBytes)
      throw new ShapeError(`bytes for rows of "${name}"`, into.byteLength, (to - from) * rowBytes);
    await readExactly(this.path, this.#file, bytesOf(into), begin + from * rowBytes);
  }

  async readColumns(name: string, from: number, to: number): Promise<TypedArray> {
    const { dtype, shape, begin } = this.#info(name);
    const [nRows, nColumns = 0] = shape;
    if (shape.length !== 2 || !(from >= 0 && from <= to && to <= nColumns))
      throw new ShapeError(
        `columns of "${name}" in ${this.path}`,
        [from, to],
        `a range within a matrix's columns, of [${shape.join(", ")}]`,
      );
    const data = allocate(dtype, nRows * (to - from));
    const size = bytesPerElement(dtype);
    const length = (to - from) * size;
    const bytes = bytesOf(data);
    for (let first = 0; first < nRows; first += READS_AT_ONCE) {
      const reads: Promise<void>[] = [];
      for (let row = first; row < Math.min(nRows, first + READS_AT_ONCE); row++)
        reads.push(
          readExactly(
            this.path,
            this.#file,
            bytes.subarray(row * length, (row + 1) * length),
            begin + (row * nColumns + from) * size,
          ),
        );
      await Promise.all(reads);
    }
    return data;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** @throws {ShapeError} the tensor has no such rows */
  #rows(name: string, from: number, to: number): TensorInfo {
    const info = this.#info(name);
    const nRows = info.shape[0] ?? 1;
    if (!(from >= 0 && from <= to && to <= nRows)) {
      throw new ShapeError(`rows of "${name}" in ${this.path}`, [from, to], `a range within [0, ${nRows}]`);
    }
    return info;
  }

  #info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (info === undefined) {
      const known = [...this.tensors.keys()].slice(0, 12).join(", ");
      throw new FormatError(this.path, `no tensor "${name}"; it holds ${known || "none"}`);
    }
    return info;
  }
}

/** Elements of a row along the first axis. */
function rowLength(shape: readonly number[]): number {
  return shape.slice(1).reduce((a, b) => a * b, 1);
}

async function readHeader(path: string, file: FileHandle) {
  const { size } = await file.stat().catch((cause: unknown) => {
    throw fileError(cause, path);
  });
  if (size < 8)
    throw new FormatError(path, `${size} bytes, a safetensors file has at least 8`, { offset: 0 });
  const lengthBytes = new Uint8Array(8);
  await readExactly(path, file, lengthBytes, 0);
  const headerBytes = Number(new DataView(lengthBytes.buffer).getBigUint64(0, true));
  if (headerBytes > MAX_HEADER_BYTES || headerBytes > size - 8) {
    throw new FormatError(
      path,
      `header says ${headerBytes} bytes, the file has ${size - 8} after it (cap ${MAX_HEADER_BYTES})`,
      {
        offset: 0,
        hint: "the file is cut short or is no safetensors file; fetch it again",
      },
    );
  }
  const text = new Uint8Array(headerBytes);
  await readExactly(path, file, text, 8);
  return parseHeader(path, text, 8 + headerBytes, size);
}

function parseHeader(path: string, bytes: Uint8Array, dataStart: number, fileSize: number) {
  let header: unknown;
  let duplicate: string | null = null;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    header = JSON.parse(text);
    duplicate = duplicateKey(text);
  } catch (cause) {
    throw new FormatError(path, `header is not JSON (${(cause as Error).message})`, { offset: 8, cause });
  }
  if (header === null || typeof header !== "object" || Array.isArray(header)) {
    throw new FormatError(path, "header is not a JSON object", { offset: 8 });
  }
  if (duplicate !== null) throw new FormatError(path, `header names "${duplicate}" twice`, { offset: 8 });
  const tensors = new Map<string, TensorInfo>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") metadata = parseMetadata(path, entry);
    else tensors.set(name, parseTensor(path, name, entry, dataStart));
  }
  checkLayout(path, tensors, dataStart, fileSize);
  return { tensors, metadata };
}

function parseMetadata(path: string, entry: unknown): Record<string, string> {
  const isMap =
    entry !== null && typeof entry === "object" && Object.values(entry).every((v) => typeof v === "string");
  if (!isMap) throw new FormatError(path, "__metadata__ is not a map of strings", { offset: 8 });
  return entry as Record<string, string>;
}

function parseTensor(path: string, name: string, entry: unknown, dataStart: number): TensorInfo {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
  if (typeof dtype !== "string" || !isDType(dtype)) {
    throw new FormatError(path, `tensor "${name}" has dtype ${JSON.stringify(dtype)}, which is not known`, {
      offset: 8,
      hint: "save it as F32, F16 or BF16",
    });
  }
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isCount)) {
    throw new FormatError(path, `tensor "${name}" has shape ${JSON.stringify(shape)}`, { offset: 8 });
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw new FormatError(path, `tensor "${name}" has data_offsets ${JSON.stringify(offsets)}`, {
      offset: 8,
    });
  }
  const [begin, end] = offsets as [number, number];
  const bytes = shape.reduce((a: number, b: number) => a * b, bytesPerElement(dtype));
  if (end - begin !== bytes) {
    throw new FormatError(
      path,
      `tensor "${name}" of shape [${shape.join(", ")}] ${dtype} needs ${bytes} bytes, its range has ${end - begin}`,
      {
        offset: 8,
      },
    );
  }
  return { name, dtype, shape: shape as number[], begin: dataStart + begin, end: dataStart + end };
}

/** Ranges, in file order, must follow each other without overlap or gap and end with the file. */
function checkLayout(
  path: string,
  tensors: Map<string, TensorInfo>,
  dataStart: number,
  fileSize: number,
): void {
  let expected = dataStart;
  for (const info of [...tensors.values()].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (info.begin !== expected) {
      const what = info.begin < expected ? "overlaps the tensor before it" : "leaves a gap before it";
      throw new FormatError(
        path,
        `tensor "${info.name}" begins at ${info.begin}, expected ${expected}: it ${what}`,
        { offset: info.begin },
      );
    }
    expected = info.end;
  }
  if (expected !== fileSize) {
    throw new FormatError(path, `tensors end at byte ${expected}, the file at ${fileSize}`, {
      offset: Math.min(expected, fileSize),
      hint: "the file is cut short or has something appended; fetch it again",
    });
  }
}

/** JSON.parse keeps the last of equal keys; this finds a key that stands twice in one object. `text` is whole JSON. */
function duplicateKey(text: string): string | null {
  const open: (Set<string> | null)[] = []; // the keys so far of each object; null: an array
  let isKey = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{" || c === "[") open.push(c === "{" ? new Set() : null);
    else if (c === "}" || c === "]") open.pop();
    if (c === "{" || c === ",") isKey = open.at(-1) !== null;
    else if (c === "[") isKey = false;
    else if (c === '"') {
      const start = i;
      for (i += 1; text[i] !== '"'; i++) if (text[i] === "\\") i += 1;
      if (!isKey) continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
      isKey = false;
    }
  }
  return null;
}

/** A tensor to write: its data at once, or in pieces that add up to the shape. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray | (() => AsyncIterable<TypedArray>);
}

/** Writes a safetensors file atomically, tensors in the order given. Returns its size and sha-256. */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata?: Readonly<Record<string, string>>,
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  const header = headerBytes(tensors, metadata);
  let position = 0;
  await writeAtomically(path, async (file) => {
    position = await append(file, hash, header, position);
    for (const tensor of tensors) {
      const wanted = tensorBytes(tensor);
      const start = position;
      if (typeof tensor.data === "function") {
        for await (const piece of tensor.data())
          position = await append(file, hash, bytesOf(piece), position);
      } else position = await append(file, hash, bytesOf(tensor.data), position);
      if (position - start !== wanted) {
        throw new ShapeError(
          `bytes of tensor "${tensor.name}"`,
          position - start,
          `${wanted} for [${tensor.shape.join(", ")}] ${tensor.dtype}`,
        );
      }
    }
  });
  return { bytes: position, sha256: hash.digest("hex") };
}

function headerBytes(
  tensors: readonly TensorToWrite[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const header: Record<string, unknown> = {};
  if (metadata !== undefined) header.__metadata__ = metadata;
  let offset = 0;
  for (const tensor of tensors) {
    if (Object.hasOwn(header, tensor.name))
      throw new LapidaryError("FORMAT", `two tensors named "${tensor.name}"`);
    const end = offset + tensorBytes(tensor);
    header[tensor.name] = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(json, 8);
  return padded;
}

function tensorBytes(tensor: TensorToWrite): number {
  return tensor.shape.reduce((a, b) => a * b, bytesPerElement(tensor.dtype));
}
