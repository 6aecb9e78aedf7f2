/** The database sees its folder, and nothing else. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Database, quoted } from "./database.ts";
import { TABLES } from "./tables.ts";

describe("Database", () => {
  let root: string;
  let database: Database;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "lapidary-it's-a-"));
    await writeFile(join(root, "outside.csv"), "a\n1\n");
    database = await Database.open({ folder: join(root, "inside"), memoryBytes: 256 * 2 ** 20, threads: 2 });
  });
  afterAll(async () => {
    database?.close();
    await rm(root, { recursive: true, force: true });
  });

  it("writes Parquet in its folder and reads it back, by prepared statements", async () => {
    await database.writeParquet("SELECT i::UINTEGER AS latent FROM range(5000) t(i)", "x.parquet");
    const [row] = await database.rows(
      `SELECT count(*)::INTEGER AS n FROM read_parquet(${quoted(join(root, "inside/x.parquet"))}) WHERE latent < $1`,
      [7],
    );
    expect(row.n).toBe(7);
    const groups = await database.rows(
      `SELECT DISTINCT row_group_num_rows::INTEGER AS n FROM parquet_metadata(${quoted(join(root, "inside/x.parquet"))}) ORDER BY n`,
    );
    expect(groups.map(({ n }) => n)).toEqual([904, 2048]);
  });

  it("refuses files outside, extensions and looser settings", async () => {
    await expect(
      database.rows(`SELECT * FROM read_csv(${quoted(join(root, "outside.csv"))})`),
    ).rejects.toThrow(/Permission Error/);
    await expect(database.writeParquet("SELECT 1 AS a", "../outside.parquet")).rejects.toThrow(/Permission/);
    await expect(database.run("INSTALL httpfs")).rejects.toThrow();
    await expect(database.run("SET enable_external_access = true")).rejects.toThrow();
  });

  it("creates every table of an index", async () => {
    for (const [name, { columns }] of Object.entries(TABLES)) {
      await database.createTable(name, columns);
      const found = await database.rows(`SELECT column_name AS name FROM (DESCRIBE "${name}")`);
      expect(found.map((column) => column.name)).toEqual(columns.map((column) => column.name));
    }
  });
});
