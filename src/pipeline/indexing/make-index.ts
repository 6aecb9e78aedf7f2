/**
 * One index, unless it is there already: what it needs is planned, told and held against what the machine has, and what lies
 * in its folder against what is asked for.
 */
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type BuildOptions, buildIndex } from "../../dashboard/build.ts";
import { INDEX_MANIFEST, readIndexManifest } from "../../dashboard/index-manifest.ts";
import { planIndex } from "../../dashboard/index-plan.ts";
import type { IndexManifest } from "../../dashboard/manifest.ts";
import { ResourceError, StateError } from "../../errors.ts";
import { refuseMismatch } from "../../evals/evaluate.ts";
import { saeIdentity } from "../../evals/result.ts";
import { sweepTemporary } from "../../storage/atomic.ts";
import { describeDifferences, jsonDifferences } from "../../storage/differences.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { hashValue } from "../../storage/hash.ts";
import type { RunEvent } from "../context.ts";
import { freeDisk, freeMemory, memoryError } from "../resources.ts";
import { softwareVersions } from "../versions.ts";

/** How an index is made; what may differ without changing it, and the rest. */
export interface IndexingOptions {
  /** make anew what was made of something else */
  readonly overwrite?: boolean;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent) => void;
}

/** An index of this SAE on this data, everything else being settled here. */
export type WantedIndex = Pick<
  BuildOptions,
  | "dir"
  | "sae"
  | "saeName"
  | "widths"
  | "modelName"
  | "sets"
  | "dataHash"
  | "textOf"
  | "base"
  | "training"
  | "lens"
  | "openLabeller"
  | "createEngine"
> & {
  /** for people */
  readonly title: string;
  /** activations a token, for the plan; null: not known */
  readonly l0: number | null;
};

/** What was made, or was there. */
export interface MadeIndex {
  readonly dir: string;
  readonly manifest: IndexManifest;
  /** false: it was there already */
  readonly made: boolean;
  readonly seconds: number;
}

/** Rows indexed of a store unless told otherwise. */
export const DEFAULT_TOKENS = 3_000_000;
/** Of texts, whose activations are held in memory. */
export const DEFAULT_TEXT_TOKENS = 65_536;

export const EXAMPLES: IndexManifest["options"] = {
  topExamples: 20,
  examplesPerInterval: 5,
  tokensBefore: 32,
  tokensAfter: 31,
  seed: 0,
};
const INTERVALS_SHOWN = 5;
const USUAL_L0 = 100;

/** Hash of what decides the indexed rows. */
export function dataHashOf(sets: readonly { readonly hash: string; readonly nRows: number }[]): string {
  return hashValue(sets.map(({ hash, nRows }) => ({ hash, nRows })));
}

/**
 * @throws {StateError} another index lies there, and `overwrite` is not set
 * @throws {ResourceError} it needs more memory or disk than there is
 */
export async function makeIndex(wanted: WantedIndex, options: IndexingOptions): Promise<MadeIndex> {
  const { dir, title } = wanted;
  const begun = performance.now();
  const seconds = () => Math.round(performance.now() - begun) / 1000;
  const emit = options.onEvent ?? (() => {});
  const unit = `index:${basename(dir)}`;
  for (const { tokens } of wanted.sets) refuseMismatch(wanted.sae, tokens);
  const found = await existing(dir);
  if (found !== null) {
    const changes = jsonDifferences(identityOf(found), wantedIdentity(wanted));
    if (changes.length === 0) {
      emit({ kind: "skipped", unit, title });
      return { dir, manifest: found, made: false, seconds: seconds() };
    }
    if (options.overwrite !== true)
      throw new StateError(
        `${dir} holds an index of something else: ${describeDifferences(changes, 3)}`,
        "--overwrite makes it anew; or give it another folder",
      );
  }
  emit({ kind: "begin", unit, title, resumed: false });
  await mkdir(dirname(dir), { recursive: true });
  await sweepTemporary(dirname(dir));
  const budget = await planned(wanted, options, unit);
  try {
    const manifest = await buildIndex({
      ...wanted,
      examples: EXAMPLES,
      budget,
      software: await softwareVersions(),
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onProgress: ({ stage, done, total, unit: counted }) =>
        emit({ kind: "progress", unit, progress: { done, total, unit: counted, details: { stage } } }),
    });
    emit({ kind: "done", unit, title, seconds: seconds() });
    return { dir, manifest, made: true, seconds: seconds() };
  } catch (error) {
    throw memoryError(error, title);
  }
}

async function existing(dir: string): Promise<IndexManifest | null> {
  return (await statIfPresent(join(dir, INDEX_MANIFEST))) === null ? null : readIndexManifest(dir);
}

/** What decides an index, as its manifest records it. */
function identityOf({ sae, data, options, base, logits }: IndexManifest) {
  return {
    sae: sae.hash,
    widths: sae.widths,
    data: data.hash,
    sets: data.sets,
    options,
    base: base === null ? null : { hash: base.hash, index: base.index },
    logits,
  };
}

function wantedIdentity({
  sae,
  widths,
  dataHash,
  sets,
  base,
  lens,
}: WantedIndex): ReturnType<typeof identityOf> {
  const { hash, dSae } = saeIdentity(sae);
  return {
    sae: hash,
    widths: widths ?? [dSae],
    data: dataHash,
    sets: sets.map(({ tokens }) => tokens.set),
    options: EXAMPLES,
    base: base === null ? null : { hash: base.hash, index: base.index },
    logits: lens === null ? null : { vocabSize: lens.vocabSize, finalNorm: lens.finalNorm },
  };
}

async function planned(wanted: WantedIndex, options: IndexingOptions, unit: string) {
  const { sae, sets, dir, title, base, l0 } = wanted;
  const free = await freeMemory();
  const { dIn, dSae, output } = sae.config;
  const held = process.memoryUsage.rss();
  const { memory, budget, diskBytes } = planIndex(
    {
      dIn,
      dOut: output?.dOut ?? dIn,
      dSae,
      nTokens: sets.reduce((sum, { tokens }) => sum + tokens.total, 0),
      l0: l0 ?? sae.config.k ?? USUAL_L0,
      hasBase: base?.load != null,
      examples: EXAMPLES.topExamples + INTERVALS_SHOWN * EXAMPLES.examplesPerInterval,
      exampleTokens: EXAMPLES.tokensBefore + 1 + EXAMPLES.tokensAfter,
      ...(options.threads === undefined ? {} : { threads: options.threads }),
    },
    free - held,
  );
  const parts = [...memory.parts, { name: "process", bytes: held }];
  const total = memory.total + held;
  options.onEvent?.({ kind: "memory", unit, parts, total, free });
  if (total > free)
    throw new ResourceError(
      `"${title}" needs about ${gigabytes(total)} of memory, ${gigabytes(free)} is free`,
      "index fewer tokens (--tokens), or stop other programs",
    );
  const disk = await freeDisk(dirname(dir));
  if (diskBytes > disk)
    throw new ResourceError(
      `"${title}" needs up to ${gigabytes(diskBytes)} of disk, ${gigabytes(disk)} is free in ${dirname(dir)}`,
      "index fewer tokens (--tokens), or put it on another disk (--out)",
    );
  return budget;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
