/** How unevenly the error lies on the tokens: concentration curves, and VE without the worst. */
import type { OutlierShare, OutlierSummary } from "../../evals/result.ts";
import { lineChart } from "../charts/lines.ts";
import { linear, logarithmic, type Scale } from "../charts/scale.ts";
import { type Area, keepApart, n } from "../charts/svg.ts";
import { measured, PHASES, type Phase, type ReportFacts } from "../facts.ts";
import { figure, type Section, type Table, table } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { ABSENT, count, fixed, percent, roundPercent } from "../numbers.ts";
import { OUTLIER_SHARE } from "../verdict.ts";
import { perSet } from "./per-set.ts";

const SHOWN: readonly Phase[] = ["home", "before", "after"];

interface Curve {
  readonly phase: Phase;
  readonly ve: number;
  readonly nTokens: number;
  readonly outliers: OutlierSummary;
  /** the share of tokens that is called out */
  readonly called: OutlierShare;
}

export function outliersSection(facts: ReportFacts): Section {
  const figures = perSet(facts, (layer, set) => {
    const curves = SHOWN.flatMap((phase): Curve[] => {
      const result = measured(layer, phase, set);
      const called = result?.outliers?.shares.find(({ share }) => share === OUTLIER_SHARE);
      if (result === undefined || result.outliers === null || called === undefined) return [];
      const { metrics, nTokens, outliers } = result;
      return [{ phase, ve: metrics.ve.value, nTokens, outliers, called }];
    });
    return curves.length === 0 ? [] : [concentration(layer.layer, set, curves)];
  });
  return {
    id: "outliers",
    title: "Which tokens carry the error",
    body:
      figures === null
        ? null
        : [
            html`<p>Tokens in the order of their squared error, worst first: the curve says which share of all squared error the worst carry; the worst ${roundPercent(OUTLIER_SHARE)} are called out. The higher at the left, the fewer tokens are to blame. Beneath, VE without those tokens, and without as many of largest norm: where the two change alike, a screen by norm would find the outliers.</p>
`,
            figures,
          ],
  };
}

function concentration(layer: number, set: string, curves: readonly Curve[]): Markup {
  const lowest = Math.floor(Math.log10(1 / Math.max(...curves.map(({ nTokens }) => nTokens))) + 1e-9);
  const chart = lineChart({
    title: `Concentration of squared error, layer ${layer}, ${set}`,
    description: `Share of the squared error that the worst ${roundPercent(OUTLIER_SHARE)} of tokens carry: ${curves.map(({ phase, called }) => `${PHASES[phase]} ${percent(called.sseShare)}`).join(", ")}.`,
    lines: curves.map(({ phase, outliers }) => ({
      series: phase,
      name: "",
      points: outliers.curve
        .filter(({ tokenShare }) => tokenShare > 0)
        .map(({ tokenShare, sseShare }) => [tokenShare, sseShare] as const),
    })),
    xLabel: "share of tokens, worst first",
    yLabel: "share of the squared error",
    x: (range) => logarithmic(Math.min(lowest, -5), 0, range, (exponent) => roundPercent(10 ** exponent)),
    y: (range) => linear(0, 1, range, { exact: true }),
    extra: (x, y, area) => callOut(curves, x, y, area),
  });
  const without = table({
    caption: `VE without outliers, layer ${layer}, ${set}`,
    columns: ["VE", "of all", `without worst ${roundPercent(OUTLIER_SHARE)}`, "of largest norm"],
    rows: curves.map(({ phase, ve, called }) => [
      PHASES[phase],
      fixed(ve, 3),
      fixed(called.veWithout, 3),
      fixed(called.veWithoutByNorm, 3),
    ]),
  });
  return figure({
    title: `Layer ${layer}, ${set}.`,
    charts: [chart, without],
    table: numbers(layer, set, curves),
  });
}

/** A line at the share called out, a dot where each curve crosses it, and the numbers at its left: curves rise, there is room. */
function callOut(curves: readonly Curve[], x: Scale, y: Scale, area: Area): Markup {
  const at = x.at(OUTLIER_SHARE);
  const crossings = curves.map(({ called }) => y.at(called.sseShare));
  const places = keepApart(
    crossings.map((place) => place - 6),
    13,
    area.top + 10,
    area.bottom - 6,
  );
  return html`<path class="reference" d="M${n(at)} ${area.top}V${area.bottom}"/>${curves.map(
    ({ phase, called }, i) =>
      html`<circle class="dot ${phase}" cx="${n(at)}" cy="${n(crossings[i])}" r="3"/><text class="name halo ${phase}" x="${n(at - 6)}" y="${n(places[i])}" text-anchor="end">${PHASES[phase]} ${percent(called.sseShare)}</text>`,
  )}`;
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
      "by norm: share of the error",
      "by norm: VE without",
      "Gini coefficient",
    ],
    rows: curves.flatMap(({ phase, ve, outliers }) => [
      [PHASES[phase], "none", "0", ABSENT, fixed(ve, 4), ABSENT, fixed(ve, 4), fixed(outliers.gini, 3)],
      ...outliers.shares.map((one) => [
        PHASES[phase],
        roundPercent(one.share),
        count(one.nTokens),
        percent(one.sseShare),
        fixed(one.veWithout, 4),
        percent(one.sseShareByNorm),
        fixed(one.veWithoutByNorm, 4),
        "",
      ]),
    ]),
  };
}
