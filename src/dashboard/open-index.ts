/** Opens a latent index for reading: a latent's page, lists of latents, or any SELECT over its tables. */
import { join } from "node:path";
import { DataError, FormatError, ShapeError } from "../errors.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { Database, firstLine, quoted } from "./database.ts";
import { EXPLANATIONS, EXPLANATIONS_FILE } from "./explanations.ts";
import { readIndexManifest } from "./index-manifest.ts";
import type {
  ExampleRow,
  HistogramRow,
  LatentPage,
  LatentRow,
  LogitRow,
  NeighbourRow,
  SplitRow,
} from "./index-rows.ts";
import type { IndexManifest } from "./manifest.ts";
import { exampleProblem, histogramProblem, MOST_ROWS_OF_LATENT } from "./row-problems.ts";
import { TABLES, type Table, type TableName } from "./tables.ts";

/** What the database may take. */
export interface OpenIndexOptions {
  /** of the database; default 512 MB */
  readonly memoryBytes?: number;
  readonly threads?: number;
}

/** Which latents are listed, and in which order. */
export interface LatentQuery {
  /** column of `latents`; default latent */
  readonly sort?: keyof LatentRow;
  /** default false; null comes last either way, equal values by latent */
  readonly descending?: boolean;
  /** all of these hold; a comparison with null holds for none */
  readonly where?: readonly LatentCondition[];
  /** default 100 */
  readonly limit?: number;
  readonly offset?: number;
}

/** A column of `latents` compared with a value. */
export interface LatentCondition {
  readonly column: keyof LatentRow;
  readonly is: "=" | "!=" | "<" | "<=" | ">" | ">=";
  readonly value: number | string | boolean;
}

const AGAIN = { hint: "build the index again: lapidary index … --overwrite" };
const COMPARISONS: readonly string[] = ["=", "!=", "<", "<=", ">", ">="];
const DEFAULT_LIMIT = 100;
const DEFAULT_MEMORY_BYTES = 512 * 2 ** 20;

/** An index on disk. Rows have the files' column names as keys. */
export interface LatentIndex {
  readonly dir: string;
  readonly manifest: IndexManifest;
  /** Everything of one latent. @throws {ShapeError} there is no such latent */
  latent(latent: number): Promise<LatentPage>;
  latents(query?: LatentQuery): Promise<LatentRow[]>;
  /** Latents whose label holds the text, capitals or not, those that fire most first; a number finds that latent. */
  search(text: string, limit?: number): Promise<LatentRow[]>;
  /**
   * One SELECT over `latents`, `histograms`, `examples`, `logits`, `neighbours`, `splits`, and `explanations`, which is
   * empty where there are none; `$1, $2, …` stand for `values`. A count is a bigint unless cast. @throws {DataError} the statement is no SELECT, or cannot be answered
   */
  rows(
    sql: string,
    values?: readonly (string | number | boolean | null)[],
  ): Promise<Record<string, unknown>[]>;
  close(): void;
}

/**
 * Opens the index in `dir`. Nothing but that folder can be read through it.
 * @throws {FormatError} it is not whole, or not an index
 */
export async function openIndex(dir: string, options: OpenIndexOptions = {}): Promise<LatentIndex> {
  const manifest = await readIndexManifest(dir);
  const { memoryBytes = DEFAULT_MEMORY_BYTES, threads } = options;
  const database = await Database.open({
    folder: dir,
    memoryBytes,
    ...(threads === undefined ? {} : { threads }),
  });
  try {
    const { sae, files } = manifest;
    for (const [name, table] of Object.entries(TABLES) as [TableName, Table][]) {
      const nRows = await openTable(database, name, table);
      const isWhole = (name !== "latents" && name !== "histograms") || nRows === sae.dSae;
      if (nRows !== files[name].nRows || !isWhole)
        throw new FormatError(
          join(dir, table.file),
          `${nRows} rows; index.json says ${isWhole ? files[name].nRows : `${sae.dSae} latents`}`,
          AGAIN,
        );
    }
    if ((await statIfPresent(join(dir, EXPLANATIONS_FILE))) === null)
      await database.createTable("explanations", EXPLANATIONS.columns);
    else await openTable(database, "explanations", EXPLANATIONS);
  } catch (error) {
    database.close();
    throw error;
  }
  return new OpenedIndex(dir, manifest, database);
}

