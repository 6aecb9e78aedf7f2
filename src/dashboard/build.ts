/**
 * Builds a latent index: one SAE on one data. Every token is encoded once; from then on its activations are enough. They are
 * sorted by latent a block at a time, and what is to be known of a latent is computed from all of its activations at once.
 *
 * The folder is whole or absent: it is filled under another name, `index.json` last, and renamed. Results are the same for
 * any budget, chunk size and number of threads.
 */
import { mkdir, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { nearestOthers } from "../evals/latents/nearest-rows.ts";
import { saeIdentity } from "../evals/result.ts";
import { ahead } from "../evals/token-source.ts";
import type { EngineFactory } from "../kernels/kernels.ts";
import { openInference } from "../sae/inference.ts";
import type { Sae } from "../sae/sae.ts";
import { writeJson } from "../storage/atomic.ts";
import { hashFile } from "../storage/hash.ts";
import { writeFolder } from "../storage/whole-folder.ts";
import { Database, TEMPORARY_FOLDER } from "./database.ts";
import { Entries } from "./entries/entries.ts";
import { actsOf, blocksOf, sortBlock } from "./entries/sorted-block.ts";
import { LatentTotals } from "./entries/totals.ts";
import { chooseExamples } from "./examples/choose-examples.ts";
import { INDEX_MANIFEST } from "./index-manifest.ts";
import type { IndexBudget } from "./index-plan.ts";
import type { IndexedTokens, Label } from "./labels/labels.ts";
import { type KnownLatents, LatentRows } from "./latent-rows.ts";
import { driftOf, weightScalars } from "./latent-weights.ts";
import type { LatentLogits, LogitLens } from "./logits/logits.ts";
import type { IndexedFile, IndexManifest } from "./manifest.ts";
import { firingNeighbours } from "./neighbours/firing-together.ts";
import { StatisticsReader } from "./statistics/latent-statistics.ts";
import { TABLES, type TableName } from "./tables.ts";
import type { IndexedSet } from "./tokens/indexed-set.ts";
import { TokenTable } from "./tokens/token-table.ts";

/** What explaining adds to an index. */
export const EXPLANATIONS_FILE = "explanations.parquet";

/** Neighbours of each kind. */
export const NEIGHBOURS = 10;

/** Labels a latent from all its activations: `tokens` and `values` [n], rows ascending. */
export type Labeller = (
  acts: { readonly latent: number; readonly tokens: Uint32Array; readonly values: Float32Array },
  logits: LatentLogits | null,
) => Label;

/** The SAE that this one was trained from. */
export interface BaseSae {
  readonly name: string;
  readonly hash: string;
  /** folder of its index on the same tokens, relative or for people; null: none */
  readonly index: string | null;
  /** [dSae] densities there; null: no index */
  readonly density: Float64Array | null;
  /** loaded for the time it takes to compare; null: only its densities are known */
  readonly load: (() => Promise<Sae>) | null;
}

export interface BuildOptions extends Pick<KnownLatents, "examples" | "textOf" | "training"> {
  readonly dir: string;
  readonly sae: Sae;
  readonly saeName: string;
  /** matryoshka widths; default [dSae] */
  readonly widths?: readonly number[];
  readonly modelName: string | null;
  readonly sets: readonly IndexedSet[];
  /** hash of what decides the rows */
  readonly dataHash: string;
  readonly base: BaseSae | null;
  readonly lens: LogitLens | null;
  /** null: latents get no labels */
  readonly openLabeller: ((tokens: IndexedTokens) => Labeller) | null;
  readonly budget: IndexBudget;
  readonly software: Readonly<Record<string, string>>;
  readonly createEngine: EngineFactory;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: BuildProgress) => void;
}

export interface BuildProgress {
  readonly stage: "encode" | "neighbours" | "latents" | "tables";
  readonly done: number;
  readonly total: number;
  readonly unit: "tokens" | "latents" | "tables";
}

/** Latents whose logits are asked for at once. */
const LENS_ROWS = 256;
const SCRATCH = "scratch";

/** Replaces a finished index in `dir`, and nothing else that might lie there. */
export async function buildIndex(options: BuildOptions): Promise<IndexManifest> {
  const names = [...Object.values(TABLES).map(({ file }) => file), INDEX_MANIFEST, EXPLANATIONS_FILE];
  return writeFolder(options.dir, { what: "a latent index", names }, (folder) => fill(folder, options));
}

async function fill(folder: string, options: BuildOptions): Promise<IndexManifest> {
  const scratch = join(folder, SCRATCH);
  await mkdir(scratch, { recursive: true });
  const encoded = await encodeAll(scratch, options);
  const nRows = await writeTables(folder, encoded, options);
  await rm(scratch, { recursive: true });
  const files: Partial<Record<TableName, IndexedFile>> = {};
  for (const name of Object.keys(TABLES) as TableName[])
    files[name] = await settleFile(folder, TABLES[name].file, nRows[name]);
  const manifest = manifestOf(encoded.table, files as IndexManifest["files"], options);
  await writeJson(join(folder, INDEX_MANIFEST), manifest);
  return manifest;
}

/** What the encoding pass leaves. */
interface Encoded {
  readonly table: TokenTable;
  readonly entries: Entries;
  readonly totals: LatentTotals;
}

