/**
 * A latent index of a made-up world whose rules are known: documents of words, and latents that fire on a word. Written
 * through the same database and tables as a real one.
 */
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Database } from "../../src/dashboard/database.ts";
import type { IndexManifest } from "../../src/dashboard/manifest.ts";
import { INTERVALS, TABLES, type TableName } from "../../src/dashboard/tables.ts";
import type { Piece } from "../../src/explain/silence.ts";
import { Philox } from "../../src/random/philox.ts";
import { hashFile } from "../../src/storage/hash.ts";

const FILLERS = "one the of and river green seven under chair paper walk open slow bright left round".split(
  " ",
);
const WORDS = "apple bank cedar delta ember flint grape hazel ivory jade kelp lemon".split(" ");
const N_DOCUMENTS = 160;
const WINDOW_TOKENS = 60;
const TOP_EXAMPLES = 20;
const PER_INTERVAL = 5;
const BEFORE = 20;
const AFTER = 11;

/** Documents (each a window of its own) as words. */
const documents: readonly (readonly string[])[] = Array.from({ length: N_DOCUMENTS }, (_, d) => {
  const draw = new Philox(7, `world/${d}`);
  const words = Array.from(
    { length: WINDOW_TOKENS },
    (_, p) => FILLERS[Math.floor(draw.uniform(p) * FILLERS.length)],
  );
  const put = (word: string, at: number) => {
    words[at % WINDOW_TOKENS] = word;
  };
  // each word in two of twelve documents, far enough apart not to share a context; twins in three of four
  put(WORDS[d % 12], 5 + Math.floor(draw.uniform(100) * 5));
  put(WORDS[(d + 3 + Math.floor(d / 12)) % 12], 45 + Math.floor(draw.uniform(101) * 10));
  if (d < 40) put("twin", 26);
  if (d < 3) put("oddity", 28);
  return words;
});

/** Latents of the made-up world. */
export const WORLD = {
  /** 0 … 11 fire on a word each, wherever it stands; all their activations fit into an index */
  words: WORDS,
  /** fires on "the": everywhere, so that an index cannot show all of it */
  common: 12,
  /** fire on "twin": one in even documents, the other in odd ones */
  evenTwin: 13,
  oddTwin: 14,
  /** never fires */
  dead: 15,
  /** fires in three documents */
  rare: 16,
  nLatents: 17,
  /** as words */
  documents,
} as const;

/** The planted rule. */
function activation(latent: number, document: number, position: number): number {
  const word = documents[document][position];
  const fires =
    latent < 12
      ? word === WORDS[latent]
      : latent === WORLD.common
        ? word === "the"
        : latent === WORLD.evenTwin
          ? word === "twin" && document % 2 === 0
          : latent === WORLD.oddTwin
            ? word === "twin" && document % 2 === 1
            : latent === WORLD.rare && word === "oddity";
  return fires ? 0.5 + 9.5 * new Philox(3, `act/${latent}`).uniform(document * WINDOW_TOKENS + position) : 0;
}

/** Whether the latent is silent on a piece; the truth. */
export function isSilent(latent: number, { window, from, to }: Piece): boolean {
  for (let position = from; position < to; position++)
    if (activation(latent, window, position) > 0) return false;
  return true;
}

interface Firing {
  readonly document: number;
  readonly position: number;
  readonly value: number;
}

/** Writes the index into `folder`. `seed` changes its manifest's hash and nothing else. */
export async function writeMadeUpIndex(folder: string, seed = 0): Promise<void> {
  await mkdir(folder, { recursive: true });
  const database = await Database.open({ folder, memoryBytes: 256 * 2 ** 20 });
  for (const [name, { columns }] of Object.entries(TABLES)) await database.createTable(name, columns);
  for (let latent = 0; latent < WORLD.nLatents; latent++) await addLatent(database, latent);
  const files: Partial<Record<TableName, { name: string; bytes: number; sha256: string; nRows: number }>> =
    {};
  for (const [name, { file }] of Object.entries(TABLES)) {
    await database.writeParquet(`SELECT * FROM "${name}" ORDER BY latent`, `${file}.new`);
    await rename(join(folder, `${file}.new`), join(folder, file));
    const [{ n }] = await database.rows(`SELECT count(*)::INTEGER AS n FROM "${name}"`);
    const path = join(folder, file);
    files[name as TableName] = {
      name: file,
      bytes: (await stat(path)).size,
      sha256: await hashFile(path),
      nRows: Number(n),
    };
  }
  database.close();
  const manifest: IndexManifest = {
    format: "lapidary-index",
    version: 1,
    sae: {
      name: "made up",
      hash: "0".repeat(64),
      architecture: "jumprelu",
      dIn: 4,
      dSae: WORLD.nLatents,
      widths: [8, WORLD.nLatents],
      hookName: "blocks.0.hook_resid_post",
    },
    data: {
      model: "made up",
      sets: ["text"],
      nTokens: N_DOCUMENTS * WINDOW_TOKENS,
      nDocuments: N_DOCUMENTS,
      hash: "1".repeat(64),
    },
    splits: { role: [], source: [], position: [] },
    logits: { vocabSize: 30, finalNorm: false },
    base: null,
    options: {
      topExamples: TOP_EXAMPLES,
      examplesPerInterval: PER_INTERVAL,
      tokensBefore: BEFORE,
      tokensAfter: AFTER,
      seed,
    },
    software: {},
    files: files as IndexManifest["files"],
  };
  await writeFile(join(folder, "index.json"), JSON.stringify(manifest));
}

