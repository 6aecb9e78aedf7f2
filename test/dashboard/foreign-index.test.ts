/** An index that came from elsewhere: what its tables are not is said in one error, and its folder is all that is seen. */
import { cp, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database, quoted } from "../../src/dashboard/database.ts";
import type { IndexManifest } from "../../src/dashboard/manifest.ts";
import { readLatents } from "../../src/dashboard/neuronpedia/records.ts";
import { type LatentIndex, openIndex } from "../../src/dashboard/open-index.ts";
import { MOST_ROWS_OF_LATENT, rowProblem } from "../../src/dashboard/row-problems.ts";
import { TABLES, type TableName } from "../../src/dashboard/tables.ts";
import { FormatError } from "../../src/errors.ts";
import { IndexReader } from "../../src/explain/index-reader.ts";
import { writeTinyIndex } from "./tiny-index.ts";

let root: string;
let sound: string;
const opened: LatentIndex[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lapidary-foreign-index-"));
  sound = join(root, "sound");
  await writeTinyIndex(sound);
});
afterAll(async () => {
  for (const index of opened) index.close();
  await rm(root, { recursive: true, force: true });
});

async function open(dir: string): Promise<LatentIndex> {
  const index = await openIndex(dir);
  opened.push(index);
  return index;
}

/** A copy in which the table is what `query` makes of the sound one, `sound`; its manifest knows size and rows. */
async function changed(name: string, table: TableName, query: string): Promise<string> {
  const dir = join(root, name);
  await cp(sound, dir, { recursive: true });
  const path = join(dir, TABLES[table].file);
  const database = await Database.open({ folder: dir, memoryBytes: 256 * 2 ** 20, threads: 1 });
  await database.run(`CREATE TABLE sound AS SELECT * FROM read_parquet(${quoted(path)})`);
  await database.writeParquet(query, "changed");
  const [{ n }] = await database.rows(`SELECT count(*)::INTEGER AS n FROM (${query})`);
  database.close();
  await rename(join(dir, "changed"), path);
  await rewrite(dir, table, { bytes: (await stat(path)).size, nRows: n as number });
  return dir;
}

async function rewrite(
  dir: string,
  table: TableName,
  file: { bytes: number; nRows?: number },
): Promise<void> {
  const path = join(dir, "index.json");
  const manifest = JSON.parse(await readFile(path, "utf8")) as IndexManifest;
  const files = { ...manifest.files, [table]: { ...manifest.files[table], ...file } };
  await writeFile(path, JSON.stringify({ ...manifest, files }));
}

describe("openIndex", () => {
  it.each([
    ["a column less", "logits", "SELECT * EXCLUDE (token) FROM sound", /"token VARCHAR" is missing/],
    ["a column more", "splits", "SELECT *, 1 AS more FROM sound", /"more INTEGER" is not of this table/],
    [
      "another type",
      "latents",
      "SELECT * REPLACE (latent::VARCHAR AS latent) FROM sound",
      /"latent VARCHAR" is not/,
    ],
    [
      "a list of lists",
      "examples",
      "SELECT * REPLACE ([tokens] AS tokens) FROM sound",
      /"tokens VARCHAR\[\]\[\]" is not/,
    ],
    [
      "latents left out",
      "latents",
      "SELECT * FROM sound WHERE latent < 9",
      /9 rows; index.json says 600 latents/,
    ],
    [
      "latents twice",
      "histograms",
      "SELECT * FROM sound UNION ALL SELECT * FROM sound",
      /1200 rows; .* 600 latents/,
    ],
  ] as const)("refuses %s", async (name, table, query, message) => {
    const error: unknown = await openIndex(await changed(name, table, query)).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).toMatch(message);
  });

  it("refuses a file that is no Parquet", async () => {
    const dir = join(root, "no parquet");
    await cp(sound, dir, { recursive: true });
    await writeFile(join(dir, "splits.parquet"), "PAR1 but no more");
    await rewrite(dir, "splits", { bytes: 16 });
    const error: unknown = await openIndex(dir).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(FormatError);
    expect((error as Error).message).toMatch(/splits\.parquet.*not a table of an index/);
  });
});

