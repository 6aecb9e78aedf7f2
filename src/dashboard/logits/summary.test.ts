/** The summary of a row of logits is that of sorting and counting, ties and all. */
import { describe, expect, it } from "vitest";
import { Philox } from "../../random/philox.ts";
import { HISTOGRAM_BINS } from "../tables.ts";
import type { LatentLogits } from "./logits.ts";
import { summarizeLogits } from "./summary.ts";

/** By sorting everything; the same double-precision formulas, one value at a time. */
function bySorting(logits: Float32Array, top: number): LatentLogits {
  const ranked = (sign: number) => {
    const order = Array.from(logits, (value, id) => ({ id, value }))
      .sort((a, b) => sign * (b.value - a.value) || a.id - b.id)
      .slice(0, top);
    return {
      ids: Uint32Array.from(order, ({ id }) => id),
      values: Float32Array.from(order, ({ value }) => value),
    };
  };
  const [min, max] = [Math.min(...logits), Math.max(...logits)];
  const mean = logits.reduce((sum, value) => sum + value, 0) / logits.length;
  const histogram = new Uint32Array(HISTOGRAM_BINS);
  for (const value of logits)
    histogram[
      max > min
        ? Math.min(HISTOGRAM_BINS - 1, Math.floor(((value - min) / (max - min)) * HISTOGRAM_BINS))
        : HISTOGRAM_BINS - 1
    ]++;
  const std = Math.sqrt(logits.reduce((sum, value) => sum + (value - mean) ** 2, 0) / logits.length);
  return { min, max, mean, std, histogram, top: ranked(1), bottom: ranked(-1) };
}

describe("summarizeLogits", () => {
  it.each([
    ["normal", 1000, 1e9],
    ["with many ties", 997, 4],
    ["fewer than are wanted", 7, 4],
    ["all equal", 60, 0],
  ])("%s", (name, n, steps) => {
    const random = new Philox(3, name);
    const logits = Float32Array.from({ length: n }, (_, i) =>
      steps === 0 ? -1.5 : Math.round(random.normal(i) * steps) / steps,
    );
    for (const top of [0, 1, 10]) expect(summarizeLogits(logits, top)).toEqual(bySorting(logits, top));
    const { histogram, min, max } = summarizeLogits(logits, 3);
    expect(histogram.reduce((sum, count) => sum + count, 0)).toBe(n);
    if (steps > 0) {
      expect(histogram[0]).toBeGreaterThan(0);
      expect(max).toBeGreaterThan(min);
    }
  });

  it("by hand: of 0 … 50, one in each bin and the largest in the last", () => {
    const summary = summarizeLogits(
      Float32Array.from({ length: 51 }, (_, i) => 50 - i),
      2,
    );
    expect([...summary.histogram]).toEqual([...Array(49).fill(1), 2]);
    expect(summary).toMatchObject({ min: 0, max: 50, mean: 25 });
    expect(summary.std ** 2).toBeCloseTo((51 ** 2 - 1) / 12, 10);
    expect([...summary.top.ids, ...summary.bottom.ids]).toEqual([0, 1, 50, 49]);
  });
});
