/**
 * One index, unless it is there already: what it needs is planned, told and held against what the machine has, and what lies
 * in its folder against what is asked for.
 */
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type BuildOptions, buildIndex, type Labeller } from "../../dashboard/build.ts";
import { INDEX_MANIFEST, readIndexManifest } from "../../dashboard/index-manifest.ts";
import { planIndex } from "../../dashboard/index-plan.ts";
import type { IndexedTokens } from "../../dashboard/labels/labels.ts";
import { TriggerFinder } from "../../dashboard/labels/trigger-finder.ts";
import type { LogitLens } from "../../dashboard/logits/logits.ts";
import type { LogitLensOptions } from "../../dashboard/logits/open-logit-lens.ts";
import type { IndexManifest } from "../../dashboard/manifest.ts";
import { ModelError, ResourceError, StateError } from "../../errors.ts";
import { refuseMismatch } from "../../evals/evaluate.ts";
import { saeIdentity } from "../../evals/result.ts";
import { planOf } from "../../kernels/memory.ts";
import { sweep } from "../../storage/atomic.ts";
import { describeDifferences, jsonDifferences } from "../../storage/differences.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { hashValue } from "../../storage/hash.ts";
import type { RunEvent } from "../context.ts";
import { freeDisk, freeMemory, gigabytes, memoryError } from "../resources.ts";
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
  | "createEngine"
> & {
  /** for people */
  readonly title: string;
  /** the model whose head gives logits; null: none are computed */
  readonly head: IndexHead | null;
  /** activations a token, for the plan; null: not known */
  readonly l0: number | null;
};

/** A model's head. */
export interface IndexHead {
  /** of the model */
  readonly folder: string;
  readonly dtype?: string;
  /** multiply by the final norm's weight */
  readonly finalNorm: boolean;
}

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
 * For who holds the lock of the index's folder, or of the run that it lies in.
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
  await sweep(dirname(dir), (name) => !isLeftOver(name, basename(dir)));
  const budget = await planned(wanted, options, unit);
  const lens = await openHead(wanted.head, options);
  try {
    const manifest = await buildIndex({
      ...wanted,
      lens,
      openLabeller: (tokens) => labellerOf(tokens, wanted.textOf),
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
  } finally {
    await lens?.close();
  }
}

async function openHead(head: IndexHead | null, { threads }: IndexingOptions): Promise<LogitLens | null> {
  if (head === null) return null;
  const { openLogitLens } = await import("../../dashboard/logits/open-logit-lens.ts");
  try {
    return await openLogitLens(head.folder, lensOptions(head, threads));
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    throw new ModelError(error.message, {
      hint: `${error.hint ?? ""} --no-logits makes the index without them.`.trim(),
      cause: error,
    });
  }
}

function lensOptions({ dtype, finalNorm }: IndexHead, threads: number | undefined): LogitLensOptions {
  return {
    finalNorm,
    ...(dtype === undefined ? {} : { dtype }),
    ...(threads === undefined ? {} : { threads }),
  };
}

function labellerOf(tokens: IndexedTokens, textOf: (tokenId: number) => string): Labeller {
  const finder = new TriggerFinder(tokens, ([id]) => textOf(id));
  return ({ tokens: rows, values }, logits) => finder.label(rows, values, logits?.top ?? null);
}

/** What a killed build of the index `name` left beside it. */
function isLeftOver(entry: string, name: string): boolean {
  return entry.startsWith(`${name}.`) && /^\.\d+-\d+\.tmp$/.test(entry.slice(name.length));
}

async function existing(dir: string): Promise<IndexManifest | null> {
  return (await statIfPresent(join(dir, INDEX_MANIFEST))) === null ? null : readIndexManifest(dir);
}

/** What decides an index, as its manifest records it. */
function identityOf({ sae, data, options, base, logits }: IndexManifest) {
  return {
    sae: sae.hash,
    widths: sae.widths,
    model: data.model,
    data: data.hash,
    sets: data.sets,
    options,
    base: base === null ? null : { hash: base.hash, index: base.index },
    logits: logits === null ? null : { finalNorm: logits.finalNorm },
  };
}

function wantedIdentity({
  sae,
  widths,
  modelName,
  dataHash,
  sets,
  base,
  head,
}: WantedIndex): ReturnType<typeof identityOf> {
  const { hash, dSae } = saeIdentity(sae);
  return {
    sae: hash,
    widths: widths ?? [dSae],
    model: modelName,
    data: dataHash,
    sets: sets.map(({ tokens }) => tokens.set),
    options: EXAMPLES,
    base: base === null ? null : { hash: base.hash, index: base.index },
    logits: head === null ? null : { finalNorm: head.finalNorm },
  };
}

async function planned(wanted: WantedIndex, options: IndexingOptions, unit: string) {
  const { sae, sets, dir, title, base, l0, head } = wanted;
  const nTokens = sets.reduce((sum, { tokens }) => sum + tokens.total, 0);
  const free = await freeMemory();
  const { dIn, dSae, output } = sae.config;
  const beside = planOf([
    { name: "process", bytes: process.memoryUsage.rss() },
    { name: "logits", bytes: head === null ? 0 : await lensBytes(head, options) },
    { name: "labels", bytes: TriggerFinder.bytes(nTokens) + 8 * nTokens },
  ]);
  const { memory, budget, diskBytes } = planIndex(
    {
      dIn,
      dOut: output?.dOut ?? dIn,
      dSae,
      nTokens,
      l0: l0 ?? sae.config.k ?? USUAL_L0,
      hasBase: base?.load != null,
      examples: EXAMPLES.topExamples + INTERVALS_SHOWN * EXAMPLES.examplesPerInterval,
      exampleTokens: EXAMPLES.tokensBefore + 1 + EXAMPLES.tokensAfter,
      ...(options.threads === undefined ? {} : { threads: options.threads }),
    },
    free - beside.total,
  );
  const { parts, total } = planOf([...memory.parts, ...beside.parts]);
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

async function lensBytes(head: IndexHead, { threads }: IndexingOptions): Promise<number> {
  const { logitLensMemory } = await import("../../dashboard/logits/open-logit-lens.ts");
  return (await logitLensMemory(head.folder, lensOptions(head, threads))).total;
}