describe("rows of a latent", () => {
  it("are refused where an example's lists do not go together, by every reader", async () => {
    const cut = "SELECT * REPLACE (CASE WHEN latent = 8 THEN acts[1:2] ELSE acts END AS acts) FROM sound";
    const dir = await changed("short acts", "examples", cut);
    const index = await open(dir);
    expect((await index.latent(7)).examples.length).toBeGreaterThan(0);
    const wrong = /example 0 of latent 8 has \d tokens, 2 activations/;
    await expect(index.latent(8)).rejects.toThrow(wrong);
    await expect(readLatents(index, { from: 9 }).next()).resolves.toMatchObject({ done: false });
    await expect(readLatents(index, { from: 8 }).next()).rejects.toThrow(wrong);
    const reader = await IndexReader.open(dir);
    await expect(reader.examples([8])).rejects.toThrow(wrong);
    reader.close();
  });

  it("are refused where a token is null, or a histogram has other bins", async () => {
    const nulls = await changed(
      "nulls",
      "examples",
      "SELECT * REPLACE ([NULL]::VARCHAR[] AS tokens) FROM sound",
    );
    await expect((await open(nulls)).latent(8)).rejects.toThrow(
      /example 0 of latent 8 has a token .* that is none/,
    );
    const bins = await changed(
      "bins",
      "histograms",
      "SELECT * REPLACE (range(100)::UINTEGER[] AS activations) FROM sound",
    );
    await expect((await open(bins)).latent(8)).rejects.toThrow(
      /"activations" of latent 8 is no list of 50 counts/,
    );
  });

  it("are refused where there are too many", async () => {
    const many = `SELECT sound.* FROM sound, range(${MOST_ROWS_OF_LATENT}) WHERE latent = 8`;
    const index = await open(await changed("many", "neighbours", many));
    await expect(index.latent(8)).rejects.toThrow(/more than 4096 rows of latent 8/);
    expect((await index.latent(9)).neighbours).toEqual([]);
  });
});

describe("rows by SQL", () => {
  it("sees the folder alone, by no detour, and changes nothing", async () => {
    const dir = join(root, "confined");
    await cp(sound, dir, { recursive: true });
    await writeFile(join(root, "secret.txt"), "secret");
    await symlink(root, join(dir, "up"));
    const index = await open(dir);
    for (const sql of [
      `SELECT * FROM read_text(${quoted(join(root, "secret.txt"))})`,
      `SELECT * FROM read_text(${quoted(join(dir, "../secret.txt"))})`,
      `SELECT * FROM read_blob(${quoted("/etc/passwd")})`,
      `SELECT * FROM glob(${quoted(join(root, "*"))})`,
      `SELECT * FROM read_csv('https://example.com/a.csv')`,
      `COPY latents TO ${quoted(join(dir, "out.parquet"))}`,
      "DROP VIEW latents",
      "ATTACH 'x.db'",
      "SELECT 1; SELECT 2",
      "SELEC",
      "SELECT nothing FROM latents",
    ])
      await expect(index.rows(sql), sql).rejects.toMatchObject({ code: "DATA" });
    expect((await index.rows("SELECT count(*)::INTEGER AS n FROM latents"))[0].n).toBe(600);
  });
});

it.each([
  [
    { latent: 3, side: "top", rank: 0, token_id: 1, token: null, value: 1 },
    /"token" of latent 3 is no VARCHAR/,
  ],
  [
    { latent: 3, side: "top", rank: "0", token_id: 1, token: "a", value: 1 },
    /"rank" of latent 3 is no UTINYINT/,
  ],
  [{ latent: 3, side: "top", rank: 0, token_id: 1, token: "a", value: 1 }, null],
])("a reader without types says which value is none of its column's: %j", (row, problem) => {
  const found = rowProblem(TABLES.logits, row);
  if (problem === null) expect(found).toBeNull();
  else expect(found).toMatch(problem);
});
