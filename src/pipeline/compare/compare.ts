/**
 * Two SAEs on the same activations: each is evaluated as `lapidary eval` would, the differences get intervals from the
 * same drawn documents, and latents are matched by index and by direction. One SAE is in an engine at a time; what the
 * first fired is kept until the second has been run, 4 bytes an activation.
 */
import { DataError, ShapeError } from "../../errors.ts";
import { pairedDifferences } from "../../evals/bootstrap.ts";
import type { EvaluateOptions, Evaluation, Reconstructor } from "../../evals/evaluate.ts";
import { compareLatents } from "../../evals/latents/comparison.ts";
import {
  type FiringRecord,
  firingAgreement,
  jaccardOfTokens,
  recorded,
  watched,
} from "../../evals/latents/paired-firing.ts";
import { type MutualMatches, mutualMatches, NO_PARTNER, SAME_COSINES } from "../../evals/latents/pairs.ts";
import { type Interval, METRIC_NAMES, type MetricName } from "../../evals/metrics.ts";
import { saeIdentity } from "../../evals/result.ts";
import type { EngineFactory } from "../../kernels/kernels.ts";
import { sameHookIfKnown } from "../../sae/hook-name.ts";
import { openInference } from "../../sae/inference.ts";
import type { Sae } from "../../sae/sae.ts";
import type { ComparedMetric, Comparison, SetComparison } from "./comparison.ts";
import { latentChanges } from "./latent-changes.ts";

/** An SAE and how the user named it. */
export interface NamedSae {
  readonly name: string;
  readonly sae: Sae;
}

/** Activations that any SAE of their width can be evaluated on, as often as one likes. */
export interface ComparedData {
  readonly set: string;
  evaluate(sae: Reconstructor, options: EvaluateOptions): Promise<Evaluation>;
}

export interface CompareOptions {
  readonly createEngine: EngineFactory;
  readonly threads?: number;
  /** of the bootstrap; default 0 */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  /** `what`: which part of the work, in words */
  readonly onProgress?: (progress: { what: string; done: number; total: number; unit: string }) => void;
}

/**
 * Compares `a` and `b` on every set of `data`.
 * @throws {ShapeError} the two differ in dIn, or from the data
 * @throws {DataError} they read different hook points, or none of the data
 */
export async function compareSaes(
  a: NamedSae,
  b: NamedSae,
  data: readonly ComparedData[],
  options: CompareOptions,
): Promise<Comparison> {
  refuseStrangers(a, b);
  const { createEngine, threads, signal } = options;
  const comparison = await compareLatents(
    { sae: a.sae, firing: null },
    { sae: b.sae, firing: null },
    {
      createEngine,
      threads,
      signal,
      onProgress: (at) => options.onProgress?.({ what: "match latents", ...at, unit: "latents" }),
    },
  );
  const { nearestInB, nearestInA, byIndex } = comparison.latents;
  const matches = mutualMatches(nearestInB, nearestInA, byIndex?.decoderCosine ?? null);
  const records = data.map((): FiringRecord => []);
  const ofA = await evaluateAll(a, data, options, (sae, i) => recorded(sae, records[i]));
  const agreements = data.map(() => new SetAgreement(matches, byIndex !== null));
  const ofB = await evaluateAll(b, data, options, (sae, i) =>
    watched(sae, (acts, chunk) => {
      agreements[i].add(records[i][chunk], acts, chunk);
      delete records[i][chunk]; // no longer needed
    }),
  );
  return {
    format: "lapidary-comparison",
    version: 1,
    a: { name: a.name, sae: saeIdentity(a.sae) },
    b: { name: b.name, sae: saeIdentity(b.sae) },
    sets: data.map((_, i) => ({
      ...compareEvaluations(ofA[i], ofB[i], options.seed ?? 0),
      firing: agreements[i].summary(),
    })),
    latents: comparison.summary,
    changes: latentChanges(comparison.latents, matches, ofA, ofB),
  };
}

