/** Opens an index's tables for reading, each a view of its file. */
import { join, resolve } from "node:path";
import { FormatError } from "../../errors.ts";
import { readJson } from "../../storage/json.ts";
import { Database, quoted } from "../database.ts";
import type { IndexManifest } from "../manifest.ts";
import { TABLES } from "../tables.ts";
import type { IndexTables } from "./records.ts";

const MEMORY_BYTES = 512 * 2 ** 20;

/** @throws {FormatError} the folder is no index */
export async function openTables(dir: string): Promise<IndexTables & { close(): void }> {
  const path = join(dir, "index.json");
  const manifest = await readJson<IndexManifest>(path, { absent: "name the folder of a latent index" });
  if (manifest?.format !== "lapidary-index" || manifest.version !== 1)
    throw new FormatError(path, "not a latent index of version 1", { hint: "index it with this Lapidary" });
  const database = await Database.open({ folder: dir, memoryBytes: MEMORY_BYTES });
  try {
    for (const [name, { file }] of Object.entries(TABLES))
      await database.run(
        `CREATE VIEW "${name}" AS SELECT * FROM read_parquet(${quoted(join(resolve(dir), file))})`,
      );
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    manifest,
    rows: (sql, values) => database.rows(sql, values),
    close: () => database.close(),
  };
}
