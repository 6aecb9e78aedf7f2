/**
 * DuckDB, shut in: it sees one folder and nothing else, loads no extension, and keeps to a memory limit. The only place
 * that knows DuckDB; what it holds is described by `tables.ts`.
 */
import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { type DuckDBConnection, DuckDBInstance, type DuckDBValue } from "@duckdb/node-api";
import type { Column } from "./tables.ts";
import { ROW_GROUP_ROWS } from "./tables.ts";

export interface DatabaseOptions {
  /** the one folder it may read and write */
  readonly folder: string;
  readonly memoryBytes: number;
  readonly threads?: number;
}

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
      `temp_directory = ${quoted(`${root}/.duckdb.tmp`)}`,
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

  async run(sql: string, values: readonly DuckDBValue[] = []): Promise<void> {
    await this.#connection.run(sql, [...values]);
  }

  async createTable(name: string, columns: readonly Column[]): Promise<void> {
    const list = columns.map(
      (column) => `"${column.name}" ${column.type}${column.nullable === true ? "" : " NOT NULL"}`,
    );
    await this.#connection.run(`CREATE TABLE "${name}" (${list.join(", ")})`);
  }

  /** To add rows to a table, value by value; `closeSync` ends it. */
  async appender(table: string): Promise<Awaited<ReturnType<DuckDBConnection["createAppender"]>>> {
    return this.#connection.createAppender(table);
  }

  /** Writes a query's rows to a new Parquet file `path` in the folder; the caller renames it to its final name. */
  async writeParquet(query: string, path: string): Promise<void> {
    await this.#connection.run(
      `COPY (${query}) TO ${quoted(resolve(this.folder, path))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${ROW_GROUP_ROWS})`,
    );
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }
}

/** A string literal of SQL. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
