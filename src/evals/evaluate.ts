/**
 * How well an SAE fits activations: runs it over them once, chunk by chunk, goes through them again for what needs the whole
 * set's mean and cuts, and states every metric with its definition and interval. Memory is a few chunks with their
 * reconstructions, 33 bytes a token, and dIn doubles a document and slice (`memory.ts`); results do not depend on the
 * chunk size beyond the last bits of fp64.
 */
import type { ActivationStore } from "../activations/activations.ts";
import { DataError, ShapeError } from "../errors.ts";
import { sameHookIfKnown } from "../sae/hook-name.ts";
import type { Sae } from "../sae/sae.ts";
import { intervalMethod, metricIntervals } from "./bootstrap.ts";
import { DocumentSums } from "./documents.ts";
import { FiringStats } from "./firing.ts";
import { measure, originOf } from "./measure.ts";
import { METRIC_NAMES, type MetricValues, metricOf } from "./metrics.ts";
import { saebenchMetrics } from "./other-programs/saebench.ts";
import { SaelensStats } from "./other-programs/saelens.ts";
import { OutlierGroups, type TextsAround, TokenErrors } from "./outliers.ts";
import { EVAL_VERSION, type EvalResult, saeIdentity, thresholdSummary } from "./result.ts";
import { runsOf, SliceSums, type TokenLabels } from "./slices.ts";
import {
  ahead,
  type ChunkOptions,
  type Reconstructor,
  type RowsToEvaluate,
  rowsSource,
  storeSource,
  type TokenSource,
} from "./token-source.ts";
import { type TokenSums, total } from "./token-sums.ts";

export type { Reconstructor, RowsToEvaluate } from "./token-source.ts";

/** How much is evaluated, in which pieces, and what is known of it. */
export interface EvaluateOptions extends ChunkOptions {
  /** sources of documents and classes of tokens, for slices */
  readonly labels?: TokenLabels;
  /** shows the worst tokens in context */
  readonly texts?: TextsAround;
  /** also compute what SAELens and SAEBench would report, in batches of so many tokens */
  readonly otherPrograms?: { readonly batchTokens: number };
  /** of the bootstrap; default 0 */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { done: number; total: number }) => void;
}

/** An evaluation's result, and what it was computed from. */
export interface Evaluation {
  readonly result: EvalResult;
  /** [dSae] tokens on which each latent fired; add those of several sets to get their common frequencies */
  readonly firingCounts: Float64Array;
  /** sums of every document's tokens, for paired intervals: `pairedDifferences` */
  readonly documents: DocumentSums;
}

/**
 * Evaluates `sae` on the rows of `store`, in store order.
 * @throws {ShapeError} the SAE's dIn is not the store's
 * @throws {DataError} another hook point, no rows, rows that do not vary, or non-finite numbers
 */
export async function evaluate(
  sae: Reconstructor,
  store: ActivationStore,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  return evaluateTokens(sae, storeSource(store, options), options);
}

/** Evaluates `sae` on activations in memory; tokens whose documents are not known count as one. Errors as `evaluate`. */
export async function evaluateRows(
  sae: Reconstructor,
  rows: RowsToEvaluate,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  return evaluateTokens(sae, rowsSource(rows, options), options);
}

async function evaluateTokens(
  reconstructor: Reconstructor,
  source: TokenSource,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { sae } = reconstructor;
  refuseMismatch(sae, source);
  const { labels = {}, texts, seed = 0 } = options;
  const first = await firstPass(reconstructor, source, options);
  const { documents, firing } = first;
  const whole = total(
    documents.parts.map(([, part]) => part),
    documents.origin,
  );
  if (whole.scatter === 0)
    throw new DataError(
      `the ${whole.n} evaluated activations do not vary, so variance explained is not defined`,
      { hint: "evaluate on more text" },
    );
  const outliers = await secondPass(first, whole.mean, source, options.signal);
  const result: EvalResult = {
    format: "lapidary-eval",
    version: EVAL_VERSION,
    set: source.set,
    hookName: source.hookName,
    sae: saeIdentity(sae),
    store: source.store,
    nTokens: whole.n,
    nDocuments: documents.nDocuments,
    intervals: intervalMethod(seed),
    metrics: metricsOf(documents, seed),
    ...(first.saelens && {
      otherPrograms: { ...first.saelens.metrics(), ...saebenchMetrics(first.saelens) },
    }),
    latents: firing.summary(),
    threshold: thresholdSummary(sae),
    outliers: await outliers.summary({ sourceOf: labels.sourceOf, texts }),
    slices: first.slices.groups(whole.get("sse"), documents),
  };
  return { result, firingCounts: firing.counts, documents };
}

