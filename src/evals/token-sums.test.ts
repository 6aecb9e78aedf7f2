/**
 * Every metric against its plain definition, against known truths, and against regrouping: what is summed in which order,
 * about which origin, in how many parts must not matter.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  D_IN,
  differencesOf,
  fakeActs,
  meanOf,
  naive,
  normals,
  pick,
  shrunk,
  sumsOf,
  valuesOf,
} from "../../test/evals/fixtures.ts";
import { DataError, ShapeError } from "../errors.ts";
import { measure, originOf } from "./measure.ts";
import { METRIC_NAMES, metricOf } from "./metrics.ts";
import { TokenSums, total } from "./token-sums.ts";

const finite = fc.float({ min: -100, max: 100, noNaN: true });
/** x and x̂ of some tokens. */
const tokens = fc
  .integer({ min: 2, max: 12 })
  .chain((n) =>
    fc.tuple(
      fc.array(finite, { minLength: n * D_IN, maxLength: n * D_IN }),
      fc.array(finite, { minLength: n * D_IN, maxLength: n * D_IN }),
    ),
  )
  .map(([x, recon]) => ({ x: Float32Array.from(x), recon: Float32Array.from(recon) }));
const varied = tokens.filter(({ x, recon }) => sumsOf(x, recon).scatter > 1);

const x120 = normals(120 * D_IN, "x", 50, 3);

