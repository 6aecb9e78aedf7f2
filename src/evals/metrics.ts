/**
 * What each number means. A metric's result carries its definition, unit and sample size (design invariant 5), so that
 * no reader has to guess which of a field's several "explained variances" it is. SAELens' own variants differ: its
 * `explained_variance` is no VE and its `mse` depends on the batch size (docs/COMPATIBILITY.md).
 */

/** One number and how to read it. `value` is null only where the type says so: the definition then divides by zero. */
export interface Metric<Value extends number | null = number> {
  readonly value: Value;
  readonly definition: string;
  readonly unit: string;
  /** tokens the number was computed from */
  readonly n: number;
  /** confidence interval, as the result's `intervals` says; null: this metric has none */
  readonly interval: Interval | null;
}

/** A confidence interval's ends, in the metric's unit. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Names, in the order in which reports show them. x: activation, x̂: its reconstruction, x̄: mean of x over the set. */
export const METRICS = {
  ve: {
    definition:
      "Variance explained, 1 − Σ‖x−x̂‖² / Σ‖x−x̄‖², both sums over all evaluated tokens, x̄ their mean activation.",
    unit: "1",
  },
  l0: { definition: "Mean number of latents active on a token.", unit: "latents per token" },
  mse: {
    definition: "Mean over tokens of ‖x−x̂‖², summed over dimensions.",
    unit: "squared activation units per token",
  },
  cosine: {
    definition: "Mean over tokens of the cosine between x and x̂; tokens where either is zero are left out.",
    unit: "1",
  },
  l2Ratio: { definition: "Mean over tokens of ‖x̂‖ / ‖x‖; tokens where x is zero are left out.", unit: "1" },
  relativeReconstructionBias: {
    definition:
      "Σ‖x̂‖² / Σ⟨x, x̂⟩ over all tokens: 1 when unbiased, below 1 when reconstructions are too short for their direction.",
    unit: "1",
  },
} as const satisfies Record<string, { definition: string; unit: string }>;

/** Names of the metrics of an evaluation. */
export type MetricName = keyof typeof METRICS;

/** Every metric of METRICS with its value. */
export interface MetricValues {
  readonly ve: Metric;
  readonly l0: Metric;
  readonly mse: Metric;
  readonly cosine: Metric<number | null>;
  readonly l2Ratio: Metric<number | null>;
  readonly relativeReconstructionBias: Metric<number | null>;
}

/** `value` with the definition of metric `name`. */
export function metric<Value extends number | null>(
  name: MetricName,
  value: Value,
  n: number,
): Metric<Value> {
  return { value, ...METRICS[name], n, interval: null };
}

/** a / b, or null where that is undefined. */
export function ratio(a: number, b: number): number | null {
  return b === 0 ? null : a / b;
}
