/** A dot plot: a row a thing, its values as marks on one scale, with intervals; what belongs together is joined by a line. */
import { html, type Markup } from "../html.ts";
import { short } from "../numbers.ts";
import { linear, type Scale } from "./scale.ts";
import { CHART_WIDTH, mark, n, type Series, svg, xAxis } from "./svg.ts";

export interface DotPlot {
  readonly title: string;
  readonly description: string;
  readonly rows: readonly DotRow[];
  readonly xLabel: string;
  /** vertical lines, such as a gate */
  readonly references?: readonly { readonly value: number; readonly label: string }[];
  /** values below are drawn as an arrow at the edge, with their number; default: none are */
  readonly floor?: number;
  /** greatest value that the scale shows at least */
  readonly ceiling?: number;
}

/** A heading, or a label with its marks. */
export type DotRow =
  | { readonly heading: string }
  | { readonly label: string; readonly marks: readonly DotMark[]; readonly spans?: readonly DotSpan[] };

export interface DotMark {
  readonly series: Series;
  readonly value: number | null;
  readonly low?: number;
  readonly high?: number;
  readonly tip: string;
}

/** A range with a thicker middle, as of quantiles. */
export interface DotSpan {
  readonly series: Series;
  readonly low: number;
  readonly high: number;
  readonly innerLow: number;
  readonly innerHigh: number;
}

const LABEL_WIDTH = 96;
const ROW = 20;

export function dotPlot({ rows, references = [], ...plot }: DotPlot): Markup {
  const top = references.length > 0 ? 20 : 6;
  const bottom = top + rows.length * ROW + 2;
  const area = { left: LABEL_WIDTH + 4, right: CHART_WIDTH - 10, top, bottom };
  const scale = scaleOf(rows, references, plot, { from: area.left, to: area.right });
  const lines = references.map(
    ({ value, label }) =>
      html`<g class="reference"><path d="M${n(scale.at(value))} ${top - 4}V${bottom}"/><text x="${n(scale.at(value))}" y="${top - 8}" text-anchor="${scale.at(value) > 260 ? "end" : "middle"}">${label}</text></g>`,
  );
  const grid = scale.ticks.map((tick) => html`<path class="grid" d="M${n(tick.at)} ${top}V${bottom}"/>`);
  return svg(
    { title: plot.title, description: plot.description, height: bottom + 34 },
    grid,
    lines,
    xAxis(scale, area, plot.xLabel),
    rows.map((row, i) => drawRow(row, top + (i + 0.5) * ROW, scale)),
  );
}

function drawRow(row: DotRow, y: number, scale: Scale): Markup {
  if ("heading" in row) return html`<text class="heading" x="0" y="${n(y + 5)}">${row.heading}</text>`;
  const present = row.marks.filter((one): one is DotMark & { value: number } => one.value !== null);
  const [before, after] = ["before", "after"].map((series) => present.find((one) => one.series === series));
  return html`<text x="${LABEL_WIDTH - 4}" y="${n(y + 4)}" text-anchor="end">${shorten(row.label)}${row.label === shorten(row.label) ? null : html`<title>${row.label}</title>`}</text>${
    before !== undefined && after !== undefined
      ? html`<path class="join" d="M${n(joinFrom(before.value, scale))} ${n(y)}H${n(scale.at(after.value))}"/>`
      : null
  }${(row.spans ?? []).map((span) => drawSpan(span, y, scale))}${present.map((one) => drawMark(one, y, scale))}`;
}

/** Where the line to the other mark begins: at the mark, or behind the number of one that is beyond the edge. */
function joinFrom(value: number, scale: Scale): number {
  return scale.at(value) + (value < scale.low ? 14 + 6.6 * short(value).length : 0);
}

function drawSpan(span: DotSpan, y: number, scale: Scale): Markup {
  const line = (low: number, high: number, name: string) =>
    html`<path class="${name} ${span.series}" d="M${n(scale.at(low))} ${n(y)}H${n(scale.at(high))}"/>`;
  return html`${line(span.low, span.high, "whisker")}${line(span.innerLow, span.innerHigh, "span")}`;
}

function drawMark(
  { series, value, low, high, tip }: DotMark & { value: number },
  y: number,
  scale: Scale,
): Markup {
  const x = scale.at(value);
  if (value < scale.low)
    return html`<g class="beyond ${series}"><path d="M${n(x + 7)} ${n(y - 5)}l-8 5l8 5z"><title>${tip}</title></path><text x="${n(x + 11)}" y="${n(y + 4)}">${short(value)}</text></g>`;
  const whisker =
    low === undefined || high === undefined
      ? null
      : html`<path class="whisker ${series}" d="M${n(scale.at(low))} ${n(y)}H${n(scale.at(high))}"/>`;
  return html`${whisker}${mark(series, x, y, tip)}`;
}

function scaleOf(
  rows: readonly DotRow[],
  references: readonly { readonly value: number }[],
  { floor, ceiling }: Pick<DotPlot, "floor" | "ceiling">,
  range: { from: number; to: number },
): Scale {
  const values = rows.flatMap((row) =>
    "heading" in row
      ? []
      : [
          ...row.marks.flatMap(({ value, low, high }) => [value, low, high]),
          ...(row.spans ?? []).flatMap(({ low, high }) => [low, high]),
        ].filter((value): value is number => value !== null && value !== undefined),
  );
  const all = [
    ...values,
    ...references.map(({ value }) => value),
    ...(ceiling === undefined ? [] : [ceiling]),
  ];
  const lowest = Math.min(...all);
  return linear(floor === undefined ? lowest : Math.max(floor, lowest), Math.max(...all), range);
}

/** As much of a label as fits beside the plot. */
export function shorten(label: string, most = 13): string {
  const letters = [...label];
  return letters.length <= most ? label : `${letters.slice(0, most - 1).join("")}…`;
}
