/**
 * How many bytes a reader of one latent's page fetches: of every table the row groups whose statistics of `latent` cover it.
 * Beside them each file's footer, which is read once for all pages.
 */
import { join, resolve } from "node:path";
import { Database, quoted } from "./database.ts";
import { readIndexManifest } from "./index-manifest.ts";
import { TABLES, type TableName } from "./tables.ts";

export interface PageBytes {
  /** largest of all latents, all tables together */
  readonly most: number;
  readonly mean: number;
  /** largest of all latents, by table */
  readonly mostOf: Readonly<Record<TableName, number>>;
  /** of all files together */
  readonly footers: number;
}

export async function pageBytes(dir: string): Promise<PageBytes> {
  const { sae } = await readIndexManifest(dir);
  const database = await Database.open({ folder: dir, memoryBytes: 256 * 2 ** 20 });
  try {
    const all = new Float64Array(sae.dSae);
    const mostOf: Partial<Record<TableName, number>> = {};
    let footers = 0;
    for (const name of Object.keys(TABLES) as TableName[]) {
      const path = quoted(join(resolve(dir), TABLES[name].file));
      const [{ bytes }] = await database.rows(
        `SELECT footer_size::DOUBLE AS bytes FROM parquet_file_metadata(${path})`,
      );
      footers += bytes as number;
      const groups = await database.rows(
        `SELECT row_group_id, sum(total_compressed_size)::DOUBLE AS bytes,
                max(CASE WHEN path_in_schema = 'latent' THEN stats_min_value::INTEGER END) AS first,
                max(CASE WHEN path_in_schema = 'latent' THEN stats_max_value::INTEGER END) AS last
         FROM parquet_metadata(${path}) GROUP BY row_group_id`,
      );
      const own = new Float64Array(sae.dSae);
      for (const group of groups)
        if (group.first !== null)
          for (let i = group.first as number; i <= (group.last as number); i++)
            own[i] += group.bytes as number;
      mostOf[name] = own.reduce((a, b) => Math.max(a, b), 0);
      for (const [i, n] of own.entries()) all[i] += n;
    }
    return {
      most: all.reduce((a, b) => Math.max(a, b), 0),
      mean: all.reduce((a, b) => a + b, 0) / all.length,
      mostOf: mostOf as Record<TableName, number>,
      footers,
    };
  } finally {
    database.close();
  }
}
