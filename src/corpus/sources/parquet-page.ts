/**
 * One page of a Parquet column: its header, and what must hold of its bytes before the library decodes them. The library
 * trusts counts: a run of 2^30 levels, or a value that repeats 2^30 bytes of the one before it, is a few bytes of file and
 * gigabytes of memory. Here every count is held against the page. Values themselves are not decoded.
 *
 * Source   parquet-format: PageHeader in parquet.thrift, Encodings.md
 */
import { deltaBinaryUnpack } from "hyparquet/src/delta.js";
import { readRleBitPackedHybrid } from "hyparquet/src/encoding.js";
import { ThriftReader, type ThriftStruct } from "./thrift.ts";

/** What the schema says of a column. */
export interface PageColumn {
  /** physical type: "BYTE_ARRAY", "INT64", … */
  readonly type: string;
  /** bytes of a FIXED_LEN_BYTE_ARRAY, else 0 */
  readonly typeLength: number;
  readonly maxRepetition: number;
  readonly maxDefinition: number;
}

export interface PageHeader {
  readonly kind: "data" | "data v2" | "dictionary";
  /** bytes of the header itself */
  readonly headerBytes: number;
  /** of the page after its header, levels included */
  readonly compressedBytes: number;
  readonly uncompressedBytes: number;
  /** values, nulls included */
  readonly nValues: number;
  readonly encoding: number;
  /** of a v2 page, whose levels stand uncompressed before the values; else 0 */
  readonly nNulls: number;
  readonly repetitionBytes: number;
  readonly definitionBytes: number;
  readonly isCompressed: boolean;
}

/** parquet.thrift's numbers */
const KINDS = ["data", null, "dictionary", "data v2"] as const;
const DETAILS = { data: 5, dictionary: 7, "data v2": 8 } as const;
const PLAIN_DICTIONARY = 2;
const RLE = 3;
const DELTA_BINARY_PACKED = 5;
const DELTA_LENGTH_BYTE_ARRAY = 6;
const DELTA_BYTE_ARRAY = 7;
const RLE_DICTIONARY = 8;
const BYTE_STREAM_SPLIT = 9;

/** Some writers pad the last packed run; more than this is damage. */
const MAX_PADDING_VALUES = 4096;
/** What values that share beginnings may grow to: bytes, and beyond them a multiple of the page. */
const FREE_VALUE_BYTES = 16 * 2 ** 20;
const MAX_EXPANSION = 64;
const VALUE_BYTES: Readonly<Record<string, number>> = { INT32: 4, FLOAT: 4, INT64: 8, DOUBLE: 8 };

/** The header at the start of `bytes`. @throws {RangeError} it is none, or says what cannot be */
export function readPageHeader(bytes: Uint8Array): PageHeader {
  const reader = new ThriftReader(bytes);
  const header = reader.struct();
  const kind = KINDS[Number(header.get(1))] ?? null;
  if (kind === null) throw new RangeError(`a page of kind ${header.get(1)}, expected data or a dictionary`);
  const details = header.get(DETAILS[kind]);
  if (!(details instanceof Map)) throw new RangeError(`a ${kind} page without its own header`);
  const isV2 = kind === "data v2";
  const page: PageHeader = {
    kind,
    headerBytes: reader.at,
    uncompressedBytes: count(header, 2, "uncompressed bytes"),
    compressedBytes: count(header, 3, "bytes"),
    nValues: count(details, 1, "values"),
    encoding: count(details, isV2 ? 4 : 2, "as its encoding"),
    nNulls: isV2 ? count(details, 2, "nulls") : 0,
    repetitionBytes: isV2 ? count(details, 6, "bytes of repetition levels") : 0,
    definitionBytes: isV2 ? count(details, 5, "bytes of definition levels") : 0,
    isCompressed: !isV2 || details.get(7) !== false,
  };
  if (isV2 && Math.max(page.nNulls, count(details, 3, "rows")) > page.nValues)
    throw new RangeError(`more nulls or rows than its ${page.nValues} values`);
  const levelBytes = page.repetitionBytes + page.definitionBytes;
  if (levelBytes > Math.min(page.compressedBytes, page.uncompressedBytes))
    throw new RangeError(`${levelBytes} bytes of levels in a page of ${page.compressedBytes}`);
  return page;
}

function count(struct: ThriftStruct, field: number, what: string): number {
  const value = struct.get(field);
  if (typeof value !== "number" || value < 0) throw new RangeError(`a page of ${String(value)} ${what}`);
  return value;
}

/**
 * Holds the counts in a page's levels and values against the page.
 *
 * @param levels  of a v2 page, its repetition and definition levels; of others empty
 * @param values  the rest, decompressed: of a v1 page its levels too
 * @throws {RangeError} a count that cannot be
 */
