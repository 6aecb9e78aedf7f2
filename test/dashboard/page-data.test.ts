/** What the page reads of an index is what DuckDB reads of it; and of a latent it reads little. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database, quoted } from "../../src/dashboard/database.ts";
import { TABLES, type TableName } from "../../src/dashboard/tables.ts";
import { readColumns, readRows } from "../../web/src/data/parquet.ts";
import { promoters } from "../../web/src/data/promoters.ts";
import { makeSite } from "./made-up-site.ts";
import { type SiteServer, serveSite } from "./site-server.ts";

const N_LATENTS = 800;

describe("reading an index over HTTP", () => {
  let folder: string;
  let server: SiteServer;
  let plain: SiteServer;
  let database: Database;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lapidary-page-data-"));
    await makeSite({ folder, nLatents: N_LATENTS });
    [server, plain] = [await serveSite(folder), await serveSite(folder, { ranges: false })];
    database = await Database.open({ folder: join(folder, "data/layer-4"), memoryBytes: 2 ** 30 });
  });
  afterAll(async () => {
    database?.close();
    await Promise.all([server?.close(), plain?.close()]);
    await rm(folder, { recursive: true, force: true });
  });

  const expected = (table: string, where = "") =>
    database.rows(`SELECT * FROM read_parquet(${quoted(join(database.folder, table))}) ${where}`);
  const address = (of: SiteServer, table: TableName) => ({
    url: `${of.url}data/layer-4/${TABLES[table].file}`,
  });

  it.each(Object.keys(TABLES) as TableName[])("%s: the rows of a latent", async (table) => {
    for (const latent of [0, 5, 431, N_LATENTS - 1]) {
      const rows = await readRows(address(server, table), latent);
      expect(rows).toEqual(await expected(TABLES[table].file, `WHERE latent = ${latent}`));
    }
  });

  it("whole columns, null as NaN, truth as 1", async () => {
    const { nRows, columns } = await readColumns(address(server, "latents"), [
      "latent",
      "label",
      "label_precision",
      "dead_in_training",
      "absent",
    ]);
    const rows = await expected("latents.parquet");
    expect(nRows).toBe(N_LATENTS);
    expect(Object.keys(columns).sort()).toEqual(["dead_in_training", "label", "label_precision", "latent"]);
    expect(columns.label).toEqual(rows.map(({ label }) => label));
    expect([...columns.label_precision]).toEqual(rows.map((row) => row.label_precision ?? Number.NaN));
    expect([...columns.dead_in_training]).toEqual(rows.map((row) => Number(row.dead_in_training)));
  });

  it("a latent that the index does not have has no rows", async () => {
    expect(await readRows(address(server, "examples"), N_LATENTS)).toEqual([]);
  });

  it("works on a host that knows no ranges", async () => {
    const where = "WHERE latent = 77";
    expect(await readRows(address(plain, "examples"), 77)).toEqual(await expected("examples.parquet", where));
    expect(plain.asked.length).toBe(1);
  });

  it("reads the row groups of a latent alone, once, and its neighbour's from what it has", async () => {
    const other = await serveSite(folder);
    const table = address(other, "examples");
    const before = other.asked.length;
    await readRows(table, 400);
    await readRows(table, 401);
    const asked = other.asked.slice(before).map((line) => line.split("bytes=")[1]);
    const bytes = asked
      .map((range) => /^(\d*)-(\d+)$/.exec(range)?.slice(1).map(Number) ?? [])
      .reduce((sum, [first, last]) => sum + last + (first > 0 ? 1 - first : 0), 0);
    const [{ total }] = await database.rows(
      `SELECT sum(total_compressed_size)::DOUBLE AS total FROM parquet_metadata(${quoted(join(database.folder, "examples.parquet"))})`,
    );
    expect(new Set(asked).size).toBe(asked.length);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(0.4 * (total as number));
    await other.close();
  });

  it("a file that is not there is an error that names it", async () => {
    await expect(readRows({ url: `${server.url}data/layer-4/absent.parquet` }, 1)).rejects.toThrow(
      /absent\.parquet: 404/,
    );
  });

  it("refuses a file that is not sorted by latent, and pages and counts that no index has", async () => {
    const foreign = async (name: string, query: string) => {
      await database.writeParquet(query, name);
      return { url: `${server.url}data/layer-4/${name}` };
    };
    const unsorted = "SELECT (i % 7)::UINTEGER AS latent, '' AS token FROM range(140000) t(i)";
    await expect(readRows(await foreign("unsorted.parquet", unsorted), 3)).rejects.toThrow(
      /latent 3 may be in any of 140000 rows/,
    );
    const long = "SELECT i::UINTEGER AS latent, repeat('a', 70_000_000) AS token FROM range(1) t(i)";
    await expect(readRows(await foreign("long.parquet", long), 0)).rejects.toThrow(/a page of 7\d+ bytes/);
    await expect(promoters(await foreign("few.parquet", "SELECT 1 AS latent"), "a")).rejects.toThrow(
      /few\.parquet is no table of logits/,
    );
  });

  it("finds the latents that promote a token", async () => {
    const wanted = await database.rows(
      `SELECT DISTINCT latent FROM read_parquet(${quoted(join(database.folder, "logits.parquet"))}) WHERE side = 'top' AND token ILIKE '%BANK%' ORDER BY latent`,
    );
    expect([...(await promoters(address(server, "logits"), "BANK"))]).toEqual(
      wanted.map(({ latent }) => latent),
    );
    expect(wanted.length).toBeGreaterThan(3);
  });
});