/** Makes a view of a table's file, and says how many rows it has. @throws {FormatError} it has not the table's columns */
async function openTable(database: Database, name: string, { file, columns }: Table): Promise<number> {
  const path = join(database.folder, file);
  const hint = name === "explanations" ? "remove it: lapidary explain makes it anew" : AGAIN.hint;
  const read = `read_parquet(${quoted(path)})`;
  let found: Record<string, unknown>[];
  let rows: Record<string, unknown>[];
  try {
    found = await database.rows(`DESCRIBE SELECT * FROM ${read}`);
    rows = await database.rows(`SELECT num_rows::DOUBLE AS n FROM parquet_file_metadata(${quoted(path)})`);
  } catch (cause) {
    throw new FormatError(path, `not a table of an index: ${firstLine(cause)}`, { hint, cause });
  }
  const has = found.map(({ column_name, column_type }) => `${column_name} ${column_type}`);
  const wanted = columns.map((column) => `${column.name} ${column.type}`);
  const stray = [...has, ...wanted].find((column) => !has.includes(column) || !wanted.includes(column));
  if (stray !== undefined)
    throw new FormatError(
      path,
      `its column ${JSON.stringify(stray)} is ${has.includes(stray) ? "not of this table" : "missing"}`,
      { hint },
    );
  await database.run(`CREATE VIEW "${name}" AS SELECT * FROM ${read}`);
  return rows[0]?.n as number;
}

class OpenedIndex implements LatentIndex {
  readonly dir: string;
  readonly manifest: IndexManifest;
  readonly #database: Database;

  constructor(dir: string, manifest: IndexManifest, database: Database) {
    this.dir = dir;
    this.manifest = manifest;
    this.#database = database;
  }

  async latent(latent: number): Promise<LatentPage> {
    const { dSae } = this.manifest.sae;
    if (!(Number.isInteger(latent) && latent >= 0 && latent < dSae))
      throw new ShapeError(`latent of ${this.dir}`, latent, `0 to ${dSae - 1}`);
    const [row] = await this.#of<LatentRow>("latents", latent);
    const [histograms] = await this.#of<HistogramRow>("histograms", latent, histogramProblem);
    if (row === undefined || histograms === undefined)
      throw new FormatError(this.dir, `no row of latent ${latent}`, { hint: "build the index again" });
    return {
      latent: row,
      histograms,
      examples: await this.#of<ExampleRow>("examples", latent, exampleProblem),
      logits: await this.#of<LogitRow>("logits", latent),
      neighbours: await this.#of<NeighbourRow>("neighbours", latent),
      splits: await this.#of<SplitRow>("splits", latent),
    };
  }

  /** Rows of a latent, in the file's order. @throws {FormatError} they are none that an index has */
  async #of<Row>(
    table: TableName,
    latent: number,
    problemOf: (row: Row) => string | null = () => null,
  ): Promise<Row[]> {
    const rows = (await this.#database.rows(
      `SELECT * FROM "${table}" WHERE latent = $1 LIMIT ${MOST_ROWS_OF_LATENT + 1}`,
      [latent],
    )) as Row[];
    const problem =
      rows.length > MOST_ROWS_OF_LATENT
        ? `more than ${MOST_ROWS_OF_LATENT} rows of latent ${latent}`
        : rows.map(problemOf).find((found) => found !== null);
    if (problem != null) throw new FormatError(join(this.dir, TABLES[table].file), problem);
    return rows;
  }

  async latents(query: LatentQuery = {}): Promise<LatentRow[]> {
    const { sort = "latent", descending = false, where = [], limit = DEFAULT_LIMIT, offset = 0 } = query;
    const values: (string | number | boolean)[] = [];
    const conditions = where.map(({ column, is, value }) => {
      if (!COMPARISONS.includes(is))
        throw new DataError(`no comparison ${JSON.stringify(is)}`, {
          hint: `one of ${COMPARISONS.join(" ")}`,
        });
      return `${columnOf(column)} ${is} $${values.push(value)}`;
    });
    const rows = await this.#database.rows(
      `SELECT * FROM latents ${conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`}
       ORDER BY ${columnOf(sort)} ${descending ? "DESC" : "ASC"} NULLS LAST, latent
       LIMIT $${values.push(wholeNumber("limit", limit))} OFFSET $${values.push(wholeNumber("offset", offset))}`,
      values,
    );
    return rows as unknown as LatentRow[];
  }

  async search(text: string, limit = DEFAULT_LIMIT): Promise<LatentRow[]> {
    const number = /^\s*\d+\s*$/.test(text) ? Math.min(Number(text), this.manifest.sae.dSae) : -1;
    const rows = await this.#database.rows(
      `SELECT * FROM latents WHERE latent = $1 OR (label <> '' AND contains(lower(label), lower($2)))
       ORDER BY latent = $1 DESC, density DESC, latent LIMIT $3`,
      [number, text, wholeNumber("limit", limit)],
    );
    return rows as unknown as LatentRow[];
  }

  rows(sql: string, values: readonly (string | number | boolean | null)[] = []) {
    return this.#database.select(sql, values);
  }

  close(): void {
    this.#database.close();
  }
}

/** A column of `latents`, quoted. @throws {DataError} there is no such column */
function columnOf(name: string): string {
  const { columns } = TABLES.latents;
  if (columns.some((column) => column.name === name)) return `"${name}"`;
  throw new DataError(`the latents of an index have no column ${JSON.stringify(name)}`, {
    hint: `they have ${columns.map((column) => column.name).join(", ")}`,
  });
}

function wholeNumber(what: string, n: number): number {
  if (Number.isSafeInteger(n) && n >= 0) return n;
  throw new ShapeError(`${what} of a list of latents`, n, "a whole number");
}
