/** Parquet files of an index, as columns of all latents or as the rows of one. Runs in the worker; knows no view. */
import { decompress } from "fzstd";
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync, parquetRead } from "hyparquet";
import { openRangeFile, TAIL_BYTES } from "./range-file.ts";

/** A file of the site: its address, and its size where a manifest says it. */
export interface FileAddress {
  readonly url: string;
  readonly bytes?: number;
}

export type Row = Readonly<Record<string, unknown>>;

/** A column of all rows: numbers with NaN for null (true 1, false 0), or texts with "" for null. */
export type ColumnValues = Float64Array | string[];

/** DuckDB writes zstd; nothing else is needed. */
const compressors = {
  ZSTD: (input: Uint8Array, outputLength: number) => decompress(input, new Uint8Array(outputLength)),
};

interface OpenFile {
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
}

const open = new Map<string, Promise<OpenFile>>();

async function openParquet({ url, bytes }: FileAddress): Promise<OpenFile> {
  const opened =
    open.get(url) ??
    (async () => {
      const file = await openRangeFile(url, bytes);
      return { file, metadata: await parquetMetadataAsync(file, { initialFetchSize: TAIL_BYTES }) };
    })();
  open.set(url, opened);
  opened.catch(() => open.delete(url));
  return opened;
}

/**
 * The rows of one latent, in the file's order. Only row groups whose statistics of `latent` cover it are fetched.
 * @throws {Error} the file cannot be read
 */
export async function readRows(address: FileAddress, latent: number): Promise<Row[]> {
  const { file, metadata } = await openParquet(address);
  let rows: Row[] = [];
  await parquetRead({
    file,
    metadata,
    compressors,
    filter: { latent: { $eq: latent } },
    rowFormat: "object",
    onComplete: (found) => {
      rows = found.map(withoutBigInts);
    },
  });
  return rows;
}

/** Whole columns, of those that the file has. @throws {Error} the file cannot be read */
export async function readColumns(
  address: FileAddress,
  columns?: readonly string[],
): Promise<{ nRows: number; columns: Record<string, ColumnValues> }> {
  const { file, metadata } = await openParquet(address);
  const nRows = Number(metadata.num_rows);
  const present = metadata.schema.filter(
    ({ name, type }) => type !== undefined && (columns?.includes(name) ?? true),
  );
  const values: Record<string, ColumnValues> = {};
  for (const { name, type } of present)
    values[name] =
      type === "BYTE_ARRAY" ? new Array<string>(nRows).fill("") : new Float64Array(nRows).fill(Number.NaN);
  await parquetRead({
    file,
    metadata,
    compressors,
    columns: Object.keys(values),
    onChunk: ({ columnName, columnData, rowStart }) => fill(values[columnName], columnData, rowStart),
  });
  return { nRows, columns: values };
}

function fill(into: ColumnValues, from: ArrayLike<unknown>, start: number): void {
  const end = Math.min(from.length, into.length - start);
  if (into instanceof Float64Array)
    for (let i = 0; i < end; i++) {
      const value = from[i];
      if (value !== null && value !== undefined) into[start + i] = Number(value);
    }
  else
    for (let i = 0; i < end; i++) {
      const value = from[i];
      if (typeof value === "string") into[start + i] = value;
    }
}

function withoutBigInts(row: Row): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, typeof value === "bigint" ? Number(value) : value]),
  );
}
