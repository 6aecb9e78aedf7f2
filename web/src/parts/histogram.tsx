/** A histogram of equal bins, with one before it as an outline where there is one; a range of it can be chosen by dragging. */
import { linear, type Scale } from "../../../src/report/charts/scale.ts";
import { count } from "../../../src/report/numbers.ts";
import { type Area, CHART_WIDTH, Chart, place, XAxis, YAxis } from "./axes.tsx";
import { type Box, Brush } from "./brush.tsx";

export interface HistogramProps {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** ends of the first and of the last bin */
  readonly low: number;
  readonly high: number;
  readonly counts: readonly number[];
  readonly before?: readonly number[];
  /** how an end of a bin is written */
  readonly format: (value: number) => string;
  /** heights by log10(1 + count): a few large bins leave the others to be seen */
  readonly logCounts?: boolean;
  readonly x?: (range: { from: number; to: number }) => Scale;
  /** ends of the chosen range; null: none */
  readonly chosen?: { readonly low: number; readonly high: number } | null;
  readonly onChoose?: (range: { low: number; high: number } | null) => void;
}

const HEIGHT = 150;

export function Histogram(props: HistogramProps) {
  const { title, counts, before, low, high, format, logCounts = false } = props;
  const area: Area = { left: 40, right: CHART_WIDTH - 8, top: 20, bottom: HEIGHT - 34 };
  const x =
    props.x?.({ from: area.left, to: area.right }) ??
    linear(low, high, { from: area.left, to: area.right }, { exact: true });
  const height = (value: number) => (logCounts ? Math.log10(1 + value) : value);
  const all = [...counts, ...(before ?? [])];
  const y = yScale(Math.max(1, ...all), logCounts, area);
  const width = (area.right - area.left) / counts.length;
  const edge = (i: number) => low + ((high - low) * i) / counts.length;
  const total = counts.reduce((sum, value) => sum + value, 0);
  const fullest = counts.indexOf(Math.max(...counts));
  const description = `${count(total)} in ${counts.length} bins from ${format(low)} to ${format(high)}; most, ${count(counts[fullest])}, between ${format(edge(fullest))} and ${format(edge(fullest + 1))}.`;
  const toValue = (at: number) => low + ((at - area.left) / (area.right - area.left)) * (high - low);
  const toPlace = (value: number) => area.left + ((value - low) / (high - low)) * (area.right - area.left);
  const clamp = (at: number) => Math.min(area.right, Math.max(area.left, at));

  return (
    <Chart title={title} description={description} height={HEIGHT}>
      <YAxis scale={y} area={area} label={props.yLabel} />
      <XAxis scale={x} area={area} label={props.xLabel} />
      <path class="step after" d={outline(counts, area, width, (value) => y.at(height(value)))} />
      {before !== undefined && (
        <path class="step before" d={outline(before, area, width, (value) => y.at(height(value)))} />
      )}
      {props.onChoose === undefined ? (
        counts.map((value, i) => (
          <rect
            key={i}
            class="over"
            x={place(area.left + i * width)}
            y={area.top}
            width={place(width)}
            height={area.bottom - area.top}
            data-tip={`${format(edge(i))} … ${format(edge(i + 1))}: ${count(value)}${before === undefined ? "" : `, before ${count(before[i])}`}`}
          />
        ))
      ) : (
        <Brush
          area={area}
          axes="x"
          chosen={boxOf(props.chosen ?? null, area, (value) => clamp(toPlace(value)))}
          onChoose={(box) =>
            props.onChoose?.(box === null ? null : { low: toValue(box.left), high: toValue(box.right) })
          }
        />
      )}
    </Chart>
  );
}

function yScale(most: number, isLog: boolean, area: Area): Scale {
  const range = { from: area.bottom, to: area.top };
  if (!isLog) return linear(0, most, range);
  const top = Math.log10(1 + most);
  const at = (value: number) => range.from + (value / top) * (range.to - range.from);
  const powers = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000].filter((power) => power <= most);
  return {
    at,
    low: 0,
    high: top,
    ticks: [0, ...powers]
      .map((power) => ({ at: at(Math.log10(1 + power)), label: count(power) }))
      .filter(apart),
  };
}

/** Labels of ticks stay apart. */
function apart({ at }: { at: number }, i: number, ticks: readonly { at: number }[]): boolean {
  return i === 0 || Math.abs(ticks[i - 1].at - at) > 9;
}

function outline(
  counts: readonly number[],
  area: Area,
  width: number,
  at: (value: number) => number,
): string {
  const steps = counts.map((value, i) => `V${place(at(value))}H${place(area.left + (i + 1) * width)}`);
  return `M${area.left} ${area.bottom}${steps.join("")}V${area.bottom}`;
}

function boxOf(
  chosen: { low: number; high: number } | null,
  area: Area,
  at: (value: number) => number,
): Box | null {
  return chosen === null
    ? null
    : { left: at(chosen.low), right: at(chosen.high), top: area.top, bottom: area.bottom };
}
