/** A small latent index written from numbers that a test knows: 600 latents, some of which never fire. */
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { Database, quoted } from "../../src/dashboard/database.ts";
import type { IndexedFile, IndexManifest } from "../../src/dashboard/manifest.ts";
import { HISTOGRAM_BINS, INTERVALS, TABLES, type TableName } from "../../src/dashboard/tables.ts";
import { Philox } from "../../src/random/philox.ts";
import { writeJson } from "../../src/storage/atomic.ts";

export const TINY = {
  dIn: 8,
  dSae: 600,
  nTokens: 5000,
  nDocuments: 40,
  vocabSize: 90,
  topExamples: 3,
} as const;
/** A block of latents that never fire, and with it a whole file of an export. */
export const SILENT = [256, 512] as const;

export interface TinyExample {
  readonly interval: number;
  readonly value: number;
  readonly at: number;
  readonly tokens: readonly string[];
  readonly acts: readonly number[];
}

export interface TinyLatent {
  readonly latent: number;
  /** its activations on the tokens on which it fires */
  readonly acts: readonly number[];
  readonly examples: readonly TinyExample[];
  readonly logits: Float32Array;
  /** other, correlation, cosine */
  readonly firing: readonly (readonly [number, number, number])[];
  readonly decoder: readonly (readonly [number, number])[];
}

export interface TinyIndex {
  readonly dir: string;
  readonly manifest: IndexManifest;
  readonly latents: readonly TinyLatent[];
  /** [dSae, dIn] */
  readonly wDec: Float32Array;
}

const WORDS = [" the", " of", "\n", "", "null\u0000", "\\u0000", "“é”", "▁x", " bank", "\\xE2"];

function makeLatent(latent: number): TinyLatent {
  const random = new Philox(latent, "tiny index");
  const isSilent = latent % 7 === 3 || (latent >= SILENT[0] && latent < SILENT[1]);
  const n = isSilent ? 0 : 1 + (latent % 40);
  const acts = Array.from({ length: n }, (_, i) => Math.fround(0.01 + 9 * random.uniform(i) ** 2));
  const max = Math.max(...acts);
  const intervalOf = (value: number) => Math.ceil((value / max) * INTERVALS) - 1;
  const descending = [...acts].sort((a, b) => b - a);
  const chosen = [
    ...descending.slice(0, TINY.topExamples).map((value) => ({ interval: -1, value })),
    ...descending
      .filter((value, i) => i === 0 || intervalOf(value) !== intervalOf(descending[i - 1]))
      .map((value) => ({ interval: intervalOf(value), value })),
  ];
  const examples = chosen.map(({ interval, value }, rank) => {
    const length = 4 + (rank % 3);
    const at = (latent + rank) % length;
    return {
      interval,
      value,
      at,
      tokens: Array.from({ length }, (_, i) => WORDS[(latent + rank * 3 + i) % WORDS.length]),
      acts: Array.from({ length }, (_, i) => (i === at ? value : i === at - 1 ? Math.fround(value / 3) : 0)),
    };
  });
  return {
    latent,
    acts,
    examples,
    logits: Float32Array.from({ length: TINY.vocabSize }, (_, i) => random.normal(1000 + i)),
    firing: Array.from({ length: isSilent ? 0 : 4 }, (_, i) => [
      (latent + i + 1) % TINY.dSae,
      Math.fround(0.9 / (i + 1)),
      Math.fround(0.95 / (i + 1)),
    ]),
    decoder: Array.from({ length: 2 }, (_, i) => [(latent + 5 + i) % TINY.dSae, Math.fround(0.7 - i / 4)]),
  };
}

/** Counts by equal bins of [min, max]; the largest in the last. */
export function countsOf(values: ArrayLike<number>, bins: number, min: number, max: number): number[] {
  const counts = Array<number>(bins).fill(0);
  for (const value of Array.from(values))
    counts[value === max ? bins - 1 : Math.min(bins - 1, Math.floor(((value - min) / (max - min)) * bins))]++;
  return counts;
}

