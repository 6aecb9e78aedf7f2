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

/** Rows of a file that are read whole: 20 logits of three million latents. */
const MOST_ROWS = 1 << 26;
/** Rows among which those of one latent are looked for: row groups have 2048, and a latent lies in one or two. */
const MOST_SEARCHED_ROWS = 1 << 17;
/** Of a page of a column, a few megabytes at the most. */
const MOST_PAGE_BYTES = 64 * 2 ** 20;

/** DuckDB writes zstd; nothing else is needed. */
const compressors = {
  ZSTD(input: Uint8Array, outputLength: number) {
    if (outputLength > MOST_PAGE_BYTES) throw new Error(`a page of ${outputLength} bytes`);
    return decompress(input, new Uint8Array(outputLength));
  },
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
 * @throws {Error} the file cannot be read, or is not sorted by latent
 */
export async function readRows(address: FileAddress, latent: number): Promise<Row[]> {
  const { file, metadata } = await openParquet(address);
  const nSearched = rowsThatMayBe(metadata, latent);
  if (nSearched > MOST_SEARCHED_ROWS)
    throw new Error(`${address.url}: latent ${latent} may be in any of ${nSearched} rows`);
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

/** Rows of the row groups whose statistics do not rule the latent out. */
function rowsThatMayBe({ row_groups }: FileMetaData, latent: number): number {
  let nRows = 0;
  for (const { columns, num_rows } of row_groups) {
    const column = columns.find(({ meta_data }) => meta_data?.path_in_schema[0] === "latent");
    const { min_value = latent, max_value = latent } = column?.meta_data?.statistics ?? {};
    if (Number(min_value) <= latent && latent <= Number(max_value)) nRows += Number(num_rows);
  }
  return nRows;
}

/** Whole columns, of those that the file has. @throws {Error} the file cannot be read, or has too many rows */
export async function readColumns(
  address: FileAddress,
  columns?: readonly string[],
): Promise<{ nRows: number; columns: Record<string, ColumnValues> }> {
  const { file, metadata } = await openParquet(address);
  const nRows = Number(metadata.num_rows);
  if (!(nRows <= MOST_ROWS)) throw new Error(`${address.url}: ${nRows} rows, at most ${MOST_ROWS} are read`);
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
