/** How often latents fire, before and after: histograms of firing frequency, and what never fires. */
import { type Histogram, histogramChart } from "../charts/histogram.ts";
import type { Phase, ReportedResult, ReportFacts } from "../facts.ts";
import { measured, PHASES } from "../facts.ts";
import { figure, type Section } from "../figure.ts";
import type { Markup } from "../html.ts";
import { count, fixed, roundPercent } from "../numbers.ts";
import { perSet } from "./per-set.ts";

const SHOWN: readonly Phase[] = ["before", "after"];

export function firingSection(facts: ReportFacts): Section {
  const body = perSet(facts, (layer, set) => {
    const results = SHOWN.flatMap((phase) => {
      const result = measured(layer, phase, set);
      return result === undefined ? [] : [{ phase, result }];
    });
    return results.length === 0 ? [] : [firingFigure(layer.layer, set, results)];
  });
  return { id: "firing", title: "How often latents fire", body };
}

interface Counted {
  readonly phase: Phase;
  readonly result: ReportedResult;
}

function firingFigure(layer: number, set: string, results: readonly Counted[]): Markup {
  const from = firstExponent(results);
  const never = results
    .map(({ phase, result: { latents } }) => `${count(latents.nNeverFired)} ${PHASES[phase]}`)
    .join(", ");
  return figure({
    title: `Layer ${layer}, ${set}.`,
    caption: `Of ${count(results[0].result.latents.nLatents)} latents never fired: ${never}.`,
    charts: histogramChart({
      title: `Firing frequency of latents, layer ${layer}, ${set}`,
      description: `Histograms over the power of ten of the firing frequency; at the left latents that never fired: ${never}.`,
      fromExponent: from,
      toExponent: 0,
      histograms: results.map((one) => histogramOf(one, from)),
      outsideLabel: "never",
      xLabel: "share of tokens on which a latent fires",
      yLabel: "latents",
    }),
    table: numbers(layer, set, results, from),
  });
}

/** The power of ten below which no latent fires, but for those that never do. */
function firstExponent(results: readonly Counted[]): number {
  const lowest = results.map(({ result: { latents } }) => {
    const { floor, binWidth, counts } = latents.frequencyHistogram;
    const first = counts.findIndex((value, bin) => bin > 0 && value > 0);
    return first < 0 ? -1 : floor + first * binWidth;
  });
  return Math.min(-1, Math.floor(Math.min(...lowest) + 1e-9));
}

function histogramOf({ phase, result: { latents } }: Counted, from: number): Histogram {
  const { floor, binWidth, counts } = latents.frequencyHistogram;
  return {
    series: phase,
    name: PHASES[phase],
    counts: counts.slice(Math.round((from - floor) / binWidth)),
    outside: latents.nNeverFired,
  };
}

/** Latents at the two ends; results of older versions do not have them. */
function rareAndFrequent(results: readonly Counted[]): string[][] {
  const latents = results.map(({ result }) => result.latents);
  if (latents.some(({ nAbove1Percent }) => nAbove1Percent === undefined)) return [];
  return [
    [
      "fired, but more rarely than …",
      ...latents.map(({ ultraRare }) =>
        ultraRare === undefined ? "" : `${count(ultraRare.nLatents)} (${roundPercent(ultraRare.below)})`,
      ),
    ],
    ["on more than 1 % of tokens", ...latents.map(({ nAbove1Percent }) => count(nAbove1Percent))],
    ["on more than 10 % of tokens", ...latents.map(({ nAbove10Percent }) => count(nAbove10Percent))],
  ];
}

function numbers(layer: number, set: string, results: readonly Counted[], from: number) {
  const { binWidth } = results[0].result.latents.frequencyHistogram;
  const histograms = results.map((one) => histogramOf(one, from));
  return {
    caption: `Latents by firing frequency, layer ${layer}, ${set}`,
    columns: ["log10 of the frequency", ...results.map(({ phase }) => PHASES[phase])],
    rows: [
      ["never fired", ...histograms.map(({ outside }) => count(outside))],
      ...rareAndFrequent(results),
      ...histograms[0].counts.map((_, bin) => [
        `${fixed(from + bin * binWidth, 2)} to ${fixed(from + (bin + 1) * binWidth, 2)}`,
        ...histograms.map(({ counts }) => count(counts[bin])),
      ]),
    ],
  };
}
