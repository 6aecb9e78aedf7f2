/** Axes in the report's style. All charts are 320 units wide and drawn at about that many pixels, so that letters stay letters. */
import type { ComponentChildren } from "preact";
import type { Scale } from "../../../src/report/charts/scale.ts";

export const CHART_WIDTH = 320;

/** The four sides of the plotting area. */
export interface Area {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** One decimal is less than a pixel. */
export const place = (value: number): number => Math.round(value * 10) / 10;

/** A chart that tells who cannot see it what it shows. */
export function Chart(props: {
  readonly title: string;
  readonly description: string;
  readonly height: number;
  readonly children: ComponentChildren;
}) {
  return (
    <svg
      class="chart"
      viewBox={`0 0 ${CHART_WIDTH} ${props.height}`}
      role="img"
      aria-label={`${props.title}. ${props.description}`}
    >
      {props.children}
    </svg>
  );
}

export function XAxis({ scale, area, label }: { scale: Scale; area: Area; label: string }) {
  const y = area.bottom;
  return (
    <g class="axis">
      <path d={`M${place(area.left)} ${place(y)}H${place(area.right)}`} />
      {scale.ticks.map((tick) => (
        <>
          <path d={`M${place(tick.at)} ${place(y)}v4`} />
          <text x={place(tick.at)} y={place(y + 15)} text-anchor="middle">
            {tick.label}
          </text>
        </>
      ))}
      <text class="what" x={place(area.right)} y={place(y + 30)} text-anchor="end">
        {label}
      </text>
    </g>
  );
}

export function YAxis({ scale, area, label }: { scale: Scale; area: Area; label: string }) {
  return (
    <g class="axis">
      {scale.ticks.map((tick) => (
        <>
          <path class="grid" d={`M${place(area.left)} ${place(tick.at)}H${place(area.right)}`} />
          <text x={place(area.left - 5)} y={place(tick.at + 4)} text-anchor="end">
            {tick.label}
          </text>
        </>
      ))}
      <text class="what" x={0} y={11}>
        {label}
      </text>
    </g>
  );
}