describe("the metrics", () => {
  it("equal their definitions, also on data far from zero and with an outlier first", () => {
    for (const [center, scale] of [
      [0, 1],
      [300, 2],
      [-2, 1e-3],
    ]) {
      const x = normals(400 * D_IN, "x", center, scale);
      x.fill(center + 1000 * scale, 0, D_IN);
      const recon = shrunk(x);
      const got = valuesOf(sumsOf(x, recon, { origin: originOf(x, D_IN) }));
      expect(differencesOf(got, naive(x, recon), 1e-12)).toEqual([]);
    }
  });

  it("of the mean as reconstruction: VE 0, on the average token no better than the mean", () => {
    fc.assert(
      fc.property(varied, ({ x }) => {
        const n = x.length / D_IN;
        const mean = meanOf(x);
        const recon = x.map((_, i) => mean[i % D_IN]);
        const got = valuesOf(sumsOf(x, recon));
        expect(got.ve).toBeCloseTo(0, 5);
        for (const row of [0, n - 1]) {
          const own = x.subarray(row * D_IN, (row + 1) * D_IN);
          const far = Math.hypot(...own.map((value, j) => value - mean[j])) > 1;
          const alone = valuesOf(sumsOf(own, recon.subarray(0, D_IN), { mean }));
          if (far) expect(alone.vePerToken).toBeCloseTo(0, 4);
        }
        expect(got.mse! * n).toBeCloseTo(sumsOf(x, recon).scatter, 1);
        expect(got.normOut).toBeCloseTo(Math.hypot(...mean), 3);
      }),
    );
  });

  it("of the activations themselves as reconstruction: VE 1 in both ways, no error, same length and direction, no bias", () => {
    fc.assert(
      fc.property(varied, ({ x }) => {
        const got = valuesOf(sumsOf(x, x));
        expect([got.ve, got.vePerToken, got.mse]).toEqual([1, 1, 0]);
        for (const value of [got.cosine, got.l2Ratio, got.relativeReconstructionBias])
          expect(value).toBeCloseTo(1, 12);
        expect(got.normOut).toBe(got.normIn);
      }),
    );
  });

  it("keep their bounds: VE at most 1, cosine within 1, nothing negative that cannot be", () => {
    fc.assert(
      fc.property(varied, ({ x, recon }) => {
        const got = valuesOf(sumsOf(x, recon));
        expect(got.ve).toBeLessThanOrEqual(1);
        expect(got.vePerToken).toBeLessThanOrEqual(1);
        expect(Math.abs(got.cosine ?? 0)).toBeLessThanOrEqual(1 + 1e-12);
        for (const name of ["l0", "l1", "mse", "normIn", "normOut"] as const)
          expect(got[name], name).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it("follow activations and reconstruction scaled together: by the square, by the scale, or not at all", () => {
    const x = normals(60 * D_IN, "x", 2);
    const recon = shrunk(x);
    const scale = 2 ** 20;
    const one = valuesOf(sumsOf(x, recon));
    const other = valuesOf(
      sumsOf(
        x.map((value) => value * scale),
        recon.map((value) => value * scale),
      ),
    );
    const { l1: _one, ...wanted } = one;
    const { l1: _other, ...got } = other;
    const scaled = {
      ...wanted,
      mse: one.mse! * scale ** 2,
      normIn: one.normIn! * scale,
      normOut: one.normOut! * scale,
    };
    expect(differencesOf(got, scaled, 1e-12)).toEqual([]);
  });

  it("do not know where zero lies, as far as they are about variance and error", () => {
    const x = normals(60 * D_IN, "x").map((value) => Math.round(value * 64) / 64);
    const recon = shrunk(x).map((value) => Math.round(value * 64) / 64);
    const { ve, vePerToken, mse } = valuesOf(sumsOf(x, recon));
    const moved = valuesOf(
      sumsOf(
        x.map((value) => value + 1024),
        recon.map((value) => value + 1024),
      ),
    );
    expect(
      differencesOf(
        { ve: moved.ve, vePerToken: moved.vePerToken, mse: moved.mse },
        { ve, vePerToken, mse },
        1e-7,
      ),
    ).toEqual([]);
  });

  it("are the same to 1e-12 for any order, chunks, origins and merging of parts", () => {
    const n = x120.length / D_IN;
    const recon = shrunk(x120);
    const mean = meanOf(x120);
    const whole = valuesOf(sumsOf(x120, recon, { origin: originOf(x120, D_IN), mean }));
    fc.assert(
      fc.property(
        fc.shuffledSubarray([...Array(n).keys()], { minLength: n }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 30, max: 70 }), { minLength: 1, maxLength: 4 }),
        (order, sizes, origins) => {
          const parts: TokenSums[] = [];
          for (let at = 0, chunk = 0; at < n; chunk++) {
            const some = order.slice(at, at + sizes[chunk % sizes.length]);
            const origin = new Float64Array(D_IN).fill(origins[chunk % origins.length] + 0.1);
            parts.push(sumsOf(pick(x120, some), pick(recon, some), { origin, mean }));
            at += some.length;
          }
          const merged = total(parts, originOf(x120, D_IN));
          expect(merged.n).toBe(n);
          expect(differencesOf(valuesOf(merged), whole, 1e-12)).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("of sums added with weights are those of tokens repeated", () => {
    const recon = shrunk(x120);
    const mean = meanOf(x120);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 12, maxLength: 12 }), (weights) => {
        fc.pre(weights.filter((weight) => weight > 0).length > 1);
        const origin = originOf(x120, D_IN);
        const sums = new TokenSums(new Float64Array(D_IN).fill(45));
        weights.forEach((weight, i) => {
          const ten = Array.from({ length: 10 }, (_, t) => i * 10 + t);
          if (weight > 0) sums.merge(sumsOf(pick(x120, ten), pick(recon, ten), { origin, mean }), weight);
        });
        const repeated = weights.flatMap((weight, i) =>
          Array.from({ length: weight }, () => Array.from({ length: 10 }, (_, t) => i * 10 + t)).flat(),
        );
        const wanted = valuesOf(sumsOf(pick(x120, repeated), pick(recon, repeated), { origin, mean }));
        expect(differencesOf(valuesOf(sums), wanted, 1e-12)).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it("of many parts merged at once are those of parts merged one by one, with weights and other origins among them", () => {
    const recon = shrunk(x120);
    const mean = meanOf(x120);
    const shared = originOf(x120, D_IN);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.boolean()), { minLength: 1, maxLength: 12 }),
        (drawn) => {
          const parts = drawn.map(([, isShared], i) => {
            const ten = Array.from({ length: 10 }, (_, t) => i * 10 + t);
            const origin = isShared ? shared : new Float64Array(D_IN).fill(48);
            return sumsOf(pick(x120, ten), pick(recon, ten), { origin, mean });
          });
          const weights = drawn.map(([weight]) => weight);
          fc.pre(weights.some((weight) => weight > 0));
          const [together, apart] = [new TokenSums(shared), new TokenSums(shared)];
          together.mergeAll(parts, weights);
          parts.forEach((part, i) => {
            apart.merge(part, weights[i]);
          });
          expect(differencesOf(valuesOf(together), valuesOf(apart), 1e-12)).toEqual([]);
        },
      ),
    );
  });

  it("leave tokens without a direction out of cosine and ratio, and say so in n", () => {
    const x = new Float32Array(3 * D_IN);
    const recon = new Float32Array(3 * D_IN);
    x.set([1], D_IN);
    x.set([0, 2], 2 * D_IN);
    recon.set([1, 1], 0);
    recon.set([0, 1], 2 * D_IN);
    const sums = sumsOf(x, recon);
    expect(metricOf("cosine", sums)).toMatchObject({ value: 1, n: 1 });
    expect(metricOf("l2Ratio", sums)).toMatchObject({ value: 0.25, n: 2 });
    expect(metricOf("ve", sums).n).toBe(3);
    const silent = valuesOf(sumsOf(x, new Float32Array(x.length)));
    expect([silent.cosine, silent.relativeReconstructionBias]).toEqual([null, null]);
  });

  it("leave a token that is the mean out of the VE of tokens", () => {
    const x = Float32Array.of(-1, 0, 0, 0, 0, /**/ 0, 0, 0, 0, 0, /**/ 1, 0, 0, 0, 0);
    const sums = sumsOf(x, new Float32Array(x.length));
    expect(metricOf("vePerToken", sums)).toMatchObject({ value: 0, n: 2 });
  });

  it("have no VE where tokens do not vary, however far from zero and however many", () => {
    fc.assert(
      fc.property(
        fc.float({ min: -1e6, max: 1e6, noNaN: true }),
        fc.integer({ min: 1, max: 50 }),
        (at, n) => {
          const x = new Float32Array(n * D_IN).fill(at);
          const sums = sumsOf(x, new Float32Array(x.length));
          expect(sums.scatter).toBe(0);
          expect(valuesOf(sums).ve).toBeNull();
          const far = new TokenSums(new Float64Array(D_IN).fill(0.3));
          far.merge(sums);
          expect(valuesOf(far).ve).toBeNull();
        },
      ),
    );
  });
});

describe("measuring", () => {
  it("refuses what is not finite, naming the token and the side", () => {
    const x = Float32Array.from({ length: 2 * D_IN }, (_, i) => i);
    const broken = x.slice();
    broken[D_IN] = Number.NaN;
    const origin = new Float64Array(D_IN);
    const acts = fakeActs(x);
    expect(() => measure({ x, recon: broken, acts }, origin, 7)).toThrow(
      /reconstruction of evaluated token 8/,
    );
    expect(() => measure({ x: broken, recon: x, acts }, origin, 7)).toThrow(
      /activation of evaluated token 8/,
    );
    expect(() => measure({ x: broken, recon: x, acts }, origin, 7)).toThrow(DataError);
  });

  it("refuses pieces that are not of the same tokens", () => {
    const x = new Float32Array(2 * D_IN);
    const origin = new Float64Array(D_IN);
    const acts = fakeActs(x);
    expect(() => measure({ x: x.subarray(1), recon: x, acts }, origin, 0)).toThrow(ShapeError);
    expect(() => measure({ x, recon: x.subarray(D_IN), acts }, origin, 0)).toThrow(ShapeError);
    expect(() => measure({ x, recon: x, acts: fakeActs(x.subarray(D_IN)) }, origin, 0)).toThrow(ShapeError);
    const other = new TokenSums(new Float64Array(D_IN + 1));
    expect(() => new TokenSums(origin).merge(other)).toThrow(ShapeError);
  });
});

it("sums keep what fp64 alone would lose", () => {
  const sums = new TokenSums(new Float64Array(1));
  for (const term of [1, 1e100, 1, -1e100]) sums.add("sse", term);
  expect(sums.get("sse")).toBe(2);
});

it("every metric is in the registry with a definition, a formula and a unit", () => {
  const sums = sumsOf(x120, shrunk(x120));
  for (const name of METRIC_NAMES) {
    const { definition, unit, n, interval } = metricOf(name, sums);
    expect(definition, name).toMatch(/^\S.*\.$/s);
    expect([unit.length > 0, n, interval], name).toEqual([true, 120, null]);
  }
});
