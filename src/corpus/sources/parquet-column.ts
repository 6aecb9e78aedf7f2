/**
 * One column of a row group as the Parquet library may see it: the bytes it asks for are checked page by page before it
 * gets them, and what it decompresses are the pages that were checked. So a damaged or hostile file is an error in bounded
 * memory, whatever it says of itself.
 */
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import type { AsyncBuffer, Compressors, RowGroup, SchemaTree } from "hyparquet";
import { compressors as libraryCompressors } from "hyparquet-compressors";
import { FormatError } from "../../errors.ts";
import type { ByteFile } from "../../hub/byte-file.ts";
import { checkPage, type PageColumn, readPageHeader } from "./parquet-page.ts";
import { ThriftReader } from "./thrift.ts";
import { decompressZstdBlock } from "./zstd.ts";

/** Values of a column in a row group: this many, and beyond them so many a byte of the file. */
const FREE_VALUES = 2 ** 20;
const MAX_VALUES_A_BYTE = 64;
/** What is larger than this may not expand by more than MAX_EXPANSION. */
const FREE_EXPANSION_BYTES = 16 * 2 ** 20;
const MAX_EXPANSION = 1024;
/** All pages of a column that are read at once, decompressed. */
const MAX_BYTES = 2 ** 31;

type Decompress = (compressed: Uint8Array, bytes: number) => Uint8Array;
const DECOMPRESS: Readonly<Record<string, Decompress>> = {
  ...(libraryCompressors as Record<string, Decompress>),
  ZSTD: decompressZstdBlock,
  GZIP: (compressed, bytes) => gunzipSync(compressed, { maxOutputLength: Math.max(1, bytes) }),
  BROTLI: (compressed, bytes) => brotliDecompressSync(compressed, { maxOutputLength: Math.max(1, bytes) }),
};

/** What a row group holds of one leaf of the column: bytes [begin, end) of the file. */
interface Chunk extends PageColumn {
  readonly path: string;
  readonly codec: string;
  readonly begin: number;
  readonly end: number;
  /** nulls and empty lists included */
  readonly nValues: number;
  /** where its offset index is, if it has one */
  readonly index: { readonly begin: number; readonly end: number } | null;
}

export class ParquetColumn {
  /** the file, for the library */
  readonly buffer: AsyncBuffer;
  /** decompression, for the library */
  readonly compressors: Compressors;
  /** whether some rows can be read without the others */
  readonly hasIndex: boolean;
  readonly #file: ByteFile;
  readonly #chunks: readonly Chunk[];
  #pages: { readonly compressed: Uint8Array; readonly page: Uint8Array }[] = [];
  #pageBytes = 0;

  /**
   * @param node  of the column in the schema
   * @throws {FormatError} the row group does not hold the column as the schema says, or more than the file has room for
   */
  constructor(file: ByteFile, group: RowGroup, node: SchemaTree) {
    this.#file = file;
    this.#chunks = leavesOf(node, 0, 0).map((leaf) => chunkOf(file, group, leaf));
    checkCounts(file.name, group, this.#chunks, node);
    this.hasIndex = this.#chunks.every(({ index }) => index !== null);
    const take: Decompress = (compressed, bytes) => this.#take(compressed, bytes);
    this.compressors = Object.fromEntries(Object.keys(DECOMPRESS).map((codec) => [codec, take]));
    this.buffer = { byteLength: file.size, slice: (begin, end = file.size) => this.#slice(begin, end) };
  }

  /** Lets go of the pages checked so far. */
  clear(): void {
    this.#pages = [];
    this.#pageBytes = 0;
  }

  async #slice(begin: number, end: number): Promise<ArrayBuffer> {
    if (!(begin >= 0 && begin <= end && end <= this.#file.size))
      throw new FormatError(this.#file.name, `Parquet: bytes ${begin} to ${end} of ${this.#file.size}`);
    const bytes = await this.#file.read(begin, end);
    for (const chunk of this.#chunks) {
      const [from, to] = [Math.max(begin, chunk.begin), Math.min(end, chunk.end)];
      if (from < to) this.#checkPages(bytes.subarray(from - begin, to - begin), from, chunk);
      const { index } = chunk;
      if (index !== null && index.begin >= begin && index.end <= end)
        this.#saying(index.begin, "offset index", () =>
          new ThriftReader(bytes.subarray(index.begin - begin, index.end - begin)).struct(),
        );
    }
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  }

  /** Pages that stand one after the other, the first at `offset` of the file. */
  #checkPages(bytes: Uint8Array, offset: number, chunk: Chunk): void {
    let nValues = 0;
    for (let at = 0; at < bytes.length - 1; ) {
      at += this.#saying(offset + at, `page of "${chunk.path}"`, () => {
        const page = readPageHeader(bytes.subarray(at));
        const begin = at + page.headerBytes;
        const end = begin + page.compressedBytes;
        if (end > bytes.length)
          throw new RangeError(`${page.compressedBytes} bytes, ${bytes.length - begin} are there`);
        if (page.kind !== "dictionary") nValues += page.nValues;
        if (nValues > chunk.nValues) throw new RangeError(`${nValues} values, of ${chunk.nValues} in all`);
        const levelBytes = page.repetitionBytes + page.definitionBytes;
        const values = bytes.subarray(begin + levelBytes, end);
        const isCompressed = page.isCompressed && chunk.codec !== "UNCOMPRESSED";
        const plain = isCompressed
          ? this.#decompress(values, page.uncompressedBytes - levelBytes, chunk.codec)
          : values;
        checkPage(page, bytes.subarray(begin, begin + levelBytes), plain, chunk);
        return end - at;
      });
    }
  }