interface FirstPass {
  readonly documents: DocumentSums;
  readonly slices: SliceSums;
  readonly errors: TokenErrors;
  readonly firing: FiringStats;
  readonly saelens: SaelensStats | null;
}

/** Encodes and decodes every token, and sums what is measured by document and slice. */
async function firstPass(
  reconstructor: Reconstructor,
  source: TokenSource,
  options: EvaluateOptions,
): Promise<FirstPass> {
  const { signal, onProgress } = options;
  let pass: FirstPass | null = null;
  let done = 0;
  signal?.throwIfAborted();
  for await (const { rows, made } of ahead(source.chunks(), (x) => reconstructor.reconstruct(x))) {
    signal?.throwIfAborted();
    pass ??= startPass(originOf(rows.activations, source.dIn), reconstructor.sae, source, options);
    const { documents, slices, errors, firing, saelens } = pass;
    const quantities = measure({ x: rows.activations, ...made }, documents.origin, done);
    firing.add(made.acts);
    errors.add(quantities);
    const runs = runsOf(rows, quantities, documents.origin);
    for (const run of runs) documents.of(rows.document[run.first]).merge(run.sums);
    slices.add(rows, quantities, runs);
    saelens?.add(rows.activations, made.recon, made.acts, rows.window, quantities);
    done += rows.nRows;
    onProgress?.({ done, total: source.total });
  }
  return pass!;
}

function startPass(
  origin: Float64Array,
  { config }: Sae,
  { total, known, dIn }: TokenSource,
  { labels = {}, otherPrograms }: EvaluateOptions,
): FirstPass {
  return {
    documents: new DocumentSums(origin),
    slices: new SliceSums(origin, known, labels),
    errors: new TokenErrors(total),
    firing: new FiringStats(config.dSae),
    saelens: otherPrograms ? new SaelensStats(dIn, config.dSae, otherPrograms) : null,
  };
}

/** Goes through the tokens again: each token's VE about the set's mean, and the groups that cuts leave out. */
async function secondPass(
  { documents, errors }: FirstPass,
  mean: Float64Array,
  source: TokenSource,
  signal: AbortSignal | undefined,
): Promise<OutlierGroups> {
  const outliers = new OutlierGroups(errors, mean);
  let done = 0;
  for await (const rows of source.chunks()) {
    signal?.throwIfAborted();
    const scatters = outliers.add(rows, done, source.known.role);
    scatters.forEach((scatter, row) => {
      if (scatter === 0) return;
      const document = documents.of(rows.document[row]);
      document.add("tokenVe", 1 - errors.sse[done + row] / scatter);
      document.add("nTokenVe", 1);
    });
    done += rows.nRows;
  }
  return outliers;
}

/** Every metric of all documents together, with its interval. */
function metricsOf(documents: DocumentSums, seed: number): MetricValues {
  const parts = documents.blocks();
  const whole: TokenSums = total(
    parts.map(([, part]) => part),
    documents.origin,
  );
  const intervals = metricIntervals(parts, seed);
  return Object.fromEntries(
    METRIC_NAMES.map((name) => [name, metricOf(name, whole, intervals[name])]),
  ) as unknown as MetricValues;
}

/** @throws {ShapeError | DataError} the tokens are no input of this SAE's, or there are none */
export function refuseMismatch(sae: Sae, { dIn, total, set, hookName }: TokenSource): void {
  if (dIn !== sae.config.dIn)
    throw new ShapeError("dIn of the activations", dIn, `the SAE's ${sae.config.dIn}`);
  if (total === 0) throw new DataError(`set "${set}" has no tokens to evaluate on`);
  const own = sae.config.hookName;
  if (own === null || sameHookIfKnown(own, hookName) === true) return;
  // read at another place than its own it would reconstruct badly for no fault of its own
  throw new DataError(`the SAE reads ${own}, the activations of set "${set}" come from ${hookName}`, {
    hint: "evaluate on activations of the SAE's own hook point",
  });
}