export function checkPage(
  page: PageHeader,
  levels: Uint8Array,
  values: Uint8Array,
  column: PageColumn,
): void {
  if (page.kind === "dictionary") {
    if (page.nValues > 8 * values.length)
      throw new RangeError(`a dictionary of ${page.nValues} values in ${values.length} bytes`);
    return;
  }
  const { repetition, definition, rest } =
    page.kind === "data v2" ? levelsV2(page, levels, values) : levelsV1(values, column);
  if (column.maxRepetition > 0) checkRuns(repetition, bitWidth(column.maxRepetition), page.nValues);
  if (column.maxDefinition > 0) checkRuns(definition, bitWidth(column.maxDefinition), page.nValues);
  switch (page.encoding) {
    case PLAIN_DICTIONARY:
    case RLE_DICTIONARY:
    case RLE:
      checkIndices(page, rest, column);
      break;
    case DELTA_BINARY_PACKED:
    case DELTA_LENGTH_BYTE_ARRAY:
      checkBlocks(new ThriftReader(rest));
      break;
    case DELTA_BYTE_ARRAY: {
      const nNulls = page.kind === "data v2" ? page.nNulls : countNulls(definition, page.nValues, column);
      checkPrefixes(rest, page.nValues - nNulls);
      break;
    }
    case BYTE_STREAM_SPLIT: {
      const width = VALUE_BYTES[column.type] ?? column.typeLength;
      if (page.nValues * width > FREE_VALUE_BYTES && page.nValues * width > MAX_EXPANSION * rest.length)
        throw new RangeError(`${page.nValues} values of ${width} bytes in ${rest.length} bytes`);
    }
  }
}

interface Levels {
  readonly repetition: Uint8Array;
  readonly definition: Uint8Array;
  /** the values' bytes */
  readonly rest: Uint8Array;
}

function levelsV2(
  { repetitionBytes, definitionBytes }: PageHeader,
  levels: Uint8Array,
  rest: Uint8Array,
): Levels {
  return {
    repetition: levels.subarray(0, repetitionBytes),
    definition: levels.subarray(repetitionBytes, repetitionBytes + definitionBytes),
    rest,
  };
}

function levelsV1(page: Uint8Array, { maxRepetition, maxDefinition }: PageColumn): Levels {
  let rest = page;
  const [repetition, definition] = [maxRepetition, maxDefinition].map((max) => {
    if (max === 0) return new Uint8Array(0);
    const levels = lengthPrefixed(rest);
    rest = rest.subarray(4 + levels.length);
    return levels;
  });
  return { repetition, definition, rest };
}

function lengthPrefixed(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 4) throw new RangeError("it ends before its levels");
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (length > bytes.length - 4) throw new RangeError(`${length} bytes of levels in ${bytes.length - 4}`);
  return bytes.subarray(4, 4 + length);
}

function bitWidth(value: number): number {
  return 32 - Math.clz32(value);
}

/** Runs of one value or of packed values must not say more of them than there can be. */
function checkRuns(bytes: Uint8Array, width: number, nValues: number): void {
  const reader = new ThriftReader(bytes);
  for (let seen = 0; seen < nValues && reader.at < bytes.length; ) {
    const header = reader.varint();
    const isPacked = (header & 1) === 1;
    const run = isPacked ? 8 * (header >>> 1) : header >>> 1;
    const most = nValues - seen + (isPacked ? MAX_PADDING_VALUES : 0);
    if (header >= 2 ** 31 || run > most)
      throw new RangeError(`a run of ${run} values, at most ${most} were expected`);
    seen += run;
    reader.at += isPacked ? (run / 8) * width : (width + 7) >> 3;
  }
}

/** Indices into the dictionary, or flags. */
function checkIndices(page: PageHeader, bytes: Uint8Array, { type }: PageColumn): void {
  if (type === "BOOLEAN") checkRuns(lengthPrefixed(bytes), 1, page.nValues);
  else if (bytes.length > 0) {
    // else there is nothing but nulls
    if (bytes[0] > 32) throw new RangeError(`dictionary indices of ${bytes[0]} bits, expected at most 32`);
    checkRuns(bytes.subarray(1), bytes[0], page.nValues);
  }
}

/** The head of a sequence of deltas: the library makes room for a block's parts. */
function checkBlocks(reader: ThriftReader): void {
  const [block, parts] = [reader.varint(), reader.varint()];
  if (!(parts > 0 && parts <= block && block <= 2 ** 20))
    throw new RangeError(`deltas in blocks of ${block} values and ${parts} parts`);
}

/** Values that begin as the one before them: how long they are in all. */
function checkPrefixes(bytes: Uint8Array, nValues: number): void {
  if (nValues < 0) throw new RangeError("more nulls than values");
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
  const [prefixes, suffixes] = [0, 1].map(() => {
    checkBlocks(new ThriftReader(bytes.subarray(reader.offset)));
    const lengths = new Int32Array(nValues);
    deltaBinaryUnpack(reader, nValues, lengths);
    return lengths;
  });
  let total = 0;
  for (let i = 0, last = 0; i < nValues; i++) {
    if (prefixes[i] < 0 || prefixes[i] > last || suffixes[i] < 0)
      throw new RangeError(
        `value ${i} takes ${prefixes[i]} bytes of the ${last} before it, and ${suffixes[i]} more`,
      );
    last = prefixes[i] + suffixes[i];
    total += last;
  }
  const most = Math.max(FREE_VALUE_BYTES, MAX_EXPANSION * bytes.length);
  if (total > most)
    throw new RangeError(`values of ${total} bytes in ${bytes.length}, at most ${most} are read`);
}

/** Nulls of a page, by its definition levels, whose runs have been checked. */
function countNulls(definition: Uint8Array, nValues: number, { maxDefinition }: PageColumn): number {
  if (maxDefinition === 0) return 0;
  const levels = new Array<number>(nValues);
  const view = new DataView(definition.buffer, definition.byteOffset, definition.byteLength);
  readRleBitPackedHybrid({ view, offset: 0 }, bitWidth(maxDefinition), levels, definition.length);
  return levels.reduce((nulls, level) => nulls + (level === maxDefinition ? 0 : 1), 0);
}
