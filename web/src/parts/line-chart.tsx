/**
 * Lines over a common x, with moments marked; under the pointer, or by the arrow keys when in focus, each x is read out.
 */
import { useState } from "preact/hooks";
import { linear } from "../../../src/report/charts/scale.ts";
import { count, short } from "../../../src/report/numbers.ts";
import { type Area, CHART_WIDTH, place, XAxis, YAxis } from "./axes.tsx";
import { extent } from "./scales.ts";

export interface Line {
  readonly name: string;
  readonly series: "after" | "before" | "neutral";
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly hasDots?: boolean;
}

export interface Moment {
  readonly step: number;
  readonly kind: "rollback" | "incident" | "note" | "resampling";
  readonly text: string;
}

export interface LineChartProps {
  readonly title: string;
  readonly meaning?: string;
  readonly xLabel: string;
  readonly lines: readonly Line[];
  readonly moments: readonly Moment[];
  readonly isLog?: boolean;
}

const HEIGHT = 160;
const MARKS = { rollback: "↶", incident: "!", note: "i", resampling: "R" } as const;

export function LineChart({ title, meaning, xLabel, lines, moments, isLog = false }: LineChartProps) {
  const [reading, setReading] = useState<number | null>(null);
  const area: Area = { left: 46, right: CHART_WIDTH - 10, top: 34, bottom: HEIGHT - 34 };
  const height = (value: number) => (isLog ? Math.log10(Math.max(value, 1e-30)) : value);
  const xs = extent(lines.flatMap((line) => [...line.x]));
  const ys = extent(lines.flatMap((line) => line.y.map(height)));
  if (xs === null || ys === null) return null;
  const x = linear(xs.low, xs.high, { from: area.left, to: area.right }, { exact: true });
  const yLinear = linear(ys.low, ys.high, { from: area.bottom, to: area.top });
  const y = isLog
    ? {
        ...yLinear,
        ticks: yLinear.ticks.map((tick, i) => ({ ...tick, label: short(10 ** tickValue(yLinear, i), 3) })),
      }
    : yLinear;
  const steps = lines[0].x;
  const move = (to: number) => setReading(Math.max(0, Math.min(steps.length - 1, to)));

  const onKeyDown = (event: KeyboardEvent) => {
    const jump = Math.max(1, Math.round(steps.length / 20));
    const now = reading ?? -1;
    const to = {
      ArrowRight: now + 1,
      ArrowLeft: now - 1,
      PageDown: now + jump,
      PageUp: now - jump,
      Home: 0,
      End: steps.length - 1,
    }[event.key];
    if (to === undefined) return;
    move(to);
    event.preventDefault();
  };
  const onPointerMove = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * CHART_WIDTH;
    const value = xs.low + ((at - area.left) / (area.right - area.left)) * (xs.high - xs.low);
    move(nearestIndex(steps, value));
  };
  const read = reading === null ? null : readingAt(lines, steps[reading]);

  return (
    <figure class="line-chart">
      <figcaption data-tip={meaning}>
        <span class="title">{title}</span>{" "}
        <span class="reading">
          {read ?? lines.map(({ name, y: values }) => `${name} ${short(values.at(-1))}`).join(" · ")}
        </span>
      </figcaption>
      <svg
        class="chart"
        viewBox={`0 0 ${CHART_WIDTH} ${HEIGHT}`}
        role="slider"
        tabIndex={0}
        aria-label={`${title}${meaning === undefined ? "" : `: ${meaning}`}`}
        aria-valuemin={xs.low}
        aria-valuemax={xs.high}
        aria-valuenow={reading === null ? xs.high : steps[reading]}
        aria-valuetext={read ?? readingAt(lines, steps.at(-1) as number)}
        onKeyDown={onKeyDown}
        onPointerMove={onPointerMove}
        onPointerLeave={() => setReading(null)}
        onBlur={() => setReading(null)}
      >
        <YAxis scale={y} area={area} label="" />
        <XAxis scale={x} area={area} label={xLabel} />
        {moments.map((moment, i) => (
          <g key={i} class={`moment ${moment.kind}`} data-tip={`step ${count(moment.step)}: ${moment.text}`}>
            <path d={`M${place(x.at(moment.step))} ${area.top - 6}V${area.bottom}`} />
            <text x={place(x.at(moment.step))} y={area.top - 10} text-anchor="middle">
              {MARKS[moment.kind]}
            </text>
          </g>
        ))}
        {lines.map((line) => (
          <g key={line.name}>
            <path
              class={`line ${line.series}`}
              d={line.x
                .map((at, i) => `${i === 0 ? "M" : "L"}${place(x.at(at))} ${place(y.at(height(line.y[i])))}`)
                .join("")}
            />
            {line.hasDots === true &&
              line.x.map((at, i) => (
                <circle
                  key={at}
                  class={`dot ${line.series}`}
                  cx={place(x.at(at))}
                  cy={place(y.at(height(line.y[i])))}
                  r="2.4"
                />
              ))}
          </g>
        ))}
        {reading !== null && (
          <path class="crosshair" d={`M${place(x.at(steps[reading]))} ${area.top}V${area.bottom}`} />
        )}
      </svg>
    </figure>
  );
}

function tickValue(scale: { low: number; high: number; ticks: readonly unknown[] }, i: number): number {
  const n = scale.ticks.length - 1;
  return n === 0 ? scale.low : scale.low + ((scale.high - scale.low) * i) / n;
}

function readingAt(lines: readonly Line[], step: number): string {
  return `step ${count(step)}: ${lines
    .map(({ name, x, y }) => `${name} ${short(y[nearestIndex(x, step)])}`)
    .join(" · ")}`;
}

/** Index of the value nearest to `wanted` in ascending values. */
export function nearestIndex(values: readonly number[], wanted: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low > 0 && wanted - values[low - 1] <= values[low] - wanted ? low - 1 : low;
}
