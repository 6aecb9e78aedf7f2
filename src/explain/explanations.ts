/**
 * The result: `explanations.parquet` and `explanations.json` in the index folder. Rows of other latents, methods and
 * models stay; rows of the same ones are replaced. What is there must be of the same index.
 */
import { rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { CHUNK_ROWS, Database, quoted } from "../dashboard/database.ts";
import {
  EXPLANATIONS,
  EXPLANATIONS_FILE,
  EXPLANATIONS_MANIFEST,
  type ExplanationsManifest,
  type ExplanationsRun,
} from "../dashboard/explanations.ts";
import { StateError } from "../errors.ts";
import { syncFolder, temporaryName, writeJson } from "../storage/atomic.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashFile } from "../storage/hash.ts";
import { readJsonIfPresent } from "../storage/json.ts";
import type { IndexReader } from "./index-reader.ts";

/** Columns of {@link EXPLANATIONS} by name; one left out is null. */
export type ExplanationRow = Readonly<Record<string, number | string | null>> & {
  readonly latent: number;
  readonly method: string;
  readonly model: string;
};

const MEMORY_BYTES = 512 * 1024 ** 2;
const KEYS = `latent, "method", "model"`;

/**
 * The manifest that is there, or null.
 * @throws {StateError} it is about another index, and `overwrite` is not set; with it, that is removed
 */
export async function readExplanations(
  reader: IndexReader,
  overwrite: boolean,
): Promise<ExplanationsManifest | null> {
  const path = join(reader.folder, EXPLANATIONS_MANIFEST);
  const found = await readJsonIfPresent<ExplanationsManifest>(path);
  if (found === undefined) return null;
  const isOurs = found?.format === "lapidary-explanations" && found.version === 1;
  if (isOurs && found.index === reader.hash) return found;
  if (!overwrite)
    throw new StateError(
      isOurs
        ? `${path} explains latents of an earlier index in this folder`
        : `${path} is not a file of explanations of version 1`,
      "keep it elsewhere, or give --overwrite to begin anew",
    );
  await rm(path);
  await rm(join(reader.folder, EXPLANATIONS_FILE), { force: true });
  return null;
}

/** Writes rows and manifest. @throws {StateError} what is there is about another index */
export async function writeExplanations(
  reader: IndexReader,
  rows: readonly ExplanationRow[],
  run: ExplanationsRun,
  definitions: Readonly<Record<string, string>>,
): Promise<ExplanationsManifest> {
  const before = await readExplanations(reader, false);
  const path = join(reader.folder, EXPLANATIONS_FILE);
  const temporary = temporaryName(path);
  const database = await Database.open({ folder: reader.folder, memoryBytes: MEMORY_BYTES });
  let nRows: number;
  try {
    await fillTable(database, rows);
    if (before !== null && (await statIfPresent(path)) !== null)
      await database.run(
        `INSERT INTO rows BY NAME SELECT * FROM read_parquet(${quoted(path)}) AS old ANTI JOIN rows USING (${KEYS})`,
      );
    await database.writeParquet(`SELECT * FROM rows ORDER BY ${KEYS}`, temporary);
    nRows = Number((await database.rows("SELECT count(*)::INTEGER AS n FROM rows"))[0].n);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    database.close();
  }
  const { size } = await stat(temporary);
  const sha256 = await hashFile(temporary);
  await rename(temporary, path);
  await syncFolder(reader.folder);
  const others = (before?.runs ?? []).filter(
    ({ method, model }) => method !== run.method || model !== run.model,
  );
  const manifest: ExplanationsManifest = {
    format: "lapidary-explanations",
    version: 1,
    index: reader.hash,
    file: { name: EXPLANATIONS_FILE, bytes: size, sha256, nRows },
    definitions,
    runs: [...others, run].sort((a, b) => (`${a.method} ${a.model}` < `${b.method} ${b.model}` ? -1 : 1)),
  };
  await writeJson(join(reader.folder, EXPLANATIONS_MANIFEST), manifest);
  return manifest;
}

async function fillTable(database: Database, rows: readonly ExplanationRow[]): Promise<void> {
  await database.createTable("rows", EXPLANATIONS.columns);
  for (let from = 0; from < rows.length; from += CHUNK_ROWS) {
    const chunk = rows.slice(from, from + CHUNK_ROWS);
    const cells = EXPLANATIONS.columns.map(({ name }) => chunk.map((row) => row[name] ?? null));
    await database.append("rows", cells);
  }
}
