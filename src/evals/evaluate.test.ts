/**
 * The metrics against a naive two-pass twin, against known truths (the mean scores 0, the perfect reconstruction 1), and
 * against regrouping: chunks and order must not matter.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allocateRows } from "../activations/rows.ts";
import { openActivationStore } from "../activations/store.ts";
import { openWriter } from "../activations/writer.ts";
import { DataError, ShapeError } from "../errors.ts";
import type { SparseActs } from "../kernels/kernels.ts";
import { Philox } from "../random/philox.ts";
import type { Sae } from "../sae/sae.ts";
import { evaluate, evaluateRows, type Reconstructor } from "./evaluate.ts";
import { FiringStats, log10Frequencies } from "./firing.ts";
import { METRICS } from "./metrics.ts";
import { ReconstructionStats } from "./reconstruction.ts";
import { CompensatedSum } from "./sum.ts";

const D_IN = 5;
const D_SAE = 8;

function fakeSae(overrides: Partial<Sae["config"]> = {}): Sae {
  return {
    config: {
      architecture: "jumprelu",
      dIn: D_IN,
      dSae: D_SAE,
      dtype: "float32",
      applyBDecToInput: true,
      normalization: "none",
      reshape: "none",
      k: null,
      rescaleActsByDecoderNorm: false,
      hookName: "model.layers.4",
      modelName: "tiny",
      contextSize: null,
      prependBos: null,
      metadata: {},
      ...overrides,
    },
    weights: {
      dIn: D_IN,
      dSae: D_SAE,
      wEnc: new Float32Array(D_IN * D_SAE),
      wDec: new Float32Array(D_IN * D_SAE),
      bEnc: new Float32Array(D_SAE),
      bDec: new Float32Array(D_IN),
    },
    threshold: Float32Array.of(4, 1, 2, 3, 8, 7, 6, 5),
    runnerConfig: null,
  };
}

/** Answers x̂ = `recon(x)`; on a token latent 0 fires, and latent 3 where its first entry is positive. */
function reconstructor(recon: (x: Float32Array) => Float32Array, sae = fakeSae()): Reconstructor {
  return {
    sae,
    async reconstruct(x) {
      const latents: number[] = [];
      const offsets = [0];
      for (let at = 0; at < x.length; at += D_IN) {
        latents.push(0, ...(x[at] > 0 ? [3] : []));
        offsets.push(latents.length);
      }
      const acts: SparseActs = {
        nTokens: x.length / D_IN,
        offsets: Uint32Array.from(offsets),
        latents: Uint32Array.from(latents),
        values: new Float32Array(latents.length).fill(1),
      };
      return { acts, recon: recon(x) };
    },
  };
}

const normals = (n: number, purpose: string, center = 0, scale = 1) => {
  const noise = new Philox(7, purpose);
  return Float32Array.from({ length: n }, (_, i) => center + scale * noise.normal(i));
};
const shrunk = (x: Float32Array) => x.map((value, i) => value * 0.8 + 0.1 * Math.sin(i % D_IN));
const rowsFor = (activations: Float32Array) => ({
  activations,
  dIn: D_IN,
  set: "prose",
  hookName: "blocks.4.hook_resid_post",
});

/** The definitions, two passes, whole arrays, nothing clever. */
function naive(x: Float32Array, recon: Float32Array, dIn: number) {
  const n = x.length / dIn;
  const row = (data: Float32Array, t: number) => Array.from(data.subarray(t * dIn, (t + 1) * dIn));
  const dot = (a: number[], b: number[]) => a.reduce((sum, value, j) => sum + value * b[j], 0);
  const minus = (a: number[], b: number[]) => a.map((value, j) => value - b[j]);
  const tokens = Array.from({ length: n }, (_, t) => ({ x: row(x, t), r: row(recon, t) }));
  const mean = Array.from({ length: dIn }, (_, j) => tokens.reduce((sum, { x }) => sum + x[j], 0) / n);
  const sum = (f: (token: (typeof tokens)[0]) => number) =>
    tokens.reduce((total, token) => total + f(token), 0);
  const sse = sum(({ x, r }) => dot(minus(x, r), minus(x, r)));
  return {
    ve: 1 - sse / sum(({ x }) => dot(minus(x, mean), minus(x, mean))),
    mse: sse / n,
    cosine: sum(({ x, r }) => dot(x, r) / Math.sqrt(dot(x, x) * dot(r, r))) / n,
    l2Ratio: sum(({ x, r }) => Math.sqrt(dot(r, r) / dot(x, x))) / n,
    relativeReconstructionBias: sum(({ r }) => dot(r, r)) / sum(({ x, r }) => dot(x, r)),
  };
}

