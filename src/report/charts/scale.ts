/** Scales: from numbers to places in a chart, with ticks at round numbers. */
import { fixed, powerOfTen } from "../numbers.ts";

export interface Scale {
  /** place of a value, in the chart's units; values beyond the ends stand at the ends */
  at(value: number): number;
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly { readonly at: number; readonly label: string }[];
}

/** Range of a scale in the chart's units. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** 1, 2, 2.5 or 5 times a power of ten: the smallest such step that cuts `span` into at most `pieces`. */
export function roundStep(span: number, pieces: number): number {
  const power = 10 ** Math.floor(Math.log10(span / pieces));
  const factor = [1, 2, 2.5, 5, 10].find((f) => span / (f * power) <= pieces * (1 + 1e-9)) ?? 10;
  return factor * power;
}

/** A linear scale from `low` to `high`, which are widened to round numbers unless `exact`. */
export function linear(
  low: number,
  high: number,
  range: Range,
  { pieces = 4, exact = false }: { pieces?: number; exact?: boolean } = {},
): Scale {
  if (!(high > low)) {
    const margin = Math.abs(low) * 0.1 || 1;
    [low, high] = [low - margin, high + margin];
  }
  const step = roundStep(high - low, pieces);
  if (!exact) [low, high] = [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
  const decimals = decimalsOf(step);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const at = placer(low, high, range);
  return {
    at,
    low,
    high,
    ticks: Array.from({ length: last - first + 1 }, (_, i) => {
      const value = (first + i) * step;
      return { at: at(value), label: fixed(value, decimals) };
    }),
  };
}

/** A logarithmic scale between two powers of ten (exponents), a tick each, or each second or third. */
export function logarithmic(
  low: number,
  high: number,
  range: Range,
  label: (exponent: number) => string = powerOfTen,
  pieces = 6,
): Scale {
  const place = placer(low, high, range);
  const every = Math.max(1, Math.ceil((high - low) / pieces));
  const exponents = Array.from({ length: high - low + 1 }, (_, i) => high - i).filter(
    (_, i) => i % every === 0,
  );
  return {
    at: (value) => place(Math.log10(Math.max(value, 10 ** low))),
    low: 10 ** low,
    high: 10 ** high,
    ticks: exponents.reverse().map((exponent) => ({ at: place(exponent), label: label(exponent) })),
  };
}

function placer(low: number, high: number, { from, to }: Range): (value: number) => number {
  return (value) => from + ((Math.min(high, Math.max(low, value)) - low) / (high - low)) * (to - from);
}

function decimalsOf(step: number): number {
  for (let decimals = 0; decimals < 12; decimals++)
    if (Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) < 1e-6) return decimals;
  return 12;
}