  #decompress(compressed: Uint8Array, bytes: number, codec: string): Uint8Array {
    if (bytes > FREE_EXPANSION_BYTES && bytes > MAX_EXPANSION * compressed.length)
      throw new RangeError(
        `${compressed.length} bytes that would expand to ${bytes}, at most ${MAX_EXPANSION}-fold is read`,
      );
    this.#pageBytes += bytes;
    if (this.#pageBytes > MAX_BYTES)
      throw new RangeError(`pages of ${this.#pageBytes} bytes, at most ${MAX_BYTES} are read at once`);
    if (!Object.hasOwn(DECOMPRESS, codec))
      throw new RangeError(`compressed with ${codec}, which is not known`);
    const page = DECOMPRESS[codec](compressed, bytes);
    if (page.length !== bytes)
      throw new RangeError(`${page.length} bytes came of it, ${bytes} were expected`);
    this.#pages.push({ compressed, page });
    return page;
  }

  /** The page that was checked: no other bytes are decompressed. */
  #take(compressed: Uint8Array, bytes: number): Uint8Array {
    const found = this.#pages.find(
      (checked) => checked.page.length === bytes && Buffer.compare(checked.compressed, compressed) === 0,
    );
    if (found === undefined)
      throw new FormatError(this.#file.name, "Parquet: its offset index points between pages");
    return found.page;
  }

  /** `read`, with what goes wrong in it told as an error of this file. */
  #saying<T>(offset: number, what: string, read: () => T): T {
    try {
      return read();
    } catch (cause) {
      throw new FormatError(this.#file.name, `Parquet, ${what}: ${(cause as Error).message}`, {
        offset,
        cause,
        hint: "the file is damaged; fetch or write it again",
      });
    }
  }
}

interface Leaf extends PageColumn {
  readonly path: string;
}

function leavesOf({ element, path, children }: SchemaTree, repetition: number, definition: number): Leaf[] {
  const maxRepetition = repetition + (element.repetition_type === "REPEATED" ? 1 : 0);
  const maxDefinition = definition + (element.repetition_type === "REQUIRED" ? 0 : 1);
  if (children.length > 0) return children.flatMap((child) => leavesOf(child, maxRepetition, maxDefinition));
  const { type = "", type_length: typeLength = 0 } = element;
  return [{ path: path.join("."), type, typeLength, maxRepetition, maxDefinition }];
}

function chunkOf(file: ByteFile, group: RowGroup, leaf: Leaf): Chunk {
  const wrong = (message: string) =>
    new FormatError(file.name, `Parquet, "${leaf.path}": ${message}`, {
      hint: "the file is damaged; fetch or write it again",
    });
  const found = group.columns.filter(({ meta_data }) => meta_data?.path_in_schema.join(".") === leaf.path);
  const meta = found[0]?.meta_data;
  if (found.length !== 1 || meta === undefined || found[0].file_path !== undefined)
    throw wrong(`${found.length} times in a row group, expected once`);
  if (meta.type !== leaf.type)
    throw wrong(`${meta.type} in a row group, ${leaf.type || "nothing"} in the schema`);
  const begin = Number(meta.dictionary_page_offset || meta.data_page_offset);
  const bytes = Number(meta.total_compressed_size);
  if (!(begin >= 0 && bytes >= 0 && begin + bytes <= file.size))
    throw wrong(`bytes ${begin} to ${begin + bytes}, the file has ${file.size}`);
  const { offset_index_offset: at, offset_index_length: length } = found[0];
  const index = at && length ? { begin: Number(at), end: Number(at) + length } : null;
  if (index !== null && !(index.begin >= 0 && index.begin <= index.end && index.end <= file.size))
    throw wrong(`an offset index at bytes ${index.begin} to ${index.end}, the file has ${file.size}`);
  return { ...leaf, codec: meta.codec, begin, end: begin + bytes, nValues: Number(meta.num_values), index };
}

/** Rows, values and bytes that a row group says it has of the column. */
function checkCounts(file: string, group: RowGroup, chunks: readonly Chunk[], { path }: SchemaTree): void {
  const wrong = (message: string, hint: string) =>
    new FormatError(file, `Parquet, a row group of "${path.join(".")}": ${message}`, { hint });
  const damaged = "the file is damaged; fetch or write it again";
  const bytes = chunks.reduce((sum, { begin, end }) => sum + end - begin, 0);
  const most = Math.max(FREE_VALUES, MAX_VALUES_A_BYTE * bytes);
  const nRows = Number(group.num_rows);
  for (const { nValues, index } of chunks) {
    if (!(nRows >= 0 && nRows <= nValues)) throw wrong(`${nRows} rows of ${nValues} values`, damaged);
    if (nValues > most)
      throw wrong(
        `${nValues} values in ${bytes} bytes, at most ${most} are read`,
        "write smaller row groups",
      );
    if (index !== null && chunks.some(({ begin, end }) => index.begin < end && begin < index.end))
      throw wrong("its offset index lies among its pages", damaged);
  }
}
