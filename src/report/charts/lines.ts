/** A line chart: one or more lines over a common x, named at their right ends; moments marked by upright lines. */
import { html, type Markup } from "../html.ts";
import type { Scale } from "./scale.ts";
import { type Area, CHART_WIDTH, keepApart, n, path, type Series, svg, xAxis, yAxis } from "./svg.ts";

export interface LineChart {
  readonly title: string;
  readonly description: string;
  readonly lines: readonly Line[];
  readonly xLabel: string;
  readonly yLabel: string;
  /** from the area to a scale */
  readonly x: (range: { from: number; to: number }) => Scale;
  readonly y: (range: { from: number; to: number }) => Scale;
  readonly moments?: readonly Moment[];
  /** what is drawn besides, on the chart's scales */
  readonly extra?: (x: Scale, y: Scale, area: Area) => Markup;
  /** room at the right for the lines' names */
  readonly nameWidth?: number;
}

export interface Line {
  readonly series: Series;
  /** shown at its right end; empty: not named */
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
  /** least and greatest value around each point */
  readonly band?: readonly (readonly [number, number, number])[];
  /** marks each point, not only the line */
  readonly dots?: boolean;
}

/** Something that happened at an x. */
export interface Moment {
  readonly x: number;
  readonly kind: "resampling" | "rollback" | "incident" | "note";
  /** a number or letter that the text below the chart explains */
  readonly label: string;
  readonly tip: string;
}

const HEIGHT = 168;

export function lineChart(chart: LineChart): Markup {
  const moments = chart.moments ?? [];
  const top = moments.length > 0 ? 40 : 26;
  const area = { left: 40, right: CHART_WIDTH - (chart.nameWidth ?? 16), top, bottom: HEIGHT - 34 };
  const x = chart.x({ from: area.left, to: area.right });
  const y = chart.y({ from: area.bottom, to: area.top });
  return svg(
    { title: chart.title, description: chart.description, height: HEIGHT },
    yAxis(y, { ...area, top: 20 }, chart.yLabel),
    xAxis(x, area, chart.xLabel),
    moments.map((moment) => drawMoment(moment, x, area)),
    chart.lines.map((line) => drawLine(line, x, y)),
    names(chart.lines, x, y, area),
    chart.extra?.(x, y, area),
  );
}

function drawLine({ series, points, band, dots }: Line, x: Scale, y: Scale): Markup {
  const place = ([at, value]: readonly [number, number]) => [x.at(at), y.at(value)] as const;
  const around =
    band === undefined || band.length < 2
      ? null
      : html`<path class="band ${series}" d="${path([
          ...band.map(([at, low]) => place([at, low])),
          ...band.map(([at, , high]) => place([at, high])).reverse(),
        ])}z"/>`;
  const marks = dots
    ? points.map((point) => {
        const [px, py] = place(point);
        return html`<circle class="dot ${series}" cx="${n(px)}" cy="${n(py)}" r="2.4"/>`;
      })
    : null;
  return html`${around}<path class="line ${series}" d="${path(points.map(place))}"/>${marks}`;
}

function names(lines: readonly Line[], x: Scale, y: Scale, area: Area): Markup[] {
  const named = lines.filter(({ name, points }) => name !== "" && points.length > 0);
  const ends = named.map(({ points }) => points[points.length - 1]);
  const places = keepApart(
    ends.map(([, value]) => y.at(value)),
    13,
    area.top,
    area.bottom,
  );
  return named.map(
    ({ series, name }, i) =>
      html`<text class="name ${series}" x="${n(x.at(ends[i][0]) + 6)}" y="${n(places[i] + 4)}">${name}</text>`,
  );
}

function drawMoment({ x: at, kind, label, tip }: Moment, x: Scale, area: Area): Markup {
  const px = n(x.at(at));
  return html`<g class="moment ${kind}"><path d="M${px} ${area.top - 6}V${area.bottom}"/><text x="${px}" y="${area.top - 9}" text-anchor="middle">${label}<title>${tip}</title></text></g>`;
}
