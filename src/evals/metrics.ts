/**
 * The registry of metrics: what each number means, and how it follows from sums over tokens. A metric's result carries its
 * definition, unit and sample size (design invariant 5), so that no reader has to guess which of a field's several
 * "explained variances" it is. docs/METRICS.md is written from this file.
 */
import type { Quantity, TokenSums } from "./token-sums.ts";

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

/** A metric: how it is called, said, computed. */
export interface MetricDefinition {
  /** one sentence */
  readonly definition: string;
  /** in the notation of docs/METRICS.md */
  readonly formula: string;
  readonly unit: string;
  /** null where the formula divides by zero */
  readonly of: (sums: TokenSums) => number | null;
  /** the sum that counts the tokens it is computed from */
  readonly counted: Quantity;
}

/** a / b, or null where that is undefined. */
export function ratio(a: number, b: number): number | null {
  return b === 0 ? null : a / b;
}

/** Mean of a quantity over the tokens that have it. */
function mean(quantity: Quantity, counted: Quantity = "n") {
  return { of: (sums: TokenSums) => ratio(sums.get(quantity), sums.get(counted)), counted };
}

/** In the order in which reports show them. x: activation, x̂: its reconstruction, x̄: mean of x over the set. */
export const METRICS = {
  ve: {
    definition:
      "Variance explained, 1 − Σ‖x−x̂‖² / Σ‖x−x̄‖², both sums over all evaluated tokens, x̄ their mean activation.",
    formula: "1 − Σ‖x−x̂‖² / Σ‖x−x̄‖²",
    unit: "1",
    of(sums) {
      const { scatter } = sums;
      return scatter === 0 ? null : 1 - sums.get("sse") / scatter;
    },
    counted: "n",
  },
  vePerToken: {
    definition:
      "Mean over tokens of 1 − ‖x−x̂‖² / ‖x−x̄‖², x̄ the mean of the whole set; tokens where x = x̄ are left out.",
    formula: "(1/n) Σ (1 − ‖x−x̂‖² / ‖x−x̄‖²)",
    unit: "1",
    ...mean("tokenVe", "nTokenVe"),
  },
  l0: {
    definition: "Mean number of latents active on a token.",
    formula: "(1/n) Σ #{i : aᵢ ≠ 0}",
    unit: "latents per token",
    ...mean("active"),
  },
  l1: {
    definition: "Mean over tokens of the sum of the latents' activations, as the SAE states them.",
    formula: "(1/n) Σ Σᵢ |aᵢ|",
    unit: "activation units per token",
    ...mean("absActs"),
  },
  mse: {
    definition: "Mean over tokens of ‖x−x̂‖², summed over dimensions.",
    formula: "(1/n) Σ ‖x−x̂‖²",
    unit: "squared activation units per token",
    ...mean("sse"),
  },
  cosine: {
    definition: "Mean over tokens of the cosine between x and x̂; tokens where either is zero are left out.",
    formula: "(1/n) Σ ⟨x,x̂⟩ / (‖x‖·‖x̂‖)",
    unit: "1",
    ...mean("cosine", "nCosine"),
  },
  l2Ratio: {
    definition: "Mean over tokens of ‖x̂‖ / ‖x‖; tokens where x is zero are left out.",
    formula: "(1/n) Σ ‖x̂‖ / ‖x‖",
    unit: "1",
    ...mean("normRatio", "nNormRatio"),
  },
  relativeReconstructionBias: {
    definition:
      "Σ‖x̂‖² / Σ⟨x, x̂⟩ over all tokens: 1 when unbiased, below 1 when reconstructions are too short for their direction.",
    formula: "Σ‖x̂‖² / Σ⟨x,x̂⟩",
    unit: "1",
    of: (sums) => ratio(sums.get("rr"), sums.get("xr")),
    counted: "n",
  },
  normIn: {
    definition: "Mean over tokens of ‖x‖.",
    formula: "(1/n) Σ ‖x‖",
    unit: "activation units",
    ...mean("norm"),
  },
  normOut: {
    definition: "Mean over tokens of ‖x̂‖.",
    formula: "(1/n) Σ ‖x̂‖",
    unit: "activation units",
    ...mean("reconNorm"),
  },
} as const satisfies Readonly<Record<string, MetricDefinition>>;

/** Names of the metrics of an evaluation. */
export type MetricName = keyof typeof METRICS;

export const METRIC_NAMES = Object.keys(METRICS) as readonly MetricName[];

/** Metrics that any set of tokens has that varies. */
type AlwaysDefined = "ve" | "l0" | "l1" | "mse" | "normIn" | "normOut";

/** Every metric of METRICS with its value. */
export type MetricValues = {
  readonly [Name in MetricName]: Metric<Name extends AlwaysDefined ? number : number | null>;
};

/** Metric `name` of some tokens. */
export function metricOf(
  name: MetricName,
  sums: TokenSums,
  interval: Interval | null = null,
): Metric<number | null> {
  const { definition, unit, of, counted } = METRICS[name];
  return { value: of(sums), definition, unit, n: sums.get(counted), interval };
}
