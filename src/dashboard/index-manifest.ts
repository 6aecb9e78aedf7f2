/** Reads `index.json`, checked field by field: everything after trusts it. */
import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../errors.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { readJson } from "../storage/json.ts";
import type { IndexManifest } from "./manifest.ts";
import { TABLES, type TableName } from "./tables.ts";

export const INDEX_MANIFEST = "index.json";

const MAX_D_SAE = 1 << 26;
const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const width = z.number().int().positive().max(MAX_D_SAE);
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const classes = z.array(z.strictObject({ name: z.string(), nTokens: count })).max(256);

function fileOf(table: TableName) {
  return z.object({ name: z.literal(TABLES[table].file), bytes: count, sha256: hash, nRows: count });
}

const schema = z.object({
  format: z.literal("lapidary-index"),
  version: z.literal(1),
  sae: z.object({
    name: z.string(),
    hash,
    architecture: z.string(),
    dIn: width,
    dSae: width,
    widths: z.array(width).min(1).max(64),
    hookName: z.string().nullable(),
  }),
  data: z.object({
    model: z.string().nullable(),
    sets: z.array(z.string()),
    nTokens: count,
    nDocuments: count,
    hash,
  }),
  splits: z.object({ role: classes, source: classes, position: classes }),
  logits: z.object({ vocabSize: count, finalNorm: z.boolean() }).nullable(),
  base: z.object({ name: z.string(), hash, index: z.string().nullable() }).nullable(),
  options: z.object({
    topExamples: count,
    examplesPerInterval: count,
    tokensBefore: count,
    tokensAfter: count,
    seed: count,
  }),
  software: z.record(z.string(), z.string()),
  files: z.object({
    latents: fileOf("latents"),
    histograms: fileOf("histograms"),
    examples: fileOf("examples"),
    logits: fileOf("logits"),
    neighbours: fileOf("neighbours"),
    splits: fileOf("splits"),
  }),
});

/** @throws {FormatError} there is none, it is not one, or a file it names is absent or of another size */
export async function readIndexManifest(dir: string): Promise<IndexManifest> {
  const path = join(dir, INDEX_MANIFEST);
  const parsed = schema.safeParse(
    await readJson(path, { absent: "name the folder of an index: lapidary index writes one" }),
  );
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(path, `not a latent index: ${issue.path.join(".")}: ${issue.message}`, {
      hint: "build it again: lapidary index … --overwrite",
    });
  }
  const manifest: IndexManifest = parsed.data;
  for (const { name, bytes } of Object.values(manifest.files)) {
    const size = (await statIfPresent(join(dir, name)))?.size;
    if (size !== bytes)
      throw new FormatError(
        join(dir, name),
        size === undefined
          ? "no such file, but index.json names it"
          : `${size} bytes, index.json says ${bytes}`,
        { hint: "build the index again: lapidary index … --overwrite" },
      );
  }
  return manifest;
}
