/**
 * Confidence intervals by the percentile bootstrap over documents (Efron 1979): as many documents as there are, drawn with
 * replacement, make a replicate; the metric is computed of the replicate's sums, about the replicate's own mean; the
 * interval is what the middle 95 % of the replicates' values span. Draws are a function of (seed, replicate).
 */
import { Philox } from "../random/philox.ts";
import { checkSameDocuments } from "./documents.ts";
import { type Interval, METRIC_NAMES, METRICS, type MetricName } from "./metrics.ts";
import { quantile } from "./quantile.ts";
import type { IntervalMethod } from "./result.ts";
import { TokenSums, total } from "./token-sums.ts";

const REPLICATES = 1000;
const LEVEL = 0.95;

/** Sums of a document, or of several that share a block, under their number. */
export type Parts = readonly (readonly [number, TokenSums])[];

/** How an evaluation's intervals are made; `seed` draws the documents. */
export function intervalMethod(seed: number): IntervalMethod {
  return {
    definition:
      "Percentile bootstrap over documents: replicates of as many documents as there are, drawn with replacement, each " +
      "about its own mean (vePerToken: about the set's). More than 1024 documents are first joined to 1024 blocks at random. " +
      "No interval where there is one document only, or where a replicate leaves the metric undefined.",
    level: LEVEL,
    replicates: REPLICATES,
    seed,
  };
}

/** For each replicate, how often each of `n` parts is drawn; n in all. The array is written over by the next. */
export function* draws(n: number, seed: number, replicates = REPLICATES): Generator<Uint32Array> {
  const draw = new Philox(seed, "evals/bootstrap");
  const weights = new Uint32Array(n);
  for (let r = 0; r < replicates; r++) {
    weights.fill(0);
    for (let i = 0; i < n; i++) weights[Math.floor(draw.uniform(r * n + i) * n)] += 1;
    yield weights;
  }
}

/** Every metric of every replicate, [replicates]; NaN where it is undefined. The same seed and number of parts: the same draws. */
export function replicateMetrics(
  parts: Parts,
  seed: number,
  replicates = REPLICATES,
): Record<MetricName, Float64Array> {
  const values = Object.fromEntries(
    METRIC_NAMES.map((name) => [name, new Float64Array(replicates)]),
  ) as Record<MetricName, Float64Array>;
  const documents = parts.map(([, sums]) => sums);
  let r = 0;
  for (const weights of draws(parts.length, seed, replicates)) {
    const sums = new TokenSums(documents[0].origin);
    sums.mergeAll(documents, weights);
    for (const name of METRIC_NAMES) values[name][r] = METRICS[name].of(sums) ?? Number.NaN;
    r++;
  }
  return values;
}

/** What the middle `level` of the values span, between neighbours interpolated; null with a NaN among them, or nothing. */
export function percentileInterval(values: Float64Array, level = LEVEL): Interval | null {
  if (values.length === 0 || values.some(Number.isNaN)) return null;
  const sorted = values.slice().sort();
  const [low, high] = [(1 - level) / 2, (1 + level) / 2].map((share) => quantile(sorted, share));
  return { low, high };
}

/** Of every metric; all null for fewer than two documents. */
export function metricIntervals(parts: Parts, seed: number): Record<MetricName, Interval | null> {
  const values = parts.length < 2 ? null : replicateMetrics(parts, seed);
  return Object.fromEntries(
    METRIC_NAMES.map((name) => [name, values && percentileInterval(values[name])]),
  ) as Record<MetricName, Interval | null>;
}

/** What metric changed by, and between which limits. */
export interface PairedDifference {
  readonly a: number | null;
  readonly b: number | null;
  /** b − a */
  readonly difference: number | null;
  readonly interval: Interval | null;
}

/**
 * b − a of two SAEs on the same tokens, with the interval of the difference: both are computed of the same drawn
 * documents, so what they have in common cancels.
 * @throws {DataError} the two are not of the same documents
 */
export function pairedDifferences(a: Parts, b: Parts, seed: number): Record<MetricName, PairedDifference> {
  checkSameDocuments(a, b);
  const [wholeA, wholeB] = [a, b].map((parts) =>
    total(
      parts.map(([, part]) => part),
      parts[0][1].origin,
    ),
  );
  const replicates = a.length < 2 ? null : { a: replicateMetrics(a, seed), b: replicateMetrics(b, seed) };
  return Object.fromEntries(
    METRIC_NAMES.map((name): [MetricName, PairedDifference] => {
      const [before, now] = [METRICS[name].of(wholeA), METRICS[name].of(wholeB)];
      return [
        name,
        {
          a: before,
          b: now,
          difference: before === null || now === null ? null : now - before,
          interval:
            replicates &&
            percentileInterval(replicates.a[name].map((value, r) => replicates.b[name][r] - value)),
        },
      ];
    }),
  ) as Record<MetricName, PairedDifference>;
}