function valuesOf(stats: ReconstructionStats) {
  return Object.fromEntries(Object.entries(stats.metrics()).map(([name, { value }]) => [name, value]));
}

function expectClose(got: object, expected: object, tolerance: number): void {
  expect(Object.keys(got).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, value] of Object.entries(expected) as [string, number][]) {
    const other = (got as Record<string, number>)[name];
    expect(Math.abs(other - value), name).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(value)));
  }
}

describe("the metrics", () => {
  it("equal the naive two-pass definitions, also on data far from zero and with an outlier first", () => {
    for (const [center, scale] of [
      [0, 1],
      [300, 2],
      [-2, 1e-3],
    ]) {
      const x = normals(400 * D_IN, "x", center, scale);
      x.fill(center + 1000 * scale, 0, D_IN);
      const recon = shrunk(x);
      const stats = new ReconstructionStats(D_IN);
      for (let at = 0; at < x.length; at += 37 * D_IN)
        stats.add(x.subarray(at, at + 37 * D_IN), recon.subarray(at, at + 37 * D_IN));
      expectClose(valuesOf(stats), naive(x, recon, D_IN), 1e-12);
    }
  });

  it("have hand-made values", async () => {
    const x = Float32Array.of(3, 4, 0, 0, 0, /**/ -3, 4, 0, 0, 0); // mean (0, 4), Σ‖x−x̄‖² = 18
    const half = await evaluateRows(
      reconstructor((x) => x.map((value) => value / 2)),
      rowsFor(x),
    );
    const { metrics } = half.result;
    expect(metrics.ve.value).toBeCloseTo(1 - 12.5 / 18, 14);
    expect(metrics.mse.value).toBe(6.25);
    expect(metrics.cosine.value).toBeCloseTo(1, 14);
    expect(metrics.l2Ratio.value).toBe(0.5);
    expect(metrics.relativeReconstructionBias.value).toBe(0.5);
    expect(metrics.l0.value).toBe(1.5);
    expect(half.result.nTokens).toBe(2);
  });

  it("score the mean 0 and the data themselves 1", async () => {
    const x = normals(100 * D_IN, "x", 5);
    const mean = new Float64Array(D_IN);
    x.forEach((value, i) => {
      mean[i % D_IN] += value / 100;
    });
    const predictMean = reconstructor((x) => x.map((_, i) => mean[i % D_IN]));
    expect((await evaluateRows(predictMean, rowsFor(x))).result.metrics.ve.value).toBeCloseTo(0, 9);
    const { metrics } = (
      await evaluateRows(
        reconstructor((x) => x.slice()),
        rowsFor(x),
      )
    ).result;
    expect([metrics.ve.value, metrics.mse.value, metrics.l2Ratio.value]).toEqual([1, 0, 1]);
    expect(metrics.cosine.value).toBeCloseTo(1, 14);
  });

  it("but MSE do not change when data and reconstruction are scaled together", () => {
    const x = normals(60 * D_IN, "x", 2);
    const recon = shrunk(x);
    const [one, other] = [1, 2 ** 20].map((scale) => {
      const stats = new ReconstructionStats(D_IN);
      stats.add(
        x.map((value) => value * scale),
        recon.map((value) => value * scale),
      );
      return valuesOf(stats);
    });
    expect(other.mse).toBeCloseTo(one.mse! * 2 ** 40, -4);
    expectClose({ ...other, mse: 0 }, { ...one, mse: 0 }, 1e-13);
  });

  it("do not depend on chunks, their order, or how parts are merged", () => {
    const nTokens = 120;
    const x = normals(nTokens * D_IN, "x", 50, 3);
    const recon = shrunk(x);
    const token = (data: Float32Array, t: number) => data.subarray(t * D_IN, (t + 1) * D_IN);
    const join = (data: Float32Array, tokens: readonly number[]) =>
      Float32Array.from(tokens.flatMap((t) => [...token(data, t)]));
    const whole = new ReconstructionStats(D_IN);
    whole.add(x, recon);
    fc.assert(
      fc.property(
        fc.shuffledSubarray([...Array(nTokens).keys()], { minLength: nTokens }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        (order, sizes, nParts) => {
          const parts = Array.from({ length: nParts }, () => new ReconstructionStats(D_IN));
          for (let at = 0, chunk = 0; at < nTokens; chunk++) {
            const tokens = order.slice(at, at + sizes[chunk % sizes.length]);
            parts[chunk % nParts].add(join(x, tokens), join(recon, tokens));
            at += tokens.length;
          }
          const merged = new ReconstructionStats(D_IN);
          for (const part of parts) merged.merge(part);
          expect(merged.n).toBe(nTokens);
          expectClose(valuesOf(merged), valuesOf(whole), 1e-12);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("leave tokens without a direction out of cosine and ratio, and say so in n", () => {
    const stats = new ReconstructionStats(2);
    stats.add(Float32Array.of(0, 0, 1, 0, 0, 2), Float32Array.of(1, 1, 0, 0, 0, 1));
    const { cosine, l2Ratio, ve } = stats.metrics();
    expect([cosine.value, cosine.n]).toEqual([1, 1]);
    expect([l2Ratio.value, l2Ratio.n]).toEqual([0.25, 2]);
    expect(ve.n).toBe(3);
    const silent = new ReconstructionStats(1);
    silent.add(Float32Array.of(1, 2), Float32Array.of(0, 0));
    expect(silent.metrics().cosine.value).toBeNull();
    expect(silent.metrics().relativeReconstructionBias.value).toBeNull();
  });

  it("refuse data that do not vary, and numbers that are not finite", () => {
    const constant = new ReconstructionStats(1);
    constant.add(Float32Array.of(0.1, 0.1, 0.1), Float32Array.of(0.2, 0.1, 0.1));
    expect(() => constant.metrics()).toThrow(DataError);
    const stats = new ReconstructionStats(1);
    stats.add(Float32Array.of(1, 2), Float32Array.of(1, 2));
    expect(() => stats.add(Float32Array.of(1, 2), Float32Array.of(1, Number.NaN))).toThrow(
      /reconstruction of evaluated token 3/,
    );
    expect(() => stats.add(Float32Array.of(1, 2), Float32Array.of(1))).toThrow(ShapeError);
  });
});

it("a compensated sum keeps what fp64 alone would lose", () => {
  const sum = new CompensatedSum();
  for (const term of [1, 1e100, 1, -1e100]) sum.add(term);
  expect(sum.value).toBe(2);
});

describe("firing", () => {
  it("counts per latent, merges, and bins log10 frequencies with the floor", () => {
    const acts = (latents: number[], nTokens: number): SparseActs => ({
      nTokens,
      offsets: new Uint32Array(nTokens + 1),
      latents: Uint32Array.from(latents),
      values: new Float32Array(latents.length),
    });
    const firing = new FiringStats(4);
    firing.add(acts([0, 1, 0], 2));
    const more = new FiringStats(4);
    more.add(acts([0], 8));
    firing.merge(more);
    expect([...firing.counts]).toEqual([3, 1, 0, 0]);
    expect([firing.l0.value, firing.l0.n]).toEqual([0.4, 10]);
    const { nNeverFired, nLatents, frequencyHistogram } = firing.summary();
    expect([nNeverFired, nLatents]).toEqual([2, 4]);
    expect(frequencyHistogram.counts.reduce((a, b) => a + b, 0)).toBe(4);
    expect(frequencyHistogram.counts[0]).toBe(2);
    expect(frequencyHistogram.counts[36]).toBe(1); // 10^-1
    expect(() => firing.add(acts([4], 1))).toThrow(ShapeError);
    expect([...log10Frequencies([1000, 10, 0], 1000)]).toEqual([0, -2, -10]);
  });
});

describe("an evaluation", () => {
  it("of a store is that of its rows, whatever the chunk, and limit cuts it short", async () => {
    const dir = await mkdtemp(join(tmpdir(), "lapidary-eval-"));
    try {
      const x = normals(50 * D_IN, "x", 1);
      const identity = {
        dtype: "f32",
        dIn: D_IN,
        hookName: "blocks.4.hook_resid_post",
        set: "prose",
        provenance: {},
      } as const;
      const writer = await openWriter(dir, identity);
      await writer.writeShard(0, { ...allocateRows(30, D_IN), activations: x.slice(0, 30 * D_IN) });
      await writer.writeShard(1, { ...allocateRows(20, D_IN), activations: x.slice(30 * D_IN) });
      await writer.finish();
      const store = await openActivationStore(dir);
      const sae = reconstructor(shrunk);
      const inMemory = await evaluateRows(sae, rowsFor(x));
      const progress: number[] = [];
      const fromStore = await evaluate(sae, store, {
        chunkRows: 7,
        onProgress: ({ done }) => progress.push(done),
      });
      expect(progress.at(-1)).toBe(50);
      expect(fromStore.firingCounts).toEqual(inMemory.firingCounts);
      expect(fromStore.result.store).toMatchObject({
        nRows: 50,
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      });
      const values = ({ result }: typeof inMemory) =>
        Object.fromEntries(Object.entries(result.metrics).map(([name, { value }]) => [name, value]));
      expectClose(values(fromStore), values(inMemory), 1e-12);
      const some = await evaluate(sae, store, { limit: 12 });
      expect(some.result.nTokens).toBe(12);
      expectClose(values(some), values(await evaluateRows(sae, rowsFor(x.slice(0, 12 * D_IN)))), 1e-12);
      await store.close();
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it("is JSON in which every number carries definition, unit and sample size", async () => {
    const { result } = await evaluateRows(reconstructor(shrunk), rowsFor(normals(9 * D_IN, "x")));
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
    expect(Object.keys(result.metrics)).toEqual(Object.keys(METRICS));
    for (const [name, entry] of Object.entries(result.metrics)) {
      expect(entry, name).toMatchObject({ ...METRICS[name as keyof typeof METRICS], n: 9 });
      expect(Number.isFinite(entry.value), name).toBe(true);
    }
    expect(result.latents.nNeverFired).toBe(D_SAE - 2);
    expect(result.threshold).toMatchObject({ min: 1, median: 4.5, mean: 4.5, max: 8 });
  });

  it("names the SAE by a hash of what it computes, not of its labels", async () => {
    const hash = async (sae: Sae) =>
      (await evaluateRows(reconstructor(shrunk, sae), rowsFor(normals(10, "x")))).result.sae.hash;
    const own = await hash(fakeSae());
    expect(await hash(fakeSae({ modelName: "another", metadata: { a: 1 } }))).toBe(own);
    expect(await hash(fakeSae({ applyBDecToInput: false }))).not.toBe(own);
    const changed = fakeSae();
    changed.weights.bDec[3] = 1e-20;
    expect(await hash(changed)).not.toBe(own);
  });

  it("refuses another width, another hook point, and nothing", async () => {
    const sae = reconstructor(shrunk);
    const x = normals(4 * D_IN, "x");
    await expect(evaluateRows(sae, rowsFor(x.slice(1)))).rejects.toThrow(ShapeError);
    await expect(evaluateRows(sae, rowsFor(new Float32Array(0)))).rejects.toThrow(DataError);
    const elsewhere = { ...rowsFor(x), hookName: "blocks.5.hook_resid_post" };
    await expect(evaluateRows(sae, elsewhere)).rejects.toThrow(/model\.layers\.4.*blocks\.5/);
    const unnamed = reconstructor(shrunk, fakeSae({ hookName: null }));
    expect((await evaluateRows(unnamed, elsewhere)).result.hookName).toBe("blocks.5.hook_resid_post");
    const aborted = AbortSignal.abort();
    await expect(evaluateRows(sae, rowsFor(x), { signal: aborted })).rejects.toThrow(/abort/i);
  });
});
