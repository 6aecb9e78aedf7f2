/** The nearest rows that an engine's search finds are those of all pairs in fp64; ties, zeros and right angles included. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ShapeError } from "../../errors.ts";
import { createReferenceEngine } from "../../kernels/reference/engine.ts";
import { selectEngine } from "../../kernels/select.ts";
import { Philox } from "../../random/philox.ts";
import { type NearestOptions, type NearestRows, nearestOthers, nearestRows } from "./nearest-rows.ts";

const reference: NearestOptions = { createEngine: createReferenceEngine };
/** The fastest that is here; the native engine screens. */
const fastest: NearestOptions = { createEngine: (await selectEngine("auto")).create, threads: 1 };

/** All pairs. */
function naive(of: Float32Array, among: Float32Array, dIn: number, skipOwn: boolean): NearestRows {
  const rows = (all: Float32Array) =>
    Array.from({ length: all.length / dIn }, (_, i) => Array.from(all.subarray(i * dIn, (i + 1) * dIn)));
  const [from, to] = [rows(of), rows(among)];
  const dot = (a: number[], b: number[]) => a.reduce((sum, x, j) => sum + x * b[j], 0);
  const index = new Int32Array(from.length).fill(-1);
  const cosine = new Float64Array(from.length).fill(Number.NaN);
  for (const [i, a] of from.entries())
    for (const [j, b] of to.entries()) {
      const c = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
      if ((skipOwn && i === j) || Number.isNaN(c)) continue;
      if (index[i] < 0 || c > cosine[i]) [index[i], cosine[i]] = [j, c];
    }
  return { index, cosine };
}

function normals(n: number, seed: number): Float32Array {
  const stream = new Philox(seed, "nearest");
  return Float32Array.from({ length: n }, (_, i) => stream.normal(i));
}

/** Where the index differs, the cosine must not. */
function expectSame(got: NearestRows, wanted: NearestRows): void {
  expect(got.index.length).toBe(wanted.index.length);
  for (let i = 0; i < wanted.index.length; i++) {
    if (got.index[i] !== wanted.index[i])
      expect(Math.abs(got.cosine[i] - wanted.cosine[i]), `row ${i}`).toBeLessThan(1e-6);
    if (Number.isNaN(wanted.cosine[i])) expect(got.cosine[i], `row ${i}`).toBeNaN();
    else expect(Math.abs(got.cosine[i] - wanted.cosine[i]), `row ${i}`).toBeLessThan(1e-6);
    expect(got.index[i] === -1, `row ${i}`).toBe(wanted.index[i] === -1);
  }
}

