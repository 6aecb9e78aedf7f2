/**
 * What explaining needs of a latent index: facts of all latents, and of some latents their examples, neighbours and
 * promoted tokens. Reads only.
 */
import { join, resolve } from "node:path";
import { INDEX_MANIFEST } from "../dashboard/index-manifest.ts";
import type { ExampleRow } from "../dashboard/index-rows.ts";
import type { IndexManifest } from "../dashboard/manifest.ts";
import { type LatentIndex, openIndex } from "../dashboard/open-index.ts";
import { exampleProblem } from "../dashboard/row-problems.ts";
import { TABLES, type TableName } from "../dashboard/tables.ts";
import { FormatError } from "../errors.ts";
import { hashFile } from "../storage/hash.ts";
import type { Example } from "./examples.ts";

export interface LatentFacts {
  readonly latent: number;
  readonly level: number;
  readonly nActive: number;
  readonly density: number;
  readonly maxAct: number;
  readonly label: string;
  readonly labelKind: string;
}

const MEMORY_BYTES = 1024 ** 3;
const EXAMPLE_COLUMNS = `latent, "rank", value, document, source, "window", "position", "at", tokens, acts`;

export class IndexReader {
  /** absolute */
  readonly folder: string;
  /** sha-256 of index.json, which holds the hashes of all tables */
  readonly hash: string;
  readonly #index: LatentIndex;

  private constructor(index: LatentIndex, hash: string) {
    this.folder = resolve(index.dir);
    this.hash = hash;
    this.#index = index;
  }

  /** The caller closes the result. @throws {FormatError} the folder is not a latent index */
  static async open(folder: string): Promise<IndexReader> {
    const index = await openIndex(folder, { memoryBytes: MEMORY_BYTES });
    return new IndexReader(index, await hashFile(join(folder, INDEX_MANIFEST)));
  }

  get manifest(): IndexManifest {
    return this.#index.manifest;
  }

  /** Every latent, in order. */
  async facts(): Promise<LatentFacts[]> {
    const rows = await this.#index.rows(
      `SELECT latent, level, n_active, density, max_act, label, label_kind FROM latents ORDER BY latent`,
    );
    const stray = rows.findIndex((row, i) => Number(row.latent) !== i);
    if (stray >= 0 || rows.length !== this.manifest.sae.dSae)
      throw new FormatError(
        join(this.folder, TABLES.latents.file),
        `${rows.length} rows, not one for each of ${this.manifest.sae.dSae} latents`,
      );
    return rows.map((row) => ({
      latent: Number(row.latent),
      level: Number(row.level),
      nActive: Number(row.n_active),
      density: Number(row.density),
      maxAct: Number(row.max_act ?? 0),
      label: String(row.label),
      labelKind: String(row.label_kind),
    }));
  }

  /** Of each latent that has some, in order of rank. */
  async examples(latents: readonly number[]): Promise<Map<number, Example[]>> {
    if (latents.length === 0) return new Map();
    return this.#examples(`WHERE latent IN (${list(latents)})`, []);
  }

  /**
   * Examples of any latent at one of these tokens: of each token at most `perToken`, drawn by (seed, latent, rank).
   * One pass over the table.
   */
  async examplesAt(
    tokens: readonly string[],
    perToken: number,
    seed: number,
  ): Promise<Map<string, Example[]>> {
    if (tokens.length === 0) return new Map();
    const separator = "\u001f"; // in no token that is asked for
    const found = await this.#examples(
      `WHERE tokens["at" + 1] IN (SELECT unnest(string_split($1, '${separator}'))) QUALIFY row_number() OVER (PARTITION BY tokens["at" + 1] ` +
        `ORDER BY md5(concat(latent, ':', "rank", ':', ${Math.floor(seed)})), latent, "rank") <= ${perToken}`,
      [tokens.filter((token) => !token.includes(separator)).join(separator)],
    );
    const byToken = new Map<string, Example[]>();
    for (const example of [...found.values()].flat()) {
      const token = example.tokens[example.at];
      byToken.set(token, [...(byToken.get(token) ?? []), example]);
    }
    return byToken;
  }

  /** Of each latent, those near by decoder row, nearest first. */
  async decoderNeighbours(latents: readonly number[]): Promise<Map<number, number[]>> {
    const rows = await this.#of(latents, "neighbours", `latent, other`, `kind = 'decoder'`);
    return grouped(rows, ({ other }) => Number(other));
  }

  /** Of each latent, the tokens it promotes, most promoted first; empty without logits. */
  async promotedTokens(latents: readonly number[]): Promise<Map<number, string[]>> {
    const rows = await this.#of(latents, "logits", `latent, token`, `side = 'top'`);
    return grouped(rows, ({ token }) => String(token));
  }

  close(): void {
    this.#index.close();
  }

  async #of(latents: readonly number[], table: TableName, columns: string, where: string) {
    if (latents.length === 0) return [];
    return this.#index.rows(
      `SELECT ${columns} FROM ${table} WHERE latent IN (${list(latents)}) AND ${where} ORDER BY latent, "rank"`,
    );
  }

  async #examples(where: string, values: readonly string[]): Promise<Map<number, Example[]>> {
    const rows = await this.#index.rows(
      `SELECT * FROM (SELECT ${EXAMPLE_COLUMNS} FROM examples ${where}) ORDER BY latent, "rank"`,
      values,
    );
    const path = join(this.folder, TABLES.examples.file);
    return grouped(rows, (row) => exampleOf(row, path, this.#setOf(Number(row.source))));
  }

  /** Number of the set that a class of sources belongs to: of several sets, classes are named "set" or "set/source". */
  #setOf(source: number): number {
    const { sets } = this.manifest.data;
    if (sets.length === 1) return 0;
    const name = this.manifest.splits.source[source]?.name ?? "";
    const found = sets.findIndex((set) => name === set || name.startsWith(`${set}/`));
    if (found >= 0) return found;
    throw new FormatError(
      join(this.folder, INDEX_MANIFEST),
      `source ${source} (${name}) is of none of the sets ${sets.join(", ")}`,
    );
  }
}

function exampleOf(row: Record<string, unknown>, path: string, set: number): Example {
  const { at, tokens, acts } = row as unknown as ExampleRow;
  const problem = exampleProblem(row as unknown as ExampleRow);
  if (problem !== null) throw new FormatError(path, problem);
  return {
    latent: Number(row.latent),
    rank: Number(row.rank),
    value: Number(row.value),
    set,
    document: Number(row.document),
    window: Number(row.window),
    position: Number(row.position),
    at,
    tokens,
    acts,
  };
}

function grouped<T>(
  rows: readonly Record<string, unknown>[],
  value: (row: Record<string, unknown>) => T,
): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const row of rows) {
    const latent = Number(row.latent);
    const group = groups.get(latent);
    if (group === undefined) groups.set(latent, [value(row)]);
    else group.push(value(row));
  }
  return groups;
}

function list(latents: readonly number[]): string {
  return latents.map((latent) => String(Math.floor(latent))).join(", ");
}