/** @throws {ShapeError | DataError} */
function refuseStrangers(a: NamedSae, b: NamedSae): void {
  if (a.sae.config.dIn !== b.sae.config.dIn)
    throw new ShapeError(
      `dIn of ${b.name}`,
      b.sae.config.dIn,
      `${a.sae.config.dIn}, as ${a.name} has`,
      "SAEs of one model and one hook point can be compared",
    );
  const [hookA, hookB] = [a.sae.config.hookName, b.sae.config.hookName];
  if (hookA === null || hookB === null || sameHookIfKnown(hookA, hookB) === true) return;
  throw new DataError(`${a.name} reads ${hookA}, ${b.name} reads ${hookB}`, {
    hint: "SAEs of one model and one hook point can be compared",
  });
}

async function evaluateAll(
  { name, sae }: NamedSae,
  data: readonly ComparedData[],
  { createEngine, threads, seed, signal, onProgress }: CompareOptions,
  wrap: (sae: Reconstructor, set: number) => Reconstructor,
): Promise<Evaluation[]> {
  const inference = await openInference(sae, createEngine, { threads });
  try {
    const evaluations: Evaluation[] = [];
    for (const [i, { set, evaluate }] of data.entries())
      evaluations.push(
        await evaluate(wrap(inference, i), {
          seed,
          signal,
          onProgress: (at) => onProgress?.({ what: `${name} on ${set}`, ...at, unit: "tokens" }),
        }),
      );
    return evaluations;
  } finally {
    await inference.dispose();
  }
}

/** Token by token, by index and by direction. */
class SetAgreement {
  readonly #byDirection: Int32Array;
  readonly #byIndex: Int32Array | null;
  readonly #jaccards = { byDirection: [] as Float64Array[], byIndex: [] as Float64Array[] };

  constructor({ partnerInB, cosine }: MutualMatches, isSameWidth: boolean) {
    this.#byDirection = partnerInB.map((j, i) => (cosine[i] >= SAME_COSINES[0] ? j : NO_PARTNER));
    this.#byIndex = isSameWidth ? partnerInB.map((_, i) => i) : null;
  }

  add(a: FiringRecord[number], b: FiringRecord[number], chunk: number): void {
    this.#jaccards.byDirection[chunk] = jaccardOfTokens(a, b, this.#byDirection);
    if (this.#byIndex !== null) this.#jaccards.byIndex[chunk] = jaccardOfTokens(a, b, this.#byIndex);
  }

  summary(): SetComparison["firing"] {
    const definition = (same: string) =>
      `Mean over tokens of (latents that fire in both) / (latents that fire in either); the same latent: ${same}. Tokens on which none fires are left out.`;
    return {
      byIndex:
        this.#byIndex === null ? null : firingAgreement(this.#jaccards.byIndex, definition("the same index")),
      byDirection: firingAgreement(
        this.#jaccards.byDirection,
        definition(`each other's nearest by decoder cosine, of at least ${SAME_COSINES[0]}`),
      ),
    };
  }
}

function compareEvaluations(a: Evaluation, b: Evaluation, seed: number): Omit<SetComparison, "firing"> {
  const { set, hookName, store, nTokens, nDocuments, intervals } = a.result;
  const differences = pairedDifferences(a.documents.blocks(), b.documents.blocks(), seed);
  const metrics = METRIC_NAMES.map((name): [MetricName, ComparedMetric] => {
    const [before, now] = [a.result.metrics[name], b.result.metrics[name]];
    const { difference, interval } = differences[name];
    return [
      name,
      {
        definition: before.definition,
        unit: before.unit,
        a: { value: before.value, interval: before.interval },
        b: { value: now.value, interval: now.interval },
        difference: { value: difference, interval },
        sign: signOf(interval),
      },
    ];
  });
  return {
    set,
    hookName,
    store,
    nTokens,
    nDocuments,
    intervals,
    metrics: Object.fromEntries(metrics) as Record<MetricName, ComparedMetric>,
    neverFired: { a: a.result.latents.nNeverFired, b: b.result.latents.nNeverFired },
  };
}

function signOf(interval: Interval | null): ComparedMetric["sign"] {
  if (interval === null) return null;
  return interval.low > 0 ? 1 : interval.high < 0 ? -1 : 0;
}
