/**
 * A scatter of many points as counts in small squares, darker where more points lie; the points farthest out are drawn
 * singly. Sixty thousand latents would be a blot, and megabytes; nothing is sampled, every point is in a square.
 */
import { html, type Markup } from "../html.ts";
import { count } from "../numbers.ts";
import type { Scale } from "./scale.ts";
import { type Area, CHART_WIDTH, n, svg, xAxis, yAxis } from "./svg.ts";

export interface DensityChart {
  readonly title: string;
  readonly description: string;
  readonly xs: ArrayLike<number>;
  readonly ys: ArrayLike<number>;
  /** points drawn singly, with what is said of them */
  readonly singled: readonly { readonly index: number; readonly tip: string }[];
  readonly x: (range: { from: number; to: number }) => Scale;
  readonly y: (range: { from: number; to: number }) => Scale;
  readonly xLabel: string;
  readonly yLabel: string;
}

const SQUARE = 5;
const HEIGHT = 270;
/** steps of darkness; a square of the i-th holds more than 4^(i−1) points */
const STEPS = 6;

export function densityChart(chart: DensityChart): Markup {
  const area = { left: 40, right: CHART_WIDTH - 10, top: 28, bottom: HEIGHT - 36 };
  const x = chart.x({ from: area.left, to: area.right });
  const y = chart.y({ from: area.bottom, to: area.top });
  return svg(
    { title: chart.title, description: chart.description, height: HEIGHT },
    yAxis(y, area, chart.yLabel),
    xAxis(x, area, chart.xLabel),
    squares(chart, x, y, area),
    chart.singled.map(
      ({ index, tip }) =>
        html`<circle class="single" cx="${n(x.at(chart.xs[index]))}" cy="${n(y.at(chart.ys[index]))}" r="2.6"><title>${tip}</title></circle>`,
    ),
  );
}

/** Squares of one darkness are one path. */
function squares({ xs, ys }: DensityChart, x: Scale, y: Scale, area: Area): Markup {
  const columns = Math.ceil((area.right - area.left) / SQUARE);
  const counts = new Map<number, number>();
  for (let i = 0; i < xs.length; i++) {
    const column = Math.min(columns - 1, Math.floor((x.at(xs[i]) - area.left) / SQUARE));
    const row = Math.floor((area.bottom - y.at(ys[i])) / SQUARE);
    counts.set(row * columns + column, (counts.get(row * columns + column) ?? 0) + 1);
  }
  const steps: string[][] = Array.from({ length: STEPS }, () => []);
  for (const [cell, held] of counts) {
    const left = area.left + (cell % columns) * SQUARE;
    const top = area.bottom - (Math.floor(cell / columns) + 1) * SQUARE;
    steps[darkness(held)].push(`M${left} ${n(top)}h${SQUARE}v${SQUARE}h-${SQUARE}z`);
  }
  return html`${steps.map((paths, step) => (paths.length === 0 ? null : html`<path class="density d${step}" d="${paths.join("")}"/>`))}`;
}

/** 0 for one point, then a step for each factor of four. */
export function darkness(held: number): number {
  return Math.min(STEPS - 1, Math.ceil(Math.max(0, Math.log(held) / Math.log(4) - 1e-9)));
}

/** What the shades mean, in words. */
export function densityKey(): string {
  return `Shades, from faint to strong: 1 latent in a square, up to 4, 16, 64, ${count(4 ** (STEPS - 2))}, and more.`;
}
