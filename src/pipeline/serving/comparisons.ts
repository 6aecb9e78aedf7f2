/**
 * Pairs of indexes whose latents are matched: a layer before and after, and equal layers of two runs. Matches lie in the
 * first one's run, under a hash of what they were made from, so they are made once.
 */
import { rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { Database } from "../../dashboard/database.ts";
import { MATCH_COLUMNS } from "../../dashboard/site.ts";
import { TableWriter } from "../../dashboard/table-writer.ts";
import { rowCosines } from "../../evals/latents/cosines.ts";
import { nearestRows } from "../../evals/latents/nearest-rows.ts";
import { temporaryName } from "../../storage/atomic.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { hashValue } from "../../storage/hash.ts";
import type { RunContext } from "../context.ts";
import { densitiesOf } from "../indexing/describe.ts";
import type { ServedIndex } from "./served.ts";

/** Two indexes and the file that says what became of a's latents in b. */
export interface Matches {
  readonly a: ServedIndex;
  readonly b: ServedIndex;
  readonly file: string;
}

type OfRun = ServedIndex & { readonly of: NonNullable<ServedIndex["of"]> };

const VERSION = 1;
const MEMORY_BYTES = 256 * 2 ** 20;

/** Before and after of a layer; the final SAEs of equal layers, of every two runs. */
export function pairsOf(indexes: readonly ServedIndex[]): [OfRun, OfRun][] {
  const ofRuns = indexes.filter((index): index is OfRun => index.of !== null);
  const pairs: [OfRun, OfRun][] = [];
  for (const [i, index] of ofRuns.entries()) {
    if (index.entry.phase !== "after") continue;
    const { base, layer, run } = index.entry;
    const before = ofRuns.find(({ entry }) => entry.id === base);
    if (before !== undefined) pairs.push([before, index]);
    for (const other of ofRuns.slice(i + 1))
      if (
        other.entry.phase === "after" &&
        other.entry.layer === layer &&
        other.entry.run !== run &&
        other.manifest.sae.dIn === index.manifest.sae.dIn
      )
        pairs.push([index, other]);
  }
  return pairs;
}

/**
 * The matches of every pair; what is not there yet is made, unless `isMaking` is false.
 * @throws {StateError} an SAE is not the one that was indexed  @throws the signal's reason when aborted
 */
export async function matchPairs(
  pairs: readonly (readonly [OfRun, OfRun])[],
  { isMaking, threads }: { readonly isMaking: boolean; readonly threads?: number },
): Promise<Matches[]> {
  const matches: Matches[] = [];
  for (const [a, b] of pairs) {
    const file = matchFile(a, b);
    const isThere = (await statIfPresent(file)) !== null;
    if (!isThere && isMaking) await match(a, b, file, threads);
    if (isThere || isMaking) matches.push({ a, b, file });
  }
  return matches;
}

function matchFile(a: OfRun, b: OfRun): string {
  const key = hashValue([
    VERSION,
    ...[a, b].map(({ manifest }) => [manifest.sae.hash, manifest.files.latents]),
  ]);
  return join(a.of.run.dir.indexes, "matches", `${key.slice(0, 32)}.parquet`);
}

async function match(a: OfRun, b: OfRun, file: string, threads: number | undefined): Promise<void> {
  const { run } = a.of;
  const unit = `match:${a.entry.id}:${b.entry.id}`;
  const title = `match latents: ${a.entry.title} with ${b.entry.title}`;
  run.emit({ kind: "begin", unit, title, resumed: false });
  const start = performance.now();
  await writeMatches(file, await compare(a, b, run, unit, threads));
  run.emit({ kind: "done", unit, title, seconds: (performance.now() - start) / 1000 });
}

type Row = readonly (number | null)[];

/** Rows in the order of MATCH_COLUMNS. Memory: both SAEs, and one more in the engine that searches. */
async function compare(
  a: OfRun,
  b: OfRun,
  run: RunContext,
  unit: string,
  threads: number | undefined,
): Promise<Row[]> {
  const [ofA, ofB] = [(await a.of.load()).weights, (await b.of.load()).weights];
  const { dIn } = ofA;
  const nearest = await nearestRows(ofA.wDec, ofB.wDec, dIn, {
    createEngine: (await run.engine()).create,
    threads,
    signal: run.options.signal,
    onProgress: ({ done, total }) =>
      run.emit({ kind: "progress", unit, progress: { done, total, unit: "latents" } }),
  });
  const isSameSize = ofA.dSae === ofB.dSae;
  const decoder = isSameSize ? rowCosines(ofA.wDec, ofB.wDec, dIn) : null;
  const encoder = isSameSize ? rowCosines(ofA.wEnc, ofB.wEnc, dIn) : null;
  const [densityA, densityB] = [await densitiesOf(a.dir), await densitiesOf(b.dir)];
  return Array.from({ length: ofA.dSae }, (_, latent): Row => {
    const other = nearest.index[latent];
    return [
      latent,
      defined(decoder?.[latent]),
      defined(encoder?.[latent]),
      other < 0 ? null : other,
      defined(nearest.cosine[latent]),
      densityA[latent],
      other < 0 ? null : densityB[other],
    ];
  });
}

function defined(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : value;
}

/** Whole or absent, as every file. */
async function writeMatches(file: string, rows: readonly Row[]): Promise<void> {
  const temporary = temporaryName(file);
  const database = await Database.open({ folder: join(file, ".."), memoryBytes: MEMORY_BYTES, threads: 1 });
  try {
    const table = { file: basename(temporary), row: "a latent of a", columns: MATCH_COLUMNS };
    const writer = await TableWriter.open(database, "matches", table, Number.POSITIVE_INFINITY); // in one part
    for (const row of rows) await writer.add(row);
    await writer.finish();
    await rename(temporary, file);
  } finally {
    database.close();
    await rm(temporary, { force: true });
  }
}
