/**
 * A Hugging Face `datasets` folder as `save_to_disk` writes it: `dataset_info.json` (what the columns mean), `state.json`
 * (which files), and Arrow stream files. Columns of numbers with a fixed shape a row are read, by row ranges; others are
 * listed as unreadable. Nothing else of `datasets` (loading scripts, hub access, indices) is here.
 */
import { open, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { FormatError, ShapeError, UnsupportedError } from "../errors.ts";
import { readJson, readJsonIfPresent } from "../storage/json.ts";
import { bytesPerElement, type DType } from "../tensor/dtype.ts";
import { allocate, bytesOf, type TypedArray } from "../tensor/typed-array.ts";
import {
  type ArrowBatch,
  type ArrowField,
  type ArrowStream,
  locateColumn,
  mapArrowStream,
  readBytes,
} from "./arrow-stream.ts";

const MAX_FILES = 100_000;
const MAX_ROW_ELEMENTS = 2 ** 31;

/** A column of numbers. */
export interface ArrowColumn {
  readonly name: string;
  readonly dtype: DType;
  /** shape of one row: [] a number, [n] a list, [n, m] an Array2D */
  readonly shape: readonly number[];
}

export interface ArrowDataset {
  readonly dir: string;
  /** paths of the data files, in order */
  readonly files: readonly string[];
  readonly nRows: number;
  /** columns that `read` can read */
  readonly columns: ReadonlyMap<string, ArrowColumn>;
  /** Rows [from, to) of a column: [to − from, ...shape], F16 as 16-bit words. @throws {FormatError} nulls, or rows of another shape */
  read(name: string, from: number, to: number): Promise<TypedArray>;
}

/** True if `dir` looks like a `save_to_disk` folder. */
export async function isArrowDataset(dir: string): Promise<boolean> {
  const names = await readdir(dir).catch(() => [] as string[]);
  return names.includes("dataset_info.json") && names.some((name) => name.endsWith(".arrow"));
}

/**
 * Opens a `save_to_disk` folder: reads every file's schema and batch positions, no data.
 * @throws {FormatError} a file is missing or wrong, or files disagree about a column
 */
export async function openArrowDataset(dir: string): Promise<ArrowDataset> {
  const infoPath = join(dir, "dataset_info.json");
  const info = await readJson<{ features?: unknown }>(infoPath);
  if (!isMap(info) || !isMap(info.features))
    throw new FormatError(infoPath, 'no "features" in it, so the meaning of the columns is not known');
  const files = (await arrowFiles(dir)).map((name) => join(dir, name));
  const streams: ArrowStream[] = [];
  for (const path of files) streams.push(await mapArrowStream(path));
  const columns = new Map<string, ArrowColumn>();
  for (const [name, feature] of Object.entries(info.features)) {
    const column = columnOf(name, rowShape(feature), streams);
    if (column !== null) columns.set(name, column);
  }
  return new OpenDataset(dir, files, streams, columns);
}

/** One record batch and where it stands. */
interface Part {
  readonly stream: ArrowStream;
  readonly batch: ArrowBatch;
  readonly firstRow: number;
}

class OpenDataset implements ArrowDataset {
  readonly dir: string;
  readonly files: readonly string[];
  readonly nRows: number;
  readonly columns: ReadonlyMap<string, ArrowColumn>;
  readonly #parts: Part[] = [];

  constructor(
    dir: string,
    files: readonly string[],
    streams: readonly ArrowStream[],
    columns: Map<string, ArrowColumn>,
  ) {
    this.dir = dir;
    this.files = files;
    this.columns = columns;
    let nRows = 0;
    for (const stream of streams) {
      for (const batch of stream.batches) {
        this.#parts.push({ stream, batch, firstRow: nRows });
        nRows += batch.nRows;
      }
    }
    this.nRows = nRows;
  }

  async read(name: string, from: number, to: number): Promise<TypedArray> {
    const column = this.columns.get(name);
    if (column === undefined) {
      const known = [...this.columns.keys()].join(", ") || "none";
      throw new UnsupportedError(
        `${this.dir} has no readable column "${name}"`,
        `columns of numbers: ${known}`,
      );
    }
    if (!(from >= 0 && from <= to && to <= this.nRows))
      throw new ShapeError(`rows of ${this.dir}`, [from, to], `a range within [0, ${this.nRows}]`);
    const perRow = column.shape.reduce((a, b) => a * b, 1);
    const rowBytes = perRow * bytesPerElement(column.dtype);
    const out = allocate(column.dtype, (to - from) * perRow);
    const bytes = bytesOf(out);
    for (const part of this.#parts) {
      const first = Math.max(from, part.firstRow);
      const last = Math.min(to, part.firstRow + part.batch.nRows);
      if (first >= last) continue;
      const piece = await readPart(part, column, first - part.firstRow, last - part.firstRow);
      bytes.set(piece, (first - from) * rowBytes);
    }
    return out;
  }
}

/** Bytes of rows [from, to) of one batch: list levels narrow the range of elements, then the leaf's data are read. */
async function readPart(
  { stream, batch }: Part,
  column: ArrowColumn,
  from: number,
  to: number,
): Promise<Uint8Array> {
  const { path } = stream;
  const wrong = (what: string) => new FormatError(path, `column "${column.name}": ${what}`);
  const place = locateColumn(stream.fields, column.name);
  if (place === null) throw wrong("absent from this file");
  let { field, node, buffer } = place;
  let [a, b] = [from, to];
  const checkNode = () => {
    const counts = batch.nodes[node];
    if (counts === undefined || counts.length < b)
      throw wrong(`holds ${counts?.length ?? 0} entries, ${b} were expected`);
    if (counts.nNull !== 0) throw wrong(`${counts.nNull} entries are null`);
  };
  const file = await open(path, "r");
  try {
    const readRange = async (index: number, first: number, last: number, width: number) => {
      const range = batch.buffers[index];
      if (range === undefined || range.begin + last * width > range.end)
        throw wrong(`its buffer is shorter than ${last} entries`);
      return readBytes(path, file, range.begin + first * width, (last - first) * width);
    };
    for (const size of column.shape) {
      checkNode();
      const { type } = field;
      if (type.kind === "fixed-list") {
        [a, b] = [a * size, b * size];
        buffer += 1;
      } else if (type.kind === "list") {
        const bytes = await readRange(buffer + 1, a, b + 1, type.offsetBits / 8);
        const offsets =
          type.offsetBits === 32
            ? Float64Array.from(new Int32Array(bytes.buffer))
            : Float64Array.from(new BigInt64Array(bytes.buffer), Number);
        if (offsets[0] < 0 || offsets.some((offset, i) => i > 0 && offset - offsets[i - 1] !== size))
          throw wrong(`a row's list has another length than ${size}`);
        [a, b] = [offsets[0], offsets[offsets.length - 1]];
        buffer += 2;
      }
      field = field.children[0];
      node += 1;
    }
    checkNode();
    return await readRange(buffer + 1, a, b, bytesPerElement(column.dtype));
  } finally {
    await file.close();
  }
}

/** What a feature's rows look like, `datasets`' own words; null for anything but fixed shapes of numbers. */
function rowShape(feature: unknown): readonly number[] | null {
  if (!isMap(feature)) return null;
  if (feature._type === "Value") return [];
  const isList = feature._type === "List" || feature._type === "Sequence"; // datasets ≥ 4, and before
  if (isList && isMap(feature.feature) && feature.feature._type === "Value")
    return checkedShape([feature.length]);
  if (typeof feature._type === "string" && /^Array[2-5]D$/.test(feature._type))
    return checkedShape(feature.shape);
  return null;
}

function checkedShape(shape: unknown): readonly number[] | null {
  if (!Array.isArray(shape) || shape.length > 5) return null;
  const isSize = (n: unknown) => Number.isSafeInteger(n) && (n as number) > 0;
  const sizes = shape as number[];
  return sizes.every(isSize) && sizes.reduce((a, b) => a * b, 1) <= MAX_ROW_ELEMENTS ? sizes : null;
}

/** The column as every file stores it; null if it is no column of numbers. @throws {FormatError} files disagree */
function columnOf(
  name: string,
  shape: readonly number[] | null,
  streams: readonly ArrowStream[],
): ArrowColumn | null {
  if (shape === null) return null;
  let dtype: DType | null = null;
  for (const { path, fields } of streams) {
    const field = fields.find((candidate) => candidate.name === name);
    if (field === undefined)
      throw new FormatError(path, `column "${name}" of dataset_info.json is not in it`);
    const leaf = leafType(field, shape, path);
    if (leaf === null) return null;
    if (dtype !== null && leaf !== dtype)
      throw new FormatError(path, `column "${name}" is ${leaf} here, ${dtype} in the files before`);
    dtype = leaf;
  }
  return dtype === null ? null : { name, dtype, shape };
}

function leafType(field: ArrowField, shape: readonly number[], path: string): DType | null {
  let inner = field;
  for (const size of shape) {
    const { kind } = inner.type;
    if ((kind !== "list" && kind !== "fixed-list") || inner.children.length !== 1)
      throw new FormatError(path, `column "${field.name}" is not stored as ${shape.length} levels of lists`);
    if (inner.type.kind === "fixed-list" && inner.type.size !== size)
      throw new FormatError(path, `column "${field.name}" has lists of ${inner.type.size}, expected ${size}`);
    inner = inner.children[0];
  }
  const { type } = inner;
  if (type.kind === "float" && [16, 32, 64].includes(type.bits)) return `F${type.bits}` as DType;
  if (type.kind === "int" && [8, 16, 32, 64].includes(type.bits))
    return `${type.signed ? "I" : "U"}${type.bits}` as DType;
  return null;
}

/** Names of a `save_to_disk` folder's data files, in order. @throws {FormatError} {UnsupportedError} rows that an index picks */
export async function arrowFiles(dir: string): Promise<string[]> {
  const path = join(dir, "state.json");
  const state = await readJsonIfPresent<{ _data_files?: unknown; _indices_data_files?: unknown }>(path);
  if (state === undefined) {
    const names = (await readdir(dir)).filter((name) => name.endsWith(".arrow")).sort();
    if (names.length === 0) throw new FormatError(dir, "no Arrow files in it");
    return names;
  }
  const listed = isMap(state) && Array.isArray(state._data_files) ? (state._data_files as unknown[]) : null;
  if (listed === null || listed.length === 0 || listed.length > MAX_FILES)
    throw new FormatError(path, `"_data_files" must list 1 to ${MAX_FILES} files`);
  const indices = state._indices_data_files;
  if (Array.isArray(indices) && indices.length > 0)
    throw new UnsupportedError(
      `${path}: an index (_indices_data_files) says which rows count, which is not read`,
      "call flatten_indices() in `datasets` and save it again",
    );
  return listed.map((entry) => {
    const name = isMap(entry) ? entry.filename : null;
    const isPlain =
      typeof name === "string" && basename(name) === name && !/[\\/:]/.test(name) && !/^\.+$/.test(name);
    if (!isPlain) throw new FormatError(path, `${JSON.stringify(name)} is no plain file name`);
    return name;
  });
}

function isMap(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