describe.each([
  ["reference engine", reference],
  ["engine of this machine", fastest],
])("%s", (_, options) => {
  it("the 7 nearest others of each row, nearest first; fewer where there are no more", async () => {
    const rows = normals(90 * 6, 4);
    rows.fill(0, 12, 18); // a row without direction
    const { index, cosine } = await nearestOthers(rows, 6, { ...options, chunkRows: 32 }, 7);
    const row = (i: number) => rows.subarray(i * 6, (i + 1) * 6);
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, j) => sum + x * b[j], 0);
    for (let i = 0; i < 90; i++) {
      const wanted = Array.from({ length: 90 }, (_, other) => ({
        other,
        cosine: dot(row(i), row(other)) / Math.sqrt(dot(row(i), row(i)) * dot(row(other), row(other))),
      }))
        .filter(({ other, cosine }) => other !== i && !Number.isNaN(cosine))
        .sort((a, b) => b.cosine - a.cosine)
        .slice(0, 7);
      const found = [...index.subarray(i * 7, (i + 1) * 7)];
      expect(found).toEqual(i === 2 ? Array(7).fill(-1) : wanted.map(({ other }) => other));
      wanted.forEach((each, k) => {
        expect(cosine[i * 7 + k]).toBeCloseTo(each.cosine, 10);
      });
    }
    const few = await nearestOthers(rows.subarray(0, 12), 6, options, 3);
    expect([...few.index]).toEqual([1, -1, -1, 0, -1, -1]);
  });

  it("others: 400 rows of 24 dimensions, a chunk at a time", async () => {
    const rows = normals(400 * 24, 1);
    const wanted = naive(rows, rows, 24, true);
    const got = await nearestOthers(rows, 24, { ...options, chunkRows: 150 });
    expectSame(got, wanted);
    expect(got.index).toEqual(wanted.index);
    const at = Array.from(wanted.cosine.keys());
    expect(at.every((i) => Math.abs(got.cosine[i] - wanted.cosine[i]) < 1e-12)).toBe(true);
  });

  it("two sets: each row of 60 among 300", async () => {
    const [of, among] = [normals(60 * 16, 2), normals(300 * 16, 3)];
    expect((await nearestRows(of, among, 16, options)).index).toEqual(naive(of, among, 16, false).index);
  });

  it("equal rows: the lowest other index, of two and of three", async () => {
    const rows = normals(300 * 8, 4);
    rows.copyWithin(7 * 8, 3 * 8, 4 * 8); // 7 = 3
    for (const copy of [120, 250]) rows.copyWithin(copy * 8, 20 * 8, 21 * 8); // 20 = 120 = 250
    const { index, cosine } = await nearestOthers(rows, 8, options);
    expect([3, 7, 20, 120, 250].map((i) => index[i])).toEqual([7, 3, 120, 20, 20]);
    for (const i of [3, 7, 20, 120, 250]) expect(1 - cosine[i]).toBeLessThan(1e-12);
  });

  it("a multiple of a row is its twin; lengths do not count, however small", async () => {
    const rows = normals(200 * 8, 5);
    for (let j = 0; j < 8; j++) {
      rows[9 * 8 + j] = 3 * rows[2 * 8 + j];
      rows[50 * 8 + j] *= 1e-25;
    }
    const got = await nearestOthers(rows, 8, options);
    expect([got.index[9], got.index[2]]).toEqual([2, 9]);
    expect(1 - got.cosine[9]).toBeLessThan(1e-12);
    expectSame(got, naive(rows, rows, 8, true));
  });

  it("rows of zeros have no nearest and are none's nearest", async () => {
    const rows = normals(300 * 6, 6);
    for (const zero of [0, 17, 299]) rows.fill(0, zero * 6, zero * 6 + 6);
    const got = await nearestOthers(rows, 6, options);
    expect([0, 17, 299].map((i) => got.index[i])).toEqual([-1, -1, -1]);
    expectSame(got, naive(rows, rows, 6, true));
  });

  it("right angles and beyond: a negative cosine is found too", async () => {
    const axes = Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1, -1, 0, 0);
    expectSame(await nearestOthers(axes, 3, options), naive(axes, axes, 3, true));
    const opposite = await nearestRows(Float32Array.of(1, 0), Float32Array.of(-1, 0, -1, 1), 2, options);
    expect(opposite.index).toEqual(Int32Array.of(1));
    expect(opposite.cosine[0]).toBeCloseTo(-Math.SQRT1_2, 7);
    expect((await nearestOthers(Float32Array.of(1, 2, -1, -2), 2, options)).cosine).toEqual(
      Float64Array.of(-1, -1),
    );
  });
});

it("nothing to choose from: one row, none, only zeros", async () => {
  const none = { index: Int32Array.of(-1), cosine: Float64Array.of(Number.NaN) };
  expect(await nearestOthers(Float32Array.of(1, 2), 2, reference)).toEqual(none);
  expect(await nearestRows(Float32Array.of(1, 2), new Float32Array(4), 2, reference)).toEqual(none);
  expect((await nearestOthers(new Float32Array(0), 2, reference)).index.length).toBe(0);
});

it("refuses rows that are cut short, and chunks of none", async () => {
  await expect(nearestOthers(new Float32Array(5), 2, reference)).rejects.toThrow(ShapeError);
  await expect(nearestOthers(normals(4, 1), 2, { ...reference, chunkRows: 0 })).rejects.toThrow(/chunk/);
});

it("whatever the rows, they are those of all pairs", async () => {
  const row = fc.array(fc.integer({ min: -2, max: 2 }), { minLength: 3, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 12 }), async (lists) => {
      const rows = Float32Array.from(lists.flat());
      expectSame(await nearestOthers(rows, 3, { ...reference, chunkRows: 5 }), naive(rows, rows, 3, true));
    }),
    { numRuns: 60 },
  );
});

it("tells how far it is, and stops when asked", async () => {
  const rows = normals(50 * 4, 8);
  const seen: number[] = [];
  const onProgress = ({ done, total }: { done: number; total: number }) => seen.push(done / total);
  await nearestOthers(rows, 4, { ...reference, chunkRows: 20, onProgress });
  expect(seen.slice(0, 3)).toEqual([0.4, 0.8, 1]);
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(nearestOthers(rows, 4, { ...reference, signal })).rejects.toThrow("enough");
});
