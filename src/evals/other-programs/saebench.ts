/**
 * The explained variances and the MSE that SAEBench 0.6.0's core evaluation reports, under names that say so. Its
 * `get_sparsity_and_variance_metrics` (sae_bench/evals/core/main.py) is SAELens 6.18's, defects included, so they follow
 * from the same sums over the same batches; the next SAELens repaired its own.
 */
import type { Metric } from "../metrics.ts";
import type { SaelensStats } from "./saelens.ts";

const NAMES = ["explained_variance", "explained_variance_legacy", "mse"] as const;
export type SaebenchMetricName = (typeof NAMES)[number];

export type SaebenchMetrics = Readonly<Record<`saebench060.${SaebenchMetricName}`, Metric<number | null>>>;

/** SAEBench's numbers for the tokens that `stats` has seen. @throws {DataError} no tokens */
export function saebenchMetrics(stats: SaelensStats): SaebenchMetrics {
  const values = stats.values();
  const named = NAMES.map((name) => [`saebench060.${name}`, stats.metric(name, values[name])]);
  return Object.fromEntries(named) as SaebenchMetrics;
}
