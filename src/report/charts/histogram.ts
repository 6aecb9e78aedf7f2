/** Two histograms over the same bins, one as an outline and one filled, and apart at the left what stands outside the bins. */
import { html, type Markup } from "../html.ts";
import { count } from "../numbers.ts";
import { linear, logarithmic } from "./scale.ts";
import { CHART_WIDTH, n, type Series, svg, xAxis, yAxis } from "./svg.ts";

export interface HistogramChart {
  readonly title: string;
  readonly description: string;
  /** exponent of ten where the first bin shown begins, and where the last one ends */
  readonly fromExponent: number;
  readonly toExponent: number;
  readonly histograms: readonly Histogram[];
  readonly outsideLabel: string;
  readonly xLabel: string;
  readonly yLabel: string;
}

export interface Histogram {
  readonly series: Series;
  readonly name: string;
  /** of equal width, from the lowest exponent to the highest */
  readonly counts: readonly number[];
  /** how many stand outside, drawn apart */
  readonly outside: number;
}

const HEIGHT = 178;
/** width of the place for what stands outside */
const OUTSIDE = 34;

export function histogramChart(chart: HistogramChart): Markup {
  const { histograms, fromExponent, toExponent } = chart;
  const area = { left: 42, right: CHART_WIDTH - 8, top: 30, bottom: HEIGHT - 36 };
  const inner = { from: area.left + OUTSIDE + 24, to: area.right };
  const x = logarithmic(fromExponent, toExponent, inner);
  const most = Math.max(1, ...histograms.flatMap(({ counts, outside }) => [...counts, outside]));
  const y = linear(0, most, { from: area.bottom, to: area.top });
  const barWidth = OUTSIDE / Math.max(1, histograms.length);
  return svg(
    { title: chart.title, description: chart.description, height: HEIGHT },
    yAxis(y, { ...area, top: 26 }, chart.yLabel),
    xAxis(x, { ...area, left: inner.from }, chart.xLabel),
    histograms.map((one, i) => {
      const left = area.left + 2 + i * barWidth;
      const top = y.at(one.outside);
      return html`<rect class="bar ${one.series}" x="${n(left)}" y="${n(top)}" width="${n(barWidth - 2)}" height="${n(area.bottom - top)}"><title>${one.name}: ${count(one.outside)} ${chart.outsideLabel}</title></rect>`;
    }),
    html`<g class="axis"><path d="M${area.left} ${area.bottom}h${OUTSIDE}"/><text x="${n(area.left + OUTSIDE / 2)}" y="${area.bottom + 15}" text-anchor="middle">${chart.outsideLabel}</text></g>`,
    [...histograms].reverse().map((one) => outline(one, inner, area.bottom, (value) => y.at(value))),
    key(histograms, area.right),
  );
}

function outline(
  { series, counts }: Histogram,
  { from, to }: { from: number; to: number },
  base: number,
  at: (value: number) => number,
): Markup {
  const width = (to - from) / counts.length;
  const steps = counts.map((value, i) => `V${n(at(value))}H${n(from + (i + 1) * width)}`).join("");
  return html`<path class="step ${series}" d="M${n(from)} ${n(base)}${steps}V${n(base)}"/>`;
}

/** The names, at the top right, each after a sample of its own line. */
function key(histograms: readonly Histogram[], right: number): Markup {
  let x = right;
  return html`${[...histograms].reverse().map(({ name, series }) => {
    x -= name.length * 7 + 26;
    return html`<path class="step ${series}" d="M${n(x)} 14v-7h13v7"/><text class="name ${series}" x="${n(x + 17)}" y="14">${name}</text>`;
  })}`;
}
