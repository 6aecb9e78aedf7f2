/**
 * Parquet, row group by row group, only the column that is wanted. Bytes are asked for by range, so of a remote file
 * only the footer and that column's chunks are fetched. What a file says of itself is checked before the library decodes
 * it (`parquet-column.ts`).
 */
import {
  type FileMetaData,
  parquetMetadata,
  parquetReadObjects,
  parquetSchema,
  type SchemaTree,
} from "hyparquet";
import { DataError, FormatError, LapidaryError } from "../../errors.ts";
import type { ByteFile } from "../../hub/byte-file.ts";
import { documentOfRow } from "../document.ts";
import { ParquetColumn } from "./parquet-column.ts";
import type { DocumentReader } from "./reader.ts";
import { ThriftReader } from "./thrift.ts";

/** Rows decoded at a time where the file has an offset index; without one a row group is decoded at once. */
const ROWS_AT_A_TIME = 4096;
const MAX_FOOTER_BYTES = 2 ** 28;
/** What is fetched first of a file's end: most footers are shorter. */
const TAIL_BYTES = 2 ** 16;

export const parquetReader: DocumentReader = {
  format: "parquet",
  async *documents(file, from, columns) {
    const column = columns.kind === "text" ? columns.textColumn : columns.messagesColumn;
    const metadata = await footer(file);
    const node = reading(file, () => findColumn(metadata, column, columns.kind, file.name));
    let groupStart = 0;
    for (const group of metadata.row_groups) {
      const groupEnd = groupStart + Number(group.num_rows);
      if (from < groupEnd) {
        const pages = reading(file, () => new ParquetColumn(file, group, node));
        const step = pages.hasIndex ? ROWS_AT_A_TIME : groupEnd - groupStart;
        for (let start = Math.max(from, groupStart); start < groupEnd; start += step) {
          const end = Math.min(groupEnd, start + step);
          const rows = await readRows(file, pages, metadata, column, start, end);
          for (const [i, row] of rows.entries()) {
            const index = start + i;
            const place = `${file.name} row ${index}`;
            yield { index, place, endOffset: null, ...documentOfRow(row, columns, place) };
          }
        }
      }
      groupStart = groupEnd;
    }
    return groupStart;
  },
  async count(file) {
    return Number((await footer(file)).num_rows);
  },
};

/** The file's own account of itself. @throws {FormatError} */
async function footer(file: ByteFile): Promise<FileMetaData> {
  const wrong = (message: string) =>
    new FormatError(file.name, `cannot be read as Parquet: ${message}`, {
      offset: Math.max(0, file.size - 8),
    });
  if (file.size < 12) throw wrong(`it has ${file.size} bytes`);
  const tail = await file.read(Math.max(0, file.size - TAIL_BYTES), file.size);
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  const magic = String.fromCharCode(...tail.subarray(-4));
  if (magic !== "PAR1") throw wrong(`it ends with ${JSON.stringify(magic)}, expected "PAR1"`);
  const length = view.getUint32(tail.length - 8, true);
  if (length > Math.min(file.size - 12, MAX_FOOTER_BYTES))
    throw wrong(`a footer of ${length} bytes in a file of ${file.size} (cap ${MAX_FOOTER_BYTES})`);
  const isWhole = length + 8 <= tail.length;
  // a copy: the library takes the whole of a buffer, which a view need not be
  const bytes = new Uint8Array(
    isWhole ? tail.subarray(-length - 8) : await file.read(file.size - length - 8, file.size),
  );
  return reading(file, () => {
    new ThriftReader(bytes).struct(); // lengths are within it
    const metadata = parquetMetadata(bytes.buffer, { geoparquet: false });
    const nRows = metadata.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0);
    if (nRows !== Number(metadata.num_rows) || metadata.row_groups.some(({ num_rows }) => num_rows < 0))
      throw new Error(`${metadata.num_rows} rows, its row groups have ${nRows}`);
    return metadata;
  });
}

async function readRows(
  file: ByteFile,
  pages: ParquetColumn,
  metadata: FileMetaData,
  column: string,
  rowStart: number,
  rowEnd: number,
): Promise<Record<string, unknown>[]> {
  try {
    return await parquetReadObjects({
      file: pages.buffer,
      metadata,
      columns: [column],
      rowStart,
      rowEnd,
      compressors: pages.compressors,
      useOffsetIndex: true,
    });
  } catch (cause) {
    throw unreadable(file, cause);
  } finally {
    pages.clear();
  }
}

function reading<T>(file: ByteFile, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

/** Errors of our own (the hub's, for instance) pass; the library's get the file's name. */
function unreadable(file: ByteFile, cause: unknown): unknown {
  if (cause instanceof LapidaryError) return cause;
  return new FormatError(file.name, `cannot be read as Parquet (${(cause as Error).message})`, {
    cause,
    hint: "the file is damaged; fetch or write it again",
  });
}

/** The column in the schema. @throws {DataError} there is none */
function findColumn(metadata: FileMetaData, column: string, kind: string, name: string): SchemaTree {
  const { children } = parquetSchema(metadata);
  const found = children.filter(({ element }) => element.name === column);
  if (found.length === 1) return found[0];
  const names = children.map(({ element }) => element.name);
  throw new DataError(`${name}: no column "${column}"; it has: ${[...new Set(names)].join(", ")}`, {
    hint: `set ${kind === "text" ? "textColumn" : "messagesColumn"}`,
  });
}