async function addLatent(database: Database, latent: number): Promise<void> {
  const firings = documents
    .flatMap((words, document) =>
      words.map(
        (_, position): Firing => ({ document, position, value: activation(latent, document, position) }),
      ),
    )
    .filter(({ value }) => value > 0)
    .sort((a, b) => b.value - a.value);
  const density = firings.length / (N_DOCUMENTS * WINDOW_TOKENS);
  const label = latent < 12 ? `" ${WORDS[latent]}"` : "";
  await database.run(
    `INSERT INTO latents BY NAME SELECT ${latent} AS latent, ${latent < 8 ? 0 : 1} AS level, ${firings.length} AS n_active,
      ${new Set(firings.map(({ document }) => document)).size} AS n_documents, ${density} AS density,
      ${firings[0]?.value ?? "NULL"} AS max_act, 1 AS decoder_norm, 1 AS encoder_norm, 0 AS b_enc, $1 AS label, $2 AS label_kind`,
    [label, label === "" ? "none" : "token"],
  );
  await database.run(`INSERT INTO histograms VALUES (${latent}, [], NULL, [0, 0, 0, 0, 0])`); // not asked for here
  const insert = `INSERT INTO examples SELECT ${latent}, $1, $2, $3, $4, $5, $6, 0, 0, $7, $8, $9`;
  let rank = 0;
  for (const [interval, { document, position, value }] of examplesOf(firings)) {
    const from = Math.max(0, position - BEFORE);
    const to = Math.min(WINDOW_TOKENS, position + AFTER + 1);
    const tokens = documents[document].slice(from, to).map((word) => ` ${word}`);
    const acts = tokens.map((_, t) => activation(latent, document, from + t));
    await database.run(insert.replace("$8, $9", `${sqlList(tokens)}, ${sqlList(acts)}`), [
      rank++,
      interval,
      value,
      document,
      document,
      position,
      position - from,
    ]);
  }
  const near =
    latent === WORLD.evenTwin
      ? [14]
      : latent === WORLD.oddTwin
        ? [13]
        : [(latent + 1) % 12, (latent + 11) % 12];
  for (const [rank, other] of near.entries())
    await database.run(
      `INSERT INTO neighbours BY NAME SELECT ${latent} AS latent, 'decoder' AS kind, ${rank} AS rank, ${other} AS other, 0.9 AS value`,
    );
  for (const side of ["top", "bottom"])
    await database.run(
      `INSERT INTO logits SELECT ${latent}, '${side}', 0, ${latent}, ' ${side}-${latent}', ${side === "top" ? 1 : -1}`,
    );
}

/** The largest, one a document; then some of each interval of (0, max], the highest first. */
function examplesOf(firings: readonly Firing[]): (readonly [number, Firing])[] {
  if (firings.length === 0) return [];
  const seen = new Set<number>();
  const top = firings
    .filter(({ document }) => !seen.has(document) && seen.add(document))
    .slice(0, TOP_EXAMPLES);
  const sampled = Array.from({ length: INTERVALS }, (_, i) => INTERVALS - 1 - i).flatMap((interval) =>
    firings
      .filter(({ value }) => Math.ceil((value / firings[0].value) * INTERVALS) - 1 === interval)
      .slice(0, PER_INTERVAL)
      .map((firing) => [interval, firing] as const),
  );
  return [...top.map((firing) => [-1, firing] as const), ...sampled];
}

function sqlList(values: readonly (string | number)[]): string {
  return `[${values.map((value) => (typeof value === "string" ? `'${value}'` : String(value))).join(", ")}]`;
}
