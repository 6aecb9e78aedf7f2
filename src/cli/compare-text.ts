/** A comparison for a terminal: the metrics that matter most, what became of the latents, and those that moved most. */

import type { FiringAgreement } from "../evals/latents/paired-firing.ts";
import { FATES } from "../evals/latents/pairs.ts";
import type { Interval, MetricName } from "../evals/metrics.ts";
import type {
  ComparedMetric,
  Comparison,
  LatentChanges,
  SetComparison,
} from "../pipeline/compare/comparison.ts";
import { count } from "./progress.ts";

const SHOWN: readonly MetricName[] = [
  "ve",
  "vePerToken",
  "l0",
  "mse",
  "cosine",
  "l2Ratio",
  "relativeReconstructionBias",
];
const MOVERS_SHOWN = 10;

export function comparisonText(comparison: Comparison): string {
  const { a, b, sets, changes } = comparison;
  const side = (letter: string, { name, sae }: Comparison["a"]) =>
    `${letter}  ${name}: ${sae.architecture}, ${count(sae.dIn)} → ${count(sae.dSae)} latents`;
  const same = a.sae.hash === b.sae.hash ? ["A and B are the same SAE, bit for bit."] : [];
  return [
    side("A", a),
    side("B", b),
    ...same,
    ...sets.flatMap((set) => ["", ...setLines(set)]),
    "",
    ...latentLines(changes),
  ].join("\n");
}

function setLines({
  set,
  nTokens,
  nDocuments,
  metrics,
  neverFired,
  firing,
  intervals,
}: SetComparison): string[] {
  const rows = SHOWN.map((name) => metricRow(name, metrics[name]));
  const silent = [
    "never fired",
    count(neverFired.a),
    count(neverFired.b),
    signed(neverFired.b - neverFired.a, 0),
    "",
  ];
  const heading = ["", "A", "B", "B − A", `${Math.round(100 * intervals.level)} % interval of B − A`];
  return [
    `${set}: ${count(nTokens)} tokens of ${count(nDocuments)} document${nDocuments === 1 ? "" : "s"}`,
    ...aligned([heading, ...rows, silent]),
    `  same latents on a token: ${[
      ...(firing.byIndex === null ? [] : [`${agreement(firing.byIndex)} by index`]),
      `${agreement(firing.byDirection)} by direction`,
    ].join(", ")} (mean Jaccard index)`,
  ];
}

function metricRow(name: string, { a, b, difference, sign }: ComparedMetric): string[] {
  const digits = decimals(a.value, b.value);
  const show = (value: number | null) => (value === null ? "undefined" : value.toFixed(digits));
  const interval = ({ low, high }: Interval) => `${signed(low, digits)} … ${signed(high, digits)}`;
  const verdict = sign === 1 ? "  higher" : sign === -1 ? "  lower" : "";
  return [
    name,
    show(a.value),
    show(b.value),
    difference.value === null ? "" : signed(difference.value, digits),
    difference.interval === null ? "" : `${interval(difference.interval)}${verdict}`,
  ];
}

function latentLines({ nTokens, byIndex, byDirection }: LatentChanges): string[] {
  const lines = [`Latents, by what fired on these ${count(nTokens)} tokens`];
  if (byIndex === null) lines.push("  by index: not matched, the SAEs differ in width");
  else lines.push(`  by index: ${FATES.map((fate) => `${count(byIndex.fates[fate])} ${fate}`).join(", ")}`);
  for (const { cosine, nPairs, onlyInA, onlyInB } of byDirection.same)
    lines.push(
      `  by direction, decoder cosine of at least ${cosine}: ${count(nPairs)} the same, ${count(onlyInA)} only in A, ${count(onlyInB)} only in B`,
    );
  const movers = byIndex?.topMovers.slice(0, MOVERS_SHOWN) ?? [];
  if (movers.length === 0) return lines;
  const rows = movers.map(({ index, decoderCosine, frequency, fate, foundAt }) => [
    String(index),
    decoderCosine.toFixed(4),
    frequency.a.toPrecision(3),
    frequency.b.toPrecision(3),
    foundAt === null || foundAt.index === index ? fate : `${fate}, now nearest at ${foundAt.index}`,
  ]);
  const heading = ["latent", "decoder cosine", "fires in A", "fires in B", ""];
  return [...lines, "", "Moved most:", ...aligned([heading, ...rows])];
}

function agreement({ mean }: FiringAgreement): string {
  return mean === null ? "none fires" : mean.toFixed(3);
}

/** As many decimals as show five figures of the larger; four at least below ten. */
function decimals(...values: readonly (number | null)[]): number {
  const largest = Math.max(...values.map((value) => Math.abs(value ?? 0)));
  return Math.max(0, Math.min(5, 4 - Math.floor(Math.log10(Math.max(1, largest)))));
}

function signed(value: number, digits: number): string {
  const text = digits === 0 ? count(Math.abs(value)) : Math.abs(value).toFixed(digits);
  return /^[0.]+$/.test(text) ? text : `${value < 0 ? "−" : "+"}${text}`;
}

/** First and last column to the left, numbers to the right. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const last = rows[0].length - 1;
  return rows.map((row) =>
    `  ${row.map((cell, i) => (i === 0 || i === last ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ")}`.trimEnd(),
  );
}
