/** How unevenly the error lies on the tokens: concentration curves, and VE without the worst. */

import type { OutlierSummary } from "../../evals/result.ts";
import { lineChart } from "../charts/lines.ts";
import { linear, logarithmic } from "../charts/scale.ts";
import { keepApart, n } from "../charts/svg.ts";
import type { Phase, ReportFacts } from "../facts.ts";
import { measured, PHASES } from "../facts.ts";
import { figure, grid, ofLayer, type Section, type Table } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { count, fixed, listOf, percent } from "../numbers.ts";
import { OUTLIER_SHARE } from "../verdict.ts";
import { setsOf } from "./fit.ts";

const SHOWN: readonly Phase[] = ["home", "before", "after"];

interface Curve {
  readonly phase: Phase;
  readonly ve: number;
  readonly nTokens: number;
  readonly outliers: OutlierSummary;
}

export function outliersSection(facts: ReportFacts): Section {
  const layers = facts.layers.map((layer) => {
    const figures = setsOf(facts).flatMap((set) => {
      const curves = SHOWN.flatMap((phase): Curve[] => {
        const result = measured(layer, phase, set);
        return result === undefined || result.outliers === null
          ? []
          : [{ phase, ve: result.metrics.ve.value, nTokens: result.nTokens, outliers: result.outliers }];
      });
      return curves.length === 0 ? [] : [concentration(layer.layer, set, curves)];
    });
    return figures.length === 0 ? null : ofLayer(layer.layer, grid(figures));
  });
  return {
    id: "outliers",
    title: "Which tokens carry the error",
    body: layers.every((layer) => layer === null)
      ? null
      : [
          html`<p>Tokens in the order of their squared error, worst first: the curve says which share of all squared error the worst carry. The higher at the left, the fewer tokens are to blame. <i>By norm</i> leaves out as many tokens of largest norm instead: where that changes as much, a screen by norm would find the outliers.</p>
`,
          layers,
        ],
  };
}

function concentration(layer: number, set: string, curves: readonly Curve[]): Markup {
  const lowest = Math.floor(Math.log10(1 / Math.max(...curves.map(({ nTokens }) => nTokens))) + 1e-9);
  const called = curves.flatMap((curve) => {
    const worst = worstOf(curve);
    return worst === undefined ? [] : [{ ...curve, worst }];
  });
  return figure({
    title: `Layer ${layer}, ${set}.`,
    caption:
      listOf(
        called.map(
          ({ phase, worst, ve }) =>
            `${PHASES[phase]} the worst ${percent(worst.share)} carry ${percent(worst.sseShare)}, VE ${fixed(ve, 3)}, without them ${fixed(worst.veWithout, 3)}, without as many by norm ${fixed(worst.veWithoutByNorm, 3)}`,
        ),
      ).replace(/^./, (letter) => letter.toUpperCase()) + ".",
    charts: lineChart({
      title: `Concentration of squared error, layer ${layer}, ${set}`,
      description: called
        .map(
          ({ phase, worst }) =>
            `${PHASES[phase]}: the worst ${percent(worst.share)} of tokens carry ${percent(worst.sseShare)}.`,
        )
        .join(" "),
      lines: curves.map(({ phase, outliers }) => ({
        series: phase,
        name: "",
        points: outliers.curve
          .filter(({ tokenShare }) => tokenShare > 0)
          .map(({ tokenShare, sseShare }) => [tokenShare, sseShare] as const),
      })),
      xLabel: "share of tokens, worst first",
      yLabel: "share of the squared error",
      x: (range) => logarithmic(lowest, 0, range),
      y: (range) => linear(0, 1, range, { exact: true }),
      extra: (x, y, area) => {
        const at = x.at(OUTLIER_SHARE);
        const places = keepApart(
          called.map(({ worst }) => y.at(worst.sseShare) - 6),
          14,
          area.top + 8,
          area.bottom - 4,
        );
        return html`<path class="reference" d="M${n(at)} ${area.top}V${area.bottom}"/>${called.map(
          ({ phase, worst }, i) =>
            html`<circle class="dot ${phase}" cx="${n(at)}" cy="${n(y.at(worst.sseShare))}" r="3"/><text class="name ${phase}" x="${n(at - 6)}" y="${n(places[i])}" text-anchor="end">${PHASES[phase]} ${percent(worst.sseShare)}</text>`,
        )}`;
      },
    }),
    table: numbers(layer, set, curves),
  });
}

function worstOf({ outliers }: Curve) {
  return outliers.shares.find(({ share }) => share === OUTLIER_SHARE);
}

function numbers(layer: number, set: string, curves: readonly Curve[]): Table {
  return {
    caption: `Squared error carried by the worst tokens, layer ${layer}, ${set}`,
    columns: [
      "",
      "left out",
      "tokens",
      "their share of the error",
      "VE without",
      "by norm: share",
      "by norm: VE without",
    ],
    rows: curves.flatMap(({ phase, ve, nTokens, outliers }) => [
      [PHASES[phase], "none", count(nTokens), ABSENT_SHARE, fixed(ve, 4), ABSENT_SHARE, fixed(ve, 4)],
      ...outliers.shares.map((one) => [
        PHASES[phase],
        percent(one.share),
        count(one.nTokens),
        percent(one.sseShare),
        fixed(one.veWithout, 4),
        percent(one.sseShareByNorm),
        fixed(one.veWithoutByNorm, 4),
      ]),
      [`${PHASES[phase]}: Gini coefficient ${fixed(outliers.gini, 3)}`, "", "", "", "", "", ""],
    ]),
  };
}

const ABSENT_SHARE = "–";
