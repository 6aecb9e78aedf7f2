/** The shuffle: each row at most once an epoch, a pure function of (seed, epoch, i), whatever the sizes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DataError } from "../errors.ts";
import { f32ToBf16 } from "../tensor/half.ts";
import { createBatchReader, type RawRows, type RowRange, type ShuffleOptions } from "./shuffle.ts";

/** Row r is [r, −r]: a batch's first column says which rows it holds. */
function numbered(nRows: number, log: RowRange[] = [], dtype: "f32" | "bf16" = "f32"): RawRows {
  return {
    nRows,
    dIn: 2,
    dtype,
    async readRaw(ranges) {
      log.push(...ranges);
      const values = ranges.flatMap(([from, to]) =>
        Array.from({ length: 2 * (to - from) }, (_, j) => (from + (j >> 1)) * (j % 2 === 0 ? 1 : -1)),
      );
      return dtype === "f32" ? Float32Array.from(values) : f32ToBf16(Float32Array.from(values));
    },
  };
}

const rowsOf = (batch: Float32Array) => [...batch].filter((_, j) => j % 2 === 0);

async function epochRows(source: RawRows, options: ShuffleOptions, epoch = 0): Promise<number[]> {
  const reader = createBatchReader(source, options);
  const rows: number[] = [];
  for (let i = 0; i < reader.nBatches; i++) rows.push(...rowsOf(await reader.batch(epoch, i)));
  return rows;
}

const sizes = fc.record({
  nRows: fc.integer({ min: 1, max: 300 }),
  batchTokens: fc.integer({ min: 1, max: 90 }),
  blockRows: fc.integer({ min: 1, max: 40 }),
  poolBytes: fc.integer({ min: 1, max: 1600 }),
  seed: fc.integer({ min: 0, max: 2 ** 40 }),
});

describe("an epoch", () => {
  it("serves every row at most once, and all but the dropped tail", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async ({ nRows, ...options }) => {
        const rows = await epochRows(numbered(nRows), options);
        const expected = Math.max(
          Math.min(nRows, options.batchTokens),
          nRows - (nRows % options.batchTokens),
        );
        expect(rows.length).toBe(expected);
        expect(new Set(rows).size).toBe(rows.length);
        expect(rows.every((row) => Number.isInteger(row) && row >= 0 && row < nRows)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it("gives batch i the same rows whether asked first, last, twice or by a fresh reader", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 0, max: 5 }), async ({ nRows, ...options }, epoch) => {
        const forwards = createBatchReader(numbered(nRows), options);
        const all: Float32Array[] = [];
        for (let i = 0; i < forwards.nBatches; i++) all.push(await forwards.batch(epoch, i));
        const backwards = createBatchReader(numbered(nRows), options);
        await backwards.batch(epoch + 1, 0);
        for (let i = all.length - 1; i >= 0; i--) expect(await backwards.batch(epoch, i)).toEqual(all[i]);
        expect(await forwards.batch(epoch, 0)).toEqual(all[0]);
        const together = createBatchReader(numbered(nRows), options);
        expect(await Promise.all(all.map((_, i) => together.batch(epoch, i)))).toEqual(all);
      }),
      { numRuns: 60 },
    );
  });

  it("cuts one sequence that does not depend on the batch size", async () => {
    const options = { seed: 5, blockRows: 7, poolBytes: 400 };
    const small = await epochRows(numbered(300), { ...options, batchTokens: 1 });
    expect(await epochRows(numbered(300), { ...options, batchTokens: 75 })).toEqual(small);
  });

  it("has another order for another seed and another epoch", async () => {
    const orders = await Promise.all([
      epochRows(numbered(200), { batchTokens: 50, seed: 1 }),
      epochRows(numbered(200), { batchTokens: 50, seed: 2 }),
      epochRows(numbered(200), { batchTokens: 50, seed: 1 }, 1),
    ]);
    expect(new Set(orders.map(String)).size).toBe(3);
    expect(String([...orders[0]].sort((a, b) => a - b))).toBe(
      String(Array.from({ length: 200 }, (_, r) => r)),
    );
  });

  it("mixes: a batch of one pool is not a run of consecutive rows", async () => {
    const [first] = [
      rowsOf(await createBatchReader(numbered(4000), { batchTokens: 400, seed: 3 }).batch(0, 0)),
    ];
    const neighbours = first.slice(1).filter((row, i) => Math.abs(row - first[i]) === 1).length;
    expect(neighbours).toBeLessThan(10);
    expect(Math.max(...first) - Math.min(...first)).toBeGreaterThan(3500);
  });

  it("reads each block once a sequential epoch, ascending within a pool", async () => {
    const log: RowRange[] = [];
    await epochRows(numbered(500, log), { batchTokens: 20, seed: 9, blockRows: 10, poolBytes: 100 * 8 });
    expect(log.reduce((n, [from, to]) => n + to - from, 0)).toBe(500);
  });
});

it("widens bfloat16 rows", async () => {
  const exact = await epochRows(numbered(200, [], "bf16"), { batchTokens: 200, seed: 1, poolBytes: 1 << 20 });
  expect(exact).toEqual(await epochRows(numbered(200), { batchTokens: 200, seed: 1, poolBytes: 1 << 20 }));
});

it("serves a store smaller than a batch whole, and refuses what is not there", async () => {
  const reader = createBatchReader(numbered(10), { batchTokens: 64, seed: 0 });
  expect(reader.nBatches).toBe(1);
  expect(rowsOf(await reader.batch(0, 0)).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await expect(reader.batch(0, 1)).rejects.toThrow(RangeError);
  await expect(reader.batch(-1, 0)).rejects.toThrow(RangeError);
  expect(() => createBatchReader(numbered(0), { batchTokens: 4, seed: 0 })).toThrow(DataError);
  expect(() => createBatchReader(numbered(4), { batchTokens: 0, seed: 0 })).toThrow(RangeError);
});

it("reports a failed read once the rows are asked for, and reads again after that", async () => {
  let failing = false;
  const source = numbered(100);
  const flaky: RawRows = {
    ...source,
    readRaw: (ranges) => (failing ? Promise.reject(new Error("disk")) : source.readRaw(ranges)),
  };
  const reader = createBatchReader(flaky, { batchTokens: 10, seed: 0, blockRows: 5, poolBytes: 80 });
  failing = true;
  await expect(reader.batch(0, 3)).rejects.toThrow("disk");
  failing = false;
  expect(await reader.batch(0, 3)).toHaveLength(20);
});
