/**
 * DuckDB, shut in: it sees one folder and nothing else, loads no extension, and keeps to a memory limit. The only place
 * that knows DuckDB; what it holds is described by `tables.ts`.
 */
import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import {
  type DuckDBConnection,
  DuckDBDataChunk,
  DuckDBInstance,
  DuckDBListValue,
  type DuckDBValue,
  StatementType,
} from "@duckdb/node-api";
import { DataError } from "../errors.ts";
import type { Column } from "./tables.ts";
import { ROW_GROUP_ROWS } from "./tables.ts";

export interface DatabaseOptions {
  /** the one folder it may read and write */
  readonly folder: string;
  readonly memoryBytes: number;
  readonly threads?: number;
}

/** A fifth smaller than the default of 3, for half as much time again. */
const ZSTD_LEVEL = 9;

/** Where DuckDB puts what exceeds its memory, in the folder. */
export const TEMPORARY_FOLDER = ".duckdb.tmp";

/** An in-memory database over the Parquet files of one folder. */
export class Database {
  readonly folder: string;
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;

  private constructor(folder: string, instance: DuckDBInstance, connection: DuckDBConnection) {
    this.folder = folder;
    this.#instance = instance;
    this.#connection = connection;
  }

  static async open({ folder, memoryBytes, threads }: DatabaseOptions): Promise<Database> {
    const root = resolve(folder);
    await mkdir(root, { recursive: true });
    const instance = await DuckDBInstance.create(":memory:", {
      memory_limit: `${Math.max(64, Math.floor(memoryBytes / 2 ** 20))}MiB`,
      ...(threads === undefined ? {} : { threads: String(threads) }),
      preserve_insertion_order: "true",
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
    });
    const connection = await instance.connect();
    for (const setting of [
      `temp_directory = ${quoted(`${root}/${TEMPORARY_FOLDER}`)}`,
      `allowed_directories = [${quoted(`${root}/`)}]`,
      "enable_external_access = false",
      "lock_configuration = true",
    ])
      await connection.run(`SET ${setting}`);
    return new Database(root, instance, connection);
  }

  /** Rows of a prepared statement, `$1, $2, …` standing for `values`. */
  async rows(sql: string, values: readonly DuckDBValue[] = []): Promise<Record<string, unknown>[]> {
    const reader = await this.#connection.runAndReadAll(sql, [...values]);
    return reader.getRowObjectsJS() as Record<string, unknown>[];
  }

  /** As `rows`, of a statement that only reads. @throws {DataError} it is something else, or cannot be answered */
  async select(sql: string, values: readonly DuckDBValue[] = []): Promise<Record<string, unknown>[]> {
    try {
      const statements = await this.#connection.extractStatements(sql);
      const prepared = statements.count === 1 ? await statements.prepare(0) : null;
      if (prepared?.statementType !== StatementType.SELECT)
        throw new DataError("one SELECT statement is wanted", { hint: "SELECT … FROM latents WHERE …" });
      return await this.rows(sql, values);
    } catch (error) {
      if (error instanceof DataError) throw error;
      throw new DataError(`the statement cannot be answered: ${firstLine(error)}`, { cause: error });
    }
  }

  async run(sql: string, values: readonly DuckDBValue[] = []): Promise<void> {
    await this.#connection.run(sql, [...values]);
  }

  async createTable(name: string, columns: readonly Column[]): Promise<void> {
    const list = columns.map(
      (column) => `"${column.name}" ${column.type}${column.nullable === true ? "" : " NOT NULL"}`,
    );
    await this.#connection.run(`CREATE TABLE "${name}" (${list.join(", ")})`);
  }

  /** Adds rows to a table, column by column: values[column][row]. A list is given as an array. At most CHUNK_ROWS rows. */
  async append(table: string, values: readonly (readonly Cell[])[]): Promise<void> {
    const appender = await this.#connection.createAppender(table);
    try {
      const types = values.map((_, column) => appender.columnType(column));
      const chunk = DuckDBDataChunk.create(types, values[0].length);
      for (const [column, cells] of values.entries())
        chunk.setColumnValues(
          column,
          cells.map((cell) => (isList(cell) ? listOf(cell) : cell)),
        );
      appender.appendDataChunk(chunk);
    } finally {
      appender.closeSync();
    }
  }

  /** Writes a query's rows to a new Parquet file `path` in the folder; the caller renames it to its final name. */
  async writeParquet(query: string, path: string, zstdLevel = ZSTD_LEVEL): Promise<void> {
    await this.#connection.run(
      `COPY (${query}) TO ${quoted(resolve(this.folder, path))} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL ${zstdLevel}, ROW_GROUP_SIZE ${ROW_GROUP_ROWS})`,
    );
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }
}

/** What one row holds in one column. */
export type Cell = string | number | boolean | null | ArrayLike<number> | readonly string[];

/** Rows that are added at once, at most: a chunk of DuckDB's. */
export const CHUNK_ROWS = 2048;

function isList(cell: Cell): cell is ArrayLike<number> | readonly string[] {
  return typeof cell === "object" && cell !== null;
}

function listOf(cells: ArrayLike<number> | readonly string[]): DuckDBListValue {
  return new DuckDBListValue(cells as readonly (number | string)[]);
}

/** What DuckDB says went wrong, without the statement that it shows below. */
export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0];
}

/** A string literal of SQL. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
