/**
 * Parquet, row group by row group, only the column that is wanted. Bytes are asked for by range, so of a remote file
 * only the footer and that column's chunks are fetched.
 */
import {
  type AsyncBuffer,
  cachedAsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type SchemaTree,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { DataError } from "../../errors.ts";
import type { ByteFile } from "../../hub/byte-file.ts";
import { documentOfRow } from "../document.ts";
import type { DocumentReader } from "./reader.ts";

/** Rows decoded at a time where the file has an offset index. */
const ROWS_AT_A_TIME = 4096;
/** Largest column chunk of a row group, decompressed. */
const MAX_CHUNK_BYTES = 2 ** 31;

export const parquetReader: DocumentReader = {
  format: "parquet",
  async *documents(file, from, columns) {
    const column = columns.kind === "text" ? columns.textColumn : columns.messagesColumn;
    const buffer = cachedAsyncBuffer(asyncBuffer(file));
    const metadata = await footer(file, buffer);
    try {
      checkColumn(metadata, column, columns.kind, file.name);
    } catch (cause) {
      throw unreadable(file, cause);
    }
    let groupStart = 0;
    for (const group of metadata.row_groups) {
      const groupEnd = groupStart + Number(group.num_rows);
      for (let start = Math.max(from, groupStart); start < groupEnd; start += ROWS_AT_A_TIME) {
        const end = Math.min(groupEnd, start + ROWS_AT_A_TIME);
        const rows = await readRows(file, buffer, metadata, column, start, end);
        for (const [i, row] of rows.entries()) {
          const index = start + i;
          const place = `${file.name} row ${index}`;
          yield { index, place, endOffset: null, ...documentOfRow(row, columns, place) };
        }
      }
      groupStart = groupEnd;
    }
    return groupStart;
  },
  async count(file) {
    return Number((await footer(file, asyncBuffer(file))).num_rows);
  },
};

async function footer(file: ByteFile, buffer: AsyncBuffer): Promise<FileMetaData> {
  try {
    return await parquetMetadataAsync(buffer);
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

async function readRows(
  file: ByteFile,
  buffer: AsyncBuffer,
  metadata: FileMetaData,
  column: string,
  rowStart: number,
  rowEnd: number,
): Promise<Record<string, unknown>[]> {
  try {
    return await parquetReadObjects({
      file: buffer,
      metadata,
      columns: [column],
      rowStart,
      rowEnd,
      compressors,
      useOffsetIndex: true,
    });
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

/** Errors of our own (the hub's, for instance) pass; the library's get the file's name. */
function unreadable(file: ByteFile, cause: unknown): unknown {
  if (cause instanceof Error && "code" in cause && "hint" in cause) return cause;
  return new DataError(`${file.name}: cannot be read as Parquet (${(cause as Error).message})`, { cause });
}

function checkColumn(metadata: FileMetaData, column: string, kind: string, name: string): void {
  const chunks = metadata.row_groups.flatMap((group) =>
    group.columns.filter((chunk) => chunk.meta_data?.path_in_schema[0] === column),
  );
  if (chunks.length === 0 && metadata.row_groups.length > 0) {
    const names = metadata.row_groups[0].columns.map((chunk) => chunk.meta_data?.path_in_schema[0]);
    throw new DataError(`${name}: no column "${column}"; it has: ${[...new Set(names)].join(", ")}`, {
      hint: `set ${kind === "text" ? "textColumn" : "messagesColumn"}`,
    });
  }
  checkPaths(metadata, column, name);
  for (const chunk of chunks) {
    const bytes = Number(chunk.meta_data?.total_uncompressed_size ?? 0);
    if (bytes > MAX_CHUNK_BYTES)
      throw new DataError(
        `${name}: a row group's "${column}" takes ${bytes} bytes, at most ${MAX_CHUNK_BYTES}`,
        {
          hint: "write it again with smaller row groups",
        },
      );
  }
}

/** Each row group must hold the column's leaves and nothing else of it: the library reads on past what it does not expect. */
function checkPaths(metadata: FileMetaData, column: string, name: string): void {
  const leaves = parquetSchema(metadata)
    .children.filter((child) => child.element.name === column)
    .flatMap(leafPaths)
    .sort();
  for (const [i, group] of metadata.row_groups.entries()) {
    const paths = group.columns
      .map((chunk) => chunk.meta_data?.path_in_schema ?? [])
      .filter(([first]) => first === column)
      .map((path) => path.join("."))
      .sort();
    if (paths.join("\0") !== leaves.join("\0") || new Set(paths).size !== paths.length)
      throw new DataError(`${name}: row group ${i} does not hold "${column}" as the file's schema says`, {
        hint: "the file is damaged; fetch or write it again",
      });
  }
}

function leafPaths({ path, children }: SchemaTree): string[] {
  return children.length === 0 ? [path.join(".")] : children.flatMap(leafPaths);
}

function asyncBuffer(file: ByteFile): AsyncBuffer {
  return {
    byteLength: file.size,
    async slice(start, end = file.size) {
      const bytes = await file.read(start, end);
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
    },
  };
}
