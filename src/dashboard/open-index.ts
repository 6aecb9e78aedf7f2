/** Opens a latent index for reading: a latent's page, lists of latents, or any SELECT over its tables. */
import { join, resolve } from "node:path";
import { DataError, ShapeError } from "../errors.ts";
import { Database, quoted } from "./database.ts";
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
import { TABLES, type TableName } from "./tables.ts";

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

export interface LatentCondition {
  readonly column: keyof LatentRow;
  readonly is: "=" | "!=" | "<" | "<=" | ">" | ">=";
  readonly value: number | string | boolean;
}

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
   * One SELECT over `latents`, `histograms`, `examples`, `logits`, `neighbours`, `splits`; `$1, $2, …` stand for `values`.
   * A count is a bigint unless cast. @throws {DataError} the statement is no SELECT
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
    for (const [name, { file }] of Object.entries(TABLES))
      await database.run(
        `CREATE VIEW "${name}" AS SELECT * FROM read_parquet(${quoted(join(resolve(dir), file))})`,
      );
  } catch (error) {
    database.close();
    throw error;
  }
  return new OpenedIndex(dir, manifest, database);
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
    const of = (name: TableName) =>
      this.#database.rows(`SELECT * FROM "${name}" WHERE latent = $1`, [latent]);
    const [row] = await of("latents");
    const [histograms] = await of("histograms");
    return {
      latent: row as unknown as LatentRow,
      histograms: histograms as unknown as HistogramRow,
      examples: (await of("examples")) as unknown as ExampleRow[],
      logits: (await of("logits")) as unknown as LogitRow[],
      neighbours: (await of("neighbours")) as unknown as NeighbourRow[],
      splits: (await of("splits")) as unknown as SplitRow[],
    };
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
