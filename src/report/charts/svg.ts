/**
 * What all charts share: the SVG element with its title, axes, and labels that keep apart. Colours and lines are
 * classes (`style.ts`), so that a chart follows the page into dark mode and onto paper. Every chart is 320 units wide:
 * on a phone it is shown at about its own size, and letters stay letters.
 */
import { type Content, html, type Markup } from "../html.ts";
import type { Scale } from "./scale.ts";

export const CHART_WIDTH = 320;

/** The four sides of the plotting area. */
export interface Area {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** A class of marks; the same everywhere in the page. */
export type Series = "home" | "before" | "prepolish" | "after" | "neutral" | "faint";

/** A chart that tells who cannot see it what it shows. */
export function svg(
  chart: { readonly title: string; readonly description: string; readonly height: number },
  ...body: readonly Content[]
): Markup {
  return html`<svg class="chart" viewBox="0 0 ${CHART_WIDTH} ${chart.height}" role="img"><title>${chart.title}</title><desc>${chart.description}</desc>${body}</svg>`;
}

/** Horizontal axis under the area: ticks, labels, and what it measures, at its right end. */
export function xAxis(scale: Scale, area: Area, label: string): Markup {
  const y = area.bottom;
  return html`<g class="axis"><path d="M${n(area.left)} ${n(y)}H${n(area.right)}"/>${scale.ticks.map(
    (tick) =>
      html`<path d="M${n(tick.at)} ${n(y)}v4"/><text x="${n(tick.at)}" y="${n(y + 15)}" text-anchor="middle">${tick.label}</text>`,
  )}<text class="what" x="${n(area.right)}" y="${n(y + 29)}" text-anchor="end">${label}</text></g>`;
}

/** Vertical axis: faint lines across the area, labels at their left, and what it measures above them. */
export function yAxis(scale: Scale, area: Area, label: string): Markup {
  return html`<g class="axis"><text class="what" x="0" y="${n(area.top - 8)}">${label}</text>${scale.ticks.map(
    (tick) =>
      html`<path class="grid" d="M${n(area.left)} ${n(tick.at)}H${n(area.right)}"/><text x="${n(area.left - 5)}" y="${n(tick.at + 4)}" text-anchor="end">${tick.label}</text>`,
  )}</g>`;
}

/** A coordinate with one decimal: a tenth of a pixel is enough, and half the bytes. */
export function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A line through points; breaks where a point is null. */
export function path(points: readonly (readonly [number, number] | null)[]): string {
  let pen = "M";
  return points
    .map((point) => {
      if (point === null) {
        pen = "M";
        return "";
      }
      const piece = `${pen}${n(point[0])} ${n(point[1])}`;
      pen = "L";
      return piece;
    })
    .join("");
}

/** Places moved as little as needed to keep `gap` between neighbours; the order of the input is kept. */
export function keepApart(places: readonly number[], gap: number, low: number, high: number): number[] {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const moved = order.map((i) => places[i]);
  for (let round = 0; round < 50; round++) {
    for (let i = 1; i < moved.length; i++) {
      const missing = gap - (moved[i] - moved[i - 1]);
      if (missing > 0) {
        moved[i] += missing / 2;
        moved[i - 1] -= missing / 2;
      }
    }
    if (moved.length > 0) {
      const under = Math.max(0, low - moved[0]);
      const over = Math.max(0, moved[moved.length - 1] - high);
      moved.forEach((_, i) => {
        moved[i] += under - over;
      });
    }
  }
  const result = new Array<number>(places.length);
  order.forEach((from, i) => {
    result[from] = moved[i];
  });
  return result;
}

/** A mark whose shape, not only its colour, says what it is: ring, diamond, square, dot. */
export function mark(series: Series, x: number, y: number, tip?: string): Markup {
  const title = tip === undefined ? null : html`<title>${tip}</title>`;
  if (series === "before")
    return html`<path class="mark before" d="M${n(x)} ${n(y - 5)}l5 5l-5 5l-5 -5z">${title}</path>`;
  if (series === "prepolish")
    return html`<rect class="mark prepolish" x="${n(x - 3.5)}" y="${n(y - 3.5)}" width="7" height="7">${title}</rect>`;
  return html`<circle class="mark ${series}" cx="${n(x)}" cy="${n(y)}" r="${series === "home" ? 4 : 4.5}">${title}</circle>`;
}
