/** A latent's page is read without the rest: of every table a row group or two, far below 1 MB. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { buildIndex } from "../../src/dashboard/build.ts";
import { openIndex } from "../../src/dashboard/open-index.ts";
import { pageBytes } from "../../src/dashboard/page-bytes.ts";
import { ROW_GROUP_ROWS } from "../../src/dashboard/tables.ts";
import { madeUpOptions, madeUpSae, madeUpTokens } from "./made-up-index.ts";

it("reads of 300 latents' examples the row groups of one latent", async () => {
  const root = await mkdtemp(join(tmpdir(), "lapidary-page-"));
  const dir = join(root, "index");
  const tokens = madeUpTokens(8, { nWindows: 60, contextSize: 64 });
  const manifest = await buildIndex({
    ...madeUpOptions(dir, madeUpSae(8, 300), tokens),
    examples: { topExamples: 20, examplesPerInterval: 5, tokensBefore: 32, tokensAfter: 31, seed: 0 },
  });
  const { examples } = manifest.files;
  expect(examples.nRows).toBeGreaterThan(4 * ROW_GROUP_ROWS);
  const page = await pageBytes(dir);
  expect(page.most).toBeLessThan(1e6);
  expect(page.mostOf.examples).toBeLessThan(examples.bytes / 2);
  // what DuckDB says of the row groups agrees: a latent's rows lie in one or two
  const index = await openIndex(dir);
  const [{ groups }] = await index.rows(
    `SELECT max(n)::INTEGER AS groups FROM (SELECT count(DISTINCT row // ${ROW_GROUP_ROWS}) AS n
     FROM (SELECT latent, row_number() OVER () - 1 AS row FROM examples) GROUP BY latent)`,
  );
  expect(groups).toBe(2);
  index.close();
  await rm(root, { recursive: true });
});