/** Writes the index to `dir`. */
export async function writeTinyIndex(dir: string): Promise<TinyIndex> {
  const latents = Array.from({ length: TINY.dSae }, (_, latent) => makeLatent(latent));
  const random = new Philox(9, "tiny decoder");
  const wDec = Float32Array.from({ length: TINY.dSae * TINY.dIn }, (_, i) => random.normal(i));
  const rows: Record<TableName, unknown[][]> = {
    latents: latents.map(latentRow),
    histograms: latents.map(({ latent, acts, logits }) => [
      latent,
      acts.length === 0 ? [] : countsOf(acts, HISTOGRAM_BINS, Math.min(...acts), Math.max(...acts)),
      countsOf(logits, HISTOGRAM_BINS, Math.min(...logits), Math.max(...logits)),
      Array.from(
        { length: INTERVALS },
        (_, i) => acts.filter((value) => Math.ceil((value / Math.max(...acts)) * INTERVALS) - 1 === i).length,
      ),
    ]),
    examples: latents.flatMap(({ latent, examples }) =>
      examples.map(({ interval, value, at, tokens, acts }, rank) => [
        latent,
        rank,
        interval,
        value,
        rank,
        rank,
        at + 1,
        0,
        0,
        at,
        tokens,
        acts,
      ]),
    ),
    logits: latents.flatMap(({ latent, logits }) => {
      const order = Array.from(logits, (value, id) => ({ value, id })).sort((a, b) => b.value - a.value);
      const side = (name: string, list: typeof order) =>
        list.map(({ value, id }, rank) => [latent, name, rank, id, `token ${id}`, value]);
      return [
        ...side("top", order.slice(0, 10)),
        ...side("bottom", order.slice(-10).reverse()),
      ] as unknown[][];
    }),
    neighbours: latents.flatMap(({ latent, firing, decoder }) => [
      ...decoder.map(([other, value], rank) => [latent, "decoder", rank, other, value, null, null, null]),
      ...firing.map(([other, value, cosine], rank) => [latent, "firing", rank, other, value, cosine, 5, 0.5]),
    ]),
    splits: [],
  };
  const database = await Database.open({ folder: dir, memoryBytes: 256 * 2 ** 20, threads: 1 });
  const files: Partial<Record<TableName, IndexedFile>> = {};
  for (const [name, { file, columns }] of Object.entries(TABLES) as [
    TableName,
    (typeof TABLES)[TableName],
  ][]) {
    await database.createTable(name, columns);
    for (let from = 0; from < rows[name].length; from += 500) {
      const some = rows[name].slice(from, from + 500).map((row) => `(${row.map(literal).join(", ")})`);
      await database.run(`INSERT INTO "${name}" VALUES ${some.join(", ")}`);
    }
    await database.writeParquet(`SELECT * FROM "${name}"`, `${file}.tmp`);
    await rename(join(dir, `${file}.tmp`), join(dir, file));
    files[name] = { name: file, bytes: 0, sha256: "0".repeat(64), nRows: rows[name].length };
  }
  database.close();
  const manifest: IndexManifest = {
    format: "lapidary-index",
    version: 1,
    sae: {
      name: "tiny",
      hash: "1".repeat(64),
      architecture: "jumprelu",
      dIn: TINY.dIn,
      dSae: TINY.dSae,
      widths: [TINY.dSae],
      hookName: "blocks.4.hook_resid_post",
    },
    data: {
      model: "tiny-model",
      sets: ["heldout"],
      nTokens: TINY.nTokens,
      nDocuments: TINY.nDocuments,
      hash: "2".repeat(64),
    },
    splits: { role: [], source: [], position: [] },
    logits: { vocabSize: TINY.vocabSize, finalNorm: false },
    base: null,
    options: {
      topExamples: TINY.topExamples,
      examplesPerInterval: 1,
      tokensBefore: 5,
      tokensAfter: 5,
      seed: 0,
    },
    software: {},
    files: files as IndexManifest["files"],
  };
  await writeJson(join(dir, "index.json"), manifest);
  return { dir, manifest, latents, wDec };
}

function latentRow({ latent, acts, logits }: TinyLatent): unknown[] {
  const mean = (values: ArrayLike<number>) =>
    Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
  const values: Record<string, unknown> = {
    latent,
    level: 0,
    n_active: acts.length,
    n_documents: Math.min(acts.length, TINY.nDocuments),
    density: acts.length / TINY.nTokens,
    min_act: acts.length === 0 ? null : Math.min(...acts),
    max_act: acts.length === 0 ? null : Math.max(...acts),
    mean_act: acts.length === 0 ? null : mean(acts),
    decoder_norm: 1,
    encoder_norm: 1,
    b_enc: 0,
    logit_min: Math.min(...logits),
    logit_max: Math.max(...logits),
    logit_mean: mean(logits),
    logit_std: 1,
    label: "",
    label_kind: "none",
  };
  return TABLES.latents.columns.map(({ name }) => values[name] ?? null);
}

/** A literal of SQL. Text goes through its bytes: DuckDB's lexer ends at U+0000. */
function literal(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  // 0.1 would be read as a decimal, and rounded twice; with an exponent it is a double
  if (typeof value === "number" && !Number.isInteger(value)) return value.toExponential();
  if (typeof value !== "string") return String(value);
  return value.includes("\u0000")
    ? value
        .split("\u0000")
        .map((part) => quoted(part))
        .join(" || chr(0) || ")
    : quoted(value);
}