async function encodeAll(scratch: string, options: BuildOptions): Promise<Encoded> {
  const { sae, sets, budget, createEngine, threads, signal, onProgress } = options;
  const { dSae } = sae.config;
  const table = new TokenTable(sets);
  const entries = new Entries(dSae, scratch, budget.entries);
  const totals = new LatentTotals(dSae);
  const inference = await openInference(sae, createEngine, threads === undefined ? {} : { threads });
  let done = 0;
  try {
    for (const [set, { tokens }] of sets.entries())
      for await (const { rows, made } of ahead(tokens.chunks(), (x) => inference.encode(x))) {
        signal?.throwIfAborted();
        table.add(set, rows);
        totals.add(made);
        await entries.append(made);
        done += rows.nRows;
        onProgress?.({ stage: "encode", done, total: table.nTokens, unit: "tokens" });
      }
  } finally {
    await inference.dispose();
  }
  await entries.finish();
  await table.readTexts();
  return { table, entries, totals };
}

/** Returns the rows of each table. */
async function writeTables(
  folder: string,
  { table, entries, totals }: Encoded,
  options: BuildOptions,
): Promise<Record<TableName, number>> {
  const { sae, base, budget, lens, signal, onProgress } = options;
  const { dSae } = sae.config;
  const { wDec } = sae.weights;
  const dOut = wDec.length / dSae;
  const near = await decoderNeighbours(options);
  const database = await Database.open({
    folder,
    memoryBytes: budget.databaseBytes,
    ...(options.threads === undefined ? {} : { threads: options.threads }),
  });
  try {
    const known = {
      sae,
      weights: weightScalars(sae),
      drift: base?.load == null ? null : driftOf(sae, await base.load()),
      baseDensity: base?.density ?? null,
      widths: options.widths ?? [dSae],
      training: options.training,
      table,
      textOf: options.textOf,
      examples: options.examples,
    };
    const rows = await LatentRows.open(database, known, budget.partValues);
    const labeller = options.openLabeller?.(table.forLabels()) ?? null;
    const statistics = new StatisticsReader(table);
    for (const range of blocksOf(totals.count, budget.blockEntries)) {
      const block = await sortBlock(entries, totals.count, range);
      const firing = firingNeighbours(block, entries, totals, table.nTokens, {
        k: NEIGHBOURS,
        sumsBytes: budget.sumsBytes,
      });
      let logits: readonly LatentLogits[] = [];
      for (let latent = block.from; latent < block.to; latent++) {
        signal?.throwIfAborted();
        const place = (latent - block.from) % LENS_ROWS;
        if (lens !== null && place === 0) {
          const last = Math.min(block.to, latent + LENS_ROWS);
          logits = await lens.logitsOf(wDec.subarray(latent * dOut, last * dOut));
        }
        const acts = actsOf(block, latent);
        const own = logits[place] ?? null;
        const together = await firing.next();
        await rows.add({
          acts,
          statistics: statistics.of(acts),
          examples: chooseExamples(acts, table.document, options.examples),
          logits: own,
          label: labeller?.(acts, own) ?? NO_LABEL,
          decoder: {
            index: near.index.subarray(latent * NEIGHBOURS, (latent + 1) * NEIGHBOURS),
            cosine: near.cosine.subarray(latent * NEIGHBOURS, (latent + 1) * NEIGHBOURS),
          },
          firing: together.value ?? [],
        });
        onProgress?.({ stage: "latents", done: latent + 1, total: dSae, unit: "latents" });
      }
    }
    return await rows.finish((done, total) => onProgress?.({ stage: "tables", done, total, unit: "tables" }));
  } finally {
    database.close();
    await rm(join(folder, TEMPORARY_FOLDER), { recursive: true, force: true });
  }
}

const NO_LABEL: Label = { text: "", kind: "none", precision: null, recall: null };

function decoderNeighbours({ sae, createEngine, threads, signal, onProgress }: BuildOptions) {
  const { wDec } = sae.weights;
  return nearestOthers(
    wDec,
    wDec.length / sae.config.dSae,
    {
      createEngine,
      ...(threads === undefined ? {} : { threads }),
      ...(signal === undefined ? {} : { signal }),
      onProgress: ({ done, total }) => onProgress?.({ stage: "neighbours", done, total, unit: "latents" }),
    },
    NEIGHBOURS,
  );
}

/** A table's file as the manifest names it, its bytes on the disk for certain. */
async function settleFile(folder: string, name: string, nRows: number): Promise<IndexedFile> {
  const path = join(folder, name);
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  return { name, bytes: (await stat(path)).size, sha256: await hashFile(path), nRows };
}

function manifestOf(table: TokenTable, files: IndexManifest["files"], options: BuildOptions): IndexManifest {
  const { sae, base, lens } = options;
  const { hash, architecture, dIn, dSae, hookName } = saeIdentity(sae);
  return {
    format: "lapidary-index",
    version: 1,
    sae: {
      name: options.saeName,
      hash,
      architecture,
      dIn,
      dSae,
      widths: options.widths ?? [dSae],
      hookName,
    },
    data: {
      model: options.modelName,
      sets: options.sets.map(({ tokens }) => tokens.set),
      nTokens: table.nTokens,
      nDocuments: table.nDocuments,
      hash: options.dataHash,
    },
    splits: table.splits,
    logits: lens === null ? null : { vocabSize: lens.vocabSize, finalNorm: lens.finalNorm },
    base: base === null ? null : { name: base.name, hash: base.hash, index: base.index },
    options: options.examples,
    software: options.software,
    files,
  };
}
