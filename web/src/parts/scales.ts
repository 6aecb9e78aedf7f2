/** Scales that the charts of the page share, and the way back from a place to a value. */
import { linear, type Range, type Scale } from "../../../src/report/charts/scale.ts";
import { powerOfTen } from "../../../src/report/numbers.ts";

/** Of base-10 logarithms, with powers of ten as labels. */
export function exponents(low: number, high: number, pieces = 6): (range: Range) => Scale {
  return (range) => {
    const [from, to] = [Math.floor(low), Math.max(Math.floor(low) + 1, Math.ceil(high))];
    const scale = linear(from, to, range, { exact: true, pieces });
    const every = Math.max(1, Math.ceil((to - from) / pieces));
    const whole = Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((_, i) => i % every === 0);
    return {
      ...scale,
      ticks: whole.map((exponent) => ({ at: scale.at(exponent), label: powerOfTen(exponent) })),
    };
  };
}

/** Of cosines, or another number of [low, high], as it is. */
export function between(low: number, high: number): (range: Range) => Scale {
  return (range) => linear(low, high, range, { exact: true });
}

/** The value at a place of a linear scale. */
export function valueAt(scale: Scale, { from, to }: Range, at: number): number {
  return scale.low + ((at - from) / (to - from)) * (scale.high - scale.low);
}

/** Least and greatest of the numbers there are; null: there are none. */
export function extent(values: ArrayLike<number>): { low: number; high: number } | null {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < values.length; i++) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  return low <= high && Number.isFinite(low) && Number.isFinite(high) ? { low, high } : null;
}

/** Counts in equal bins of [low, high], the last closed; what lies outside, or is NaN, is not counted. */
export function countBins(values: ArrayLike<number>, low: number, high: number, nBins: number): number[] {
  const counts = new Array<number>(nBins).fill(0);
  for (let i = 0; i < values.length; i++)
    if (values[i] >= low && values[i] <= high)
      counts[Math.min(nBins - 1, Math.floor(((values[i] - low) / (high - low)) * nBins))]++;
  return counts;
}
