/** Where it fits and where it does not: VE by source, role, position, class of token and document, before and after. */

import type { Slice, SliceGroup } from "../../evals/result.ts";
import { type DotMark, type DotRow, type DotSpan, dotPlot } from "../charts/dots.ts";
import type { Phase, ReportedResult, ReportFacts } from "../facts.ts";
import { measured, PHASES } from "../facts.ts";
import { figure, type Section, type Table } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { count, fixed, listOf, percent, short } from "../numbers.ts";
import { key } from "./fit.ts";
import { perSet } from "./per-set.ts";

const SHOWN: readonly Phase[] = ["before", "after"];

const NAMES: Readonly<Record<SliceGroup["by"], string>> = {
  source: "by source",
  role: "by role",
  position: "by position in the window",
  tokenClass: "by class of token",
  document: "over documents",
};

const NOUNS: Readonly<Record<SliceGroup["by"], string>> = {
  source: "source",
  role: "role",
  position: "range of positions",
  tokenClass: "class of token",
  document: "document",
};

interface Sliced {
  readonly phase: Phase;
  readonly result: ReportedResult;
}

export function slicesSection(facts: ReportFacts): Section {
  const figures = perSet(facts, (layer, set) => {
    const results = SHOWN.flatMap((phase): Sliced[] => {
      const result = measured(layer, phase, set);
      return result === undefined || result.slices.length === 0 ? [] : [{ phase, result }];
    });
    return results.length === 0 ? [] : [slicesFigure(layer.layer, set, results)];
  });
  const phases = SHOWN.filter((phase) =>
    facts.layers.some((layer) => layer.measurements.some((entry) => entry.phase === phase)),
  );
  return {
    id: "slices",
    title: "Where it fits and where it does not",
    body:
      figures === null
        ? null
        : [
            html`<p>VE of parts of each set, each about its own mean. ${key(phases)} Of documents: a line from the 10th to the 90th percentile, thick from the 25th to the 75th, the mark at the median.</p>
`,
            figures,
          ],
  };
}

function slicesFigure(layer: number, set: string, results: readonly Sliced[]): Markup {
  const groups = [...new Set(results.flatMap(({ result }) => result.slices.map(({ by }) => by)))];
  const drawn = groups.filter((by) => by === "document" || namesOf(results, by).length > 1);
  const left = groups.filter((by) => !drawn.includes(by));
  const rows = drawn.flatMap((by) => rowsOf(by, results));
  return figure({
    title: `Layer ${layer}, ${set}.`,
    caption: left.length === 0 ? "" : `Only ${listOf(left.map((by) => `one ${NOUNS[by]}`))}.`,
    charts: dotPlot({
      title: `VE of slices, layer ${layer}, ${set}`,
      description: `A dot plot of VE before and after, ${drawn.map((by) => NAMES[by]).join(", ")}.`,
      rows,
      xLabel: "VE",
      floor: -0.25,
      ceiling: 1,
    }),
    table: numbers(layer, set, groups, results),
  });
}

function groupOf({ result }: Sliced, by: SliceGroup["by"]): SliceGroup | undefined {
  return result.slices.find((group) => group.by === by);
}

function sliceOf(sliced: Sliced, by: SliceGroup["by"], name: string): Slice | undefined {
  return groupOf(sliced, by)?.slices.find((slice) => slice.name === name);
}

function namesOf(results: readonly Sliced[], by: SliceGroup["by"]): string[] {
  return [...new Set(results.flatMap((one) => groupOf(one, by)?.slices.map(({ name }) => name) ?? []))];
}

function rowsOf(by: SliceGroup["by"], results: readonly Sliced[]): DotRow[] {
  if (by === "document") return documentRows(results);
  return [
    { heading: NAMES[by] },
    ...namesOf(results, by).map((name) => ({
      label: name,
      marks: results.flatMap((one): DotMark[] => {
        const slice = sliceOf(one, by, name);
        return slice === undefined
          ? []
          : [
              {
                series: one.phase,
                value: slice.ve,
                tip: `${name}, ${PHASES[one.phase]}: VE ${fixed(slice.ve, 4)}, ${count(slice.nTokens)} tokens, ${percent(slice.sseShare)} of the error`,
              },
            ];
      }),
    })),
  ];
}

/** Documents are many: their spread, a row a phase. */
function documentRows(results: readonly Sliced[]): DotRow[] {
  const rows = results.flatMap((one): DotRow[] => {
    const quantiles = groupOf(one, "document")?.quantiles ?? [];
    const at = (percentile: number) => quantiles.find((entry) => entry.percentile === percentile)?.ve;
    const [low, innerLow, median, innerHigh, high] = [10, 25, 50, 75, 90].map(at);
    if ([low, innerLow, median, innerHigh, high].some((ve) => ve === undefined)) return [];
    const span = { series: one.phase, low, high, innerLow, innerHigh } as DotSpan;
    const tip = `documents, ${PHASES[one.phase]}: median VE ${fixed(median, 4)}, 10th to 90th percentile ${fixed(low, 4)} to ${fixed(high, 4)}`;
    return [
      {
        label: PHASES[one.phase],
        marks: [{ series: one.phase, value: median as number, tip }],
        spans: [span],
      },
    ];
  });
  return rows.length === 0 ? [] : [{ heading: NAMES.document }, ...rows];
}

function numbers(
  layer: number,
  set: string,
  groups: readonly SliceGroup["by"][],
  results: readonly Sliced[],
): Table {
  return {
    caption: `Slices of ${set}, layer ${layer}`,
    columns: [
      "part",
      "tokens",
      ...results.flatMap(({ phase }) =>
        ["VE", "L0", "MSE", "of the error"].map((what) => `${what} ${PHASES[phase]}`),
      ),
    ],
    rows: groups.flatMap((by) => [
      ...namesOf(results, by).map((name) => {
        const slices = results.map((one) => sliceOf(one, by, name));
        return [
          `${by === "document" ? "document " : ""}${name}`,
          count(slices.find((slice) => slice !== undefined)?.nTokens),
          ...slices.flatMap((slice) => [
            fixed(slice?.ve, 4),
            fixed(slice?.l0, 1),
            short(slice?.mse),
            percent(slice?.sseShare),
          ]),
        ];
      }),
      ...(by === "document" ? quantileRows(results) : []),
    ]),
  };
}

function quantileRows(results: readonly Sliced[]): (readonly string[])[] {
  const quantiles = results.map((one) => groupOf(one, "document")?.quantiles ?? []);
  return (quantiles[0] ?? []).map(({ percentile }) => [
    `documents, percentile ${percentile}`,
    "",
    ...quantiles.flatMap((list) => [
      fixed(list.find((entry) => entry.percentile === percentile)?.ve, 4),
      "",
      "",
      "",
    ]),
  ]);
}
