/**
 * How well an SAE fits activations: runs it over them once, chunk by chunk, and states every metric with its definition.
 * Memory is one chunk and its reconstruction; results do not depend on the chunk size beyond the last bits of fp64.
 */
import type { ActivationStore } from "../activations/activations.ts";
import { DataError, LapidaryError, ShapeError } from "../errors.ts";
import type { SparseActs } from "../kernels/kernels.ts";
import { sameHook } from "../sae/hook-name.ts";
import type { Sae } from "../sae/sae.ts";
import { hashValue } from "../storage/hash.ts";
import { FiringStats } from "./firing.ts";
import { ReconstructionStats } from "./reconstruction.ts";
import { type EvalResult, saeIdentity, thresholdSummary } from "./result.ts";

/** The part of an `InferenceSae` that evaluation needs. */
export interface Reconstructor {
  readonly sae: Sae;
  /** x [n, dIn] → its sparse activations and x̂ [n, dIn] */
  reconstruct(x: Float32Array): Promise<{ acts: SparseActs; recon: Float32Array }>;
}

/** How much is evaluated, in which pieces. */
export interface EvaluateOptions {
  /** evaluate the first `limit` tokens only; default: all */
  readonly limit?: number;
  /** tokens a chunk; default 2048 */
  readonly chunkRows?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { done: number; total: number }) => void;
}

/** An evaluation's result, and the counts behind its firing frequencies. */
export interface Evaluation {
  readonly result: EvalResult;
  /** [dSae] tokens on which each latent fired; add those of several sets to get their common frequencies */
  readonly firingCounts: Float64Array;
}

/** Activations in memory and what they are of. */
export interface RowsToEvaluate {
  /** [n, dIn] */
  readonly activations: Float32Array;
  readonly dIn: number;
  readonly set: string;
  readonly hookName: string;
}

const DEFAULT_CHUNK_ROWS = 2048;

/**
 * Evaluates `sae` on the rows of `store`, in store order.
 * @throws {ShapeError} the SAE's dIn is not the store's
 * @throws {DataError} another hook point, no rows, or non-finite numbers
 */
export async function evaluate(
  sae: Reconstructor,
  store: ActivationStore,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { manifest, nRows } = store;
  const total = Math.min(options.limit ?? nRows, nRows);
  async function* chunks() {
    for await (const rows of store.stream(options.chunkRows ?? DEFAULT_CHUNK_ROWS, total))
      yield rows.activations;
  }
  const { set, hookName, dIn } = manifest;
  const subject = { set, hookName, dIn, total, store: { hash: hashValue(manifest), nRows } };
  return evaluateChunks(sae, chunks(), subject, options);
}

/** Evaluates `sae` on activations in memory. Errors as `evaluate`. */
export async function evaluateRows(
  sae: Reconstructor,
  rows: RowsToEvaluate,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { activations, dIn, set, hookName } = rows;
  if (activations.length % dIn !== 0)
    throw new ShapeError("activations to evaluate", activations.length, `a multiple of dIn ${dIn}`);
  const nRows = activations.length / dIn;
  const total = Math.min(options.limit ?? nRows, nRows);
  const chunkRows = options.chunkRows ?? DEFAULT_CHUNK_ROWS;
  function* chunks() {
    for (let from = 0; from < total; from += chunkRows)
      yield activations.slice(from * dIn, Math.min(total, from + chunkRows) * dIn);
  }
  return evaluateChunks(sae, chunks(), { set, hookName, dIn, total, store: null }, options);
}

interface Subject {
  readonly set: string;
  readonly hookName: string;
  readonly dIn: number;
  /** tokens to come */
  readonly total: number;
  readonly store: EvalResult["store"];
}

async function evaluateChunks(
  reconstructor: Reconstructor,
  chunks: AsyncIterable<Float32Array> | Iterable<Float32Array>,
  subject: Subject,
  { signal, onProgress }: EvaluateOptions,
): Promise<Evaluation> {
  const { sae } = reconstructor;
  const { dIn, dSae } = sae.config;
  if (subject.dIn !== dIn) throw new ShapeError("dIn of the activations", subject.dIn, `the SAE's ${dIn}`);
  if (subject.total === 0) throw new DataError(`set "${subject.set}" has no tokens to evaluate on`);
  refuseOtherHook(sae, subject);
  const reconstruction = new ReconstructionStats(dIn);
  const firing = new FiringStats(dSae);
  for await (const x of chunks) {
    signal?.throwIfAborted();
    const { acts, recon } = await reconstructor.reconstruct(x);
    reconstruction.add(x, recon);
    firing.add(acts);
    onProgress?.({ done: reconstruction.n, total: subject.total });
  }
  const { ve, ...rest } = reconstruction.metrics();
  const result: EvalResult = {
    format: "lapidary-eval",
    version: 2,
    set: subject.set,
    hookName: subject.hookName,
    sae: saeIdentity(sae),
    store: subject.store,
    nTokens: reconstruction.n,
    nDocuments: 0,
    intervals: { definition: "none yet", level: 0.95, replicates: 0, seed: 0 },
    metrics: { ve, l0: firing.l0, ...rest },
    latents: firing.summary(),
    threshold: thresholdSummary(sae),
    outliers: null,
    slices: [],
  };
  return { result, firingCounts: firing.counts };
}

/** An SAE read at another place than its own reconstructs badly for no fault of its own; that is an error, not a result. */
function refuseOtherHook(sae: Sae, { set, hookName }: Subject): void {
  const own = sae.config.hookName;
  if (own === null || own === hookName || isSameHook(own, hookName)) return;
  throw new DataError(`the SAE reads ${own}, the activations of set "${set}" come from ${hookName}`, {
    hint: "evaluate on activations of the SAE's own hook point",
  });
}

function isSameHook(a: string, b: string): boolean {
  try {
    return sameHook(a, b);
  } catch (error) {
    if (error instanceof LapidaryError) return false; // a spelling we cannot read, and not the same text
    throw error;
  }
}
