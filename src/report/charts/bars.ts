/** Horizontal bars from zero, each with its number, and an interval where there is one. */
import { html, type Markup } from "../html.ts";
import { short } from "../numbers.ts";
import { linear } from "./scale.ts";
import { CHART_WIDTH, n, type Series, svg, xAxis } from "./svg.ts";

export interface BarChart {
  readonly title: string;
  readonly description: string;
  readonly bars: readonly Bar[];
  readonly xLabel: string;
  /** an upright line through all bars, such as the clean model's loss */
  readonly reference?: number;
}

export interface Bar {
  readonly label: string;
  readonly series: Series;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

const ROW = 24;
const LABEL_WIDTH = 104;

export function barChart({ bars, reference, ...chart }: BarChart): Markup {
  const bottom = bars.length * ROW + 4;
  const area = { left: LABEL_WIDTH, right: CHART_WIDTH - 50, top: 4, bottom };
  const most = Math.max(...bars.flatMap(({ value, high }) => [value, high ?? value]), 0);
  const scale = linear(0, most, { from: area.left, to: area.right }, { pieces: 3 });
  return svg(
    { title: chart.title, description: chart.description, height: bottom + 34 },
    scale.ticks.map((tick) => html`<path class="grid" d="M${n(tick.at)} 4V${bottom}"/>`),
    reference === undefined
      ? null
      : html`<path class="reference" d="M${n(scale.at(reference))} 4V${bottom}"/>`,
    xAxis(scale, area, chart.xLabel),
    bars.map((bar, i) => {
      const y = 4 + i * ROW;
      const end = scale.at(bar.value);
      const whisker =
        bar.low === undefined || bar.high === undefined
          ? null
          : html`<path class="whisker over" d="M${n(scale.at(bar.low))} ${y + ROW / 2}H${n(scale.at(bar.high))}"/>`;
      const right = Math.max(end, bar.high === undefined ? end : scale.at(bar.high));
      return html`<text x="${LABEL_WIDTH - 6}" y="${y + ROW / 2 + 4}" text-anchor="end">${bar.label}</text><rect class="bar ${bar.series}" x="${n(area.left)}" y="${y + 5}" width="${n(Math.max(0.5, end - area.left))}" height="${ROW - 10}"/>${whisker}<text class="value" x="${n(right + 5)}" y="${y + ROW / 2 + 4}">${short(bar.value, 3)}</text>`;
    }),
  );
}
