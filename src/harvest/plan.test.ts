/** The cutting of a harvest: every window once, nothing but lengths decides, rectangles that fit. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planBatches, planHarvest } from "./plan.ts";

const byLength = { batchWindows: 8, batching: "by length" } as const;

describe("a plan of batches", () => {
  it("without lengths is neighbours", () => {
    const lengths = Uint32Array.of(5, 9, 2, 16, 3);
    expect(planBatches(lengths, 16, { batchWindows: 2 })).toEqual([[0, 1], [2, 3], [4]]);
  });

  it("by length puts the longest first, and like with like", () => {
    const lengths = Uint32Array.of(3, 500, 512, 500, 490, 90, 80, 60);
    expect(planBatches(lengths, 512, { batchWindows: 4, batching: "by length" })).toEqual([
      [2, 1, 3, 4],
      [5, 6, 7, 0],
    ]);
  });

  it("by length is neighbours when all windows are full: the same batches, so the same bits", () => {
    const lengths = new Uint32Array(100).fill(64);
    expect(planBatches(lengths, 64, byLength)).toEqual(planBatches(lengths, 64, { batchWindows: 8 }));
  });

  it("cuts where tokens, padding and 128 a batch are fewest: no other way of cutting four lengths costs less", () => {
    const cost = (batches: readonly (readonly number[])[], lengths: Uint32Array) =>
      batches.reduce((sum, batch) => sum + 128 + batch.length * lengths[batch[0]], 0);
    for (const list of [
      [512, 500, 30, 20],
      [300, 180, 180, 20],
      [200, 199, 90, 89],
      [512, 512, 512, 512],
    ]) {
      const lengths = Uint32Array.from(list);
      const found = cost(planBatches(lengths, 512, { batchWindows: 2, batching: "by length" }), lengths);
      for (let cuts = 0; cuts < 8; cuts++) {
        const batches: number[][] = [[]];
        for (let i = 0; i < 4; i++) {
          batches[batches.length - 1].push(i);
          if (i < 3 && (cuts >> i) % 2 === 1) batches.push([]);
        }
        if (batches.every((batch) => batch.length * list[batch[0]] <= 1024))
          expect(found).toBeLessThanOrEqual(cost(batches, lengths));
      }
    }
  });

  it("takes every window once, the longest first, and keeps within the rectangle", () => {
    const sets = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(sets, (list) => {
        const lengths = Uint32Array.from(list);
        const batches = planBatches(lengths, 64, byLength);
        const order = batches.flat();
        expect([...order].sort((a, b) => a - b)).toEqual(list.map((_, i) => i));
        for (let i = 1; i < order.length; i++) {
          const [before, after] = [list[order[i - 1]], list[order[i]]];
          expect(before > after || (before === after && order[i - 1] < order[i])).toBe(true);
        }
        for (const batch of batches)
          expect(batch.length * Math.max(2, list[batch[0]])).toBeLessThanOrEqual(512);
      }),
      { seed: 3, numRuns: 50 },
    );
  });

  it("runs a window of one token, padded to the two that graphs need, though it fits no rectangle", () => {
    expect(planBatches(Uint32Array.of(1), 1, { batchWindows: 1, batching: "by length" })).toEqual([[0]]);
  });
});

describe("a plan of shards", () => {
  it("of windows of one size is what it was before lengths counted", () => {
    const sizes = { contextSize: 256, dIn: 256, nLayers: 3, oneByOne: false };
    expect(planHarvest(sizes)).toEqual({ batchWindows: 8, windowsPerShard: 168 });
    expect(planHarvest({ ...sizes, mixedLengths: true })).toEqual({
      batchWindows: 8,
      windowsPerShard: 168,
      batching: "by length",
    });
  });

  it("never puts windows together that must be run one by one", () => {
    const plan = planHarvest({ contextSize: 256, dIn: 256, nLayers: 3, oneByOne: true, mixedLengths: true });
    expect(plan).toEqual({ batchWindows: 1, windowsPerShard: 170 });
    expect(planBatches(Uint32Array.of(3, 2, 3), 256, plan)).toEqual([[0], [1], [2]]);
  });
});
