/** SAELens' and SAEBench's numbers: the equations, the batches, and why two of them are not to be trusted. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DataError, ShapeError } from "../../errors.ts";
import type { SparseActs } from "../../kernels/kernels.ts";
import { joinActs, tokensOfActs } from "../../kernels/sparse-acts.ts";
import { Philox } from "../../random/philox.ts";
import { plainConfig } from "../../sae/dialects/config.ts";
import type { Sae } from "../../sae/sae.ts";
import { evaluateRows } from "../evaluate.ts";
import { saebenchMetrics } from "./saebench.ts";
import { SAELENS_METRICS, SaelensStats, type SaelensValues } from "./saelens.ts";

interface Tokens {
  readonly dIn: number;
  readonly dSae: number;
  readonly x: Float32Array;
  readonly recon: Float32Array;
  readonly acts: SparseActs;
  readonly window: Uint32Array;
}

/** Made-up tokens; nothing ties x, recon and activations together. */
function tokens(n: number, dIn: number, dSae: number, seed: number): Tokens {
  const stream = new Philox(seed, "saelens");
  const x = Float32Array.from({ length: n * dIn }, (_, i) => 2 + stream.normal(i));
  const recon = x.map((value, i) => value + 0.3 * stream.normal(n * dIn + i));
  const parts = Array.from({ length: n }, (_, t) => {
    const latents = Uint32Array.from({ length: dSae }, (_, i) => i).filter((i) => (t * 7 + i * 5) % 3 === 0);
    const values = Float32Array.from(latents, (i) => 0.5 + ((t + i) % 4));
    return { nTokens: 1, offsets: Uint32Array.of(0, latents.length), latents, values };
  });
  const window = Uint32Array.from({ length: n }, (_, t) => Math.floor(t / 6));
  return { dIn, dSae, x, recon, acts: joinActs(parts), window };
}

/** Adds tokens [from, to) in chunks of the given sizes, over and over. */
function stats(
  all: Tokens,
  batchTokens: number,
  chunks: readonly number[] = [all.acts.nTokens],
): SaelensStats {
  const { dIn, dSae, x, recon, acts, window } = all;
  const made = new SaelensStats(dIn, dSae, { batchTokens });
  for (let at = 0, c = 0; at < acts.nTokens; c++) {
    const end = Math.min(acts.nTokens, at + chunks[c % chunks.length]);
    made.add(
      x.subarray(at * dIn, end * dIn),
      recon.subarray(at * dIn, end * dIn),
      tokensOfActs(acts, at, end),
      window.subarray(at, end),
    );
    at = end;
  }
  return made;
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, v, i) => sum + v * b[i], 0);

/** The published code, a list at a time. */
function naive({ dIn, x, recon, acts }: Tokens, batchTokens: number): SaelensValues {
  const rows = (all: Float32Array) =>
    Array.from({ length: all.length / dIn }, (_, t) => [...all.subarray(t * dIn, (t + 1) * dIn)]);
  const [xs, rs] = [rows(x), rows(recon)];
  const sse = xs.map((row, t) => row.reduce((sum, v, j) => sum + (v - rs[t][j]) ** 2, 0));
  const batches: number[][] = [];
  for (let at = 0; at + batchTokens <= xs.length || at === 0; at += batchTokens)
    batches.push(Array.from({ length: Math.min(batchTokens, xs.length - at) }, (_, i) => at + i));
  const batched = batches.flatMap((batch) => {
    const centre = xs[0].map((_, j) => mean(batch.map((t) => xs[t][j])));
    return batch.map((t) => {
      const fromMean = xs[t].reduce((sum, v, j) => sum + (v - centre[j]) ** 2, 0);
      return { legacy: 1 - sse[t] / fromMean, mse: sse[t] / batch.length };
    });
  });
  const sumOfSquares = mean(batches.map((batch) => mean(batch.map((t) => dot(xs[t], xs[t])))));
  const perDimension = mean(
    batches.flatMap((batch) => xs[0].map((_, j) => mean(batch.map((t) => xs[t][j] ** 2)))),
  );
  const residual = mean(batches.map((batch) => mean(batch.map((t) => sse[t]))));
  const norms = (all: number[][]) => all.map((row) => Math.sqrt(dot(row, row)));
  const [normIn, normOut] = [norms(xs), norms(rs)];
  return {
    explained_variance: 1 - residual / (sumOfSquares - perDimension ** 2),
    explained_variance_legacy: mean(batched.map(({ legacy }) => legacy)),
    mse: mean(batched.map(({ mse }) => mse)),
    cossim: mean(xs.map((row, t) => dot(row, rs[t]) / (normIn[t] * normOut[t]))),
    l2_norm_in: mean(normIn),
    l2_norm_out: mean(normOut),
    l2_ratio: mean(normIn.map((norm, t) => normOut[t] / (norm < 0.0001 ? 1 : norm))),
    relative_reconstruction_bias: mean(
      batches.map(
        (batch) => mean(batch.map((t) => dot(rs[t], rs[t]))) / mean(batch.map((t) => dot(xs[t], rs[t]))),
      ),
    ),
    l0: acts.latents.length / xs.length,
    l1: acts.values.reduce((a, b) => a + b, 0) / xs.length,
  };
}

function expectClose(got: SaelensValues, wanted: SaelensValues): void {
  for (const name of Object.keys(SAELENS_METRICS) as (keyof SaelensValues)[])
    expect(Math.abs(got[name]! / wanted[name]! - 1), `${name}: ${got[name]}, ${wanted[name]}`).toBeLessThan(
      1e-12,
    );
}

describe("SAELens 6.18's metrics", () => {
  const all = tokens(50, 6, 9, 1);

  it.each([50, 25, 16, 7, 1000])("are the published equations, in batches of %d", (batchTokens) => {
    expectClose(stats(all, batchTokens).values(), naive(all, batchTokens));
  });

  it("chunks do not change a bit", () => {
    const whole = stats(all, 16);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 }), (chunks) => {
        const pieces = stats(all, 16, chunks);
        expect(pieces.values()).toEqual(whole.values());
        expect(pieces.consistentActivationHeuristic()).toEqual(whole.consistentActivationHeuristic());
      }),
      { numRuns: 20 },
    );
  });

  it("latents: share of tokens, tokens a window in which they fire, NaN if they never do", () => {
    const few = { ...tokens(12, 2, 4, 2), dSae: 6 };
    const on = (latent: number) =>
      Array.from({ length: 12 }, (_, t) => t).filter((t) =>
        tokensOfActs(few.acts, t, t + 1).latents.includes(latent),
      );
    const made = stats(few, 5);
    const windows = (latent: number) => new Set(on(latent).map((t) => few.window[t])).size;
    expect([...made.featureDensity()]).toEqual([0, 1, 2, 3, 4, 5].map((i) => on(i).length / 12));
    expect([...made.consistentActivationHeuristic()!]).toEqual(
      [0, 1, 2, 3, 4, 5].map((i) => on(i).length / windows(i)),
    );
    expect(made.consistentActivationHeuristic()![5]).toBeNaN();
  });

  it("without windows there is no heuristic", () => {
    const made = new SaelensStats(6, 9);
    made.add(all.x, all.recon, all.acts);
    expect(made.consistentActivationHeuristic()).toBeNull();
  });

  it("a metric says what it is of, and by which batches if it depends on them", () => {
    const metrics = stats(all, 16).metrics();
    expect(metrics["saelens618.mse"]).toMatchObject({ n: 48, interval: null });
    expect(metrics["saelens618.mse"].definition).toMatch(/twice.*Here: 3 batches of at most 16 tokens\.$/);
    expect(metrics["saelens618.l0"].n).toBe(50);
    expect(metrics["saelens618.l0"].definition).not.toMatch(/batch/);
  });

  it("what SAELens has as NaN is null: a cosine with zero, a token that is its batch's mean", () => {
    const zero = { ...tokens(3, 2, 2, 3), recon: new Float32Array(6) };
    expect(stats(zero, 3).values().cossim).toBeNull();
    expect(stats(zero, 1).values().explained_variance_legacy).toBeNull();
  });

  it("the ratio of an activation of almost no length is the length of its reconstruction", () => {
    const small = { ...tokens(4, 2, 2, 4), x: new Float32Array(8).fill(1e-5) };
    const { l2_ratio, l2_norm_out } = stats(small, 4).values();
    expect(l2_ratio).toBeCloseTo(l2_norm_out!, 12);
  });

  it("refuses arrays that do not fit, numbers that are none, and to speak of nothing", () => {
    const made = new SaelensStats(6, 9);
    expect(() => made.add(all.x.subarray(6), all.recon, all.acts)).toThrow(ShapeError);
    expect(() => made.add(all.x, all.recon.subarray(6), all.acts)).toThrow(ShapeError);
    expect(() => made.add(all.x, all.recon, all.acts, new Uint32Array(3))).toThrow(ShapeError);
    expect(() => new SaelensStats(6, 2).add(all.x, all.recon, all.acts)).toThrow(/latent of an activation/);
    expect(() => new SaelensStats(6, 9, { batchTokens: 0 })).toThrow(ShapeError);
    expect(() => made.values()).toThrow(DataError);
    expect(() =>
      made.add(
        all.x.map(() => Number.NaN),
        all.recon,
        all.acts,
      ),
    ).toThrow(/token 0 is not finite/);
  });
});

describe("why they mislead", () => {
  const dIn = 16;
  const n = 4000;

  /** Tokens about a mean of squared length 1176 with variance 1 in each dimension, x̂ their mean, no latents. */
  function aboutAMean(scale = 1) {
    const stream = new Philox(5, "saebench");
    const direction = Array.from({ length: dIn }, (_, j) => 10 * stream.normal(j));
    const length = Math.sqrt(direction.reduce((sum, v) => sum + v * v, 0));
    const mu = direction.map((v) => (v * Math.sqrt(1176)) / length);
    const x = Float32Array.from(
      { length: n * dIn },
      (_, i) => scale * (mu[i % dIn] + stream.normal(dIn + i)),
    );
    const centre = mu.map((_, j) => x.reduce((sum, v, i) => (i % dIn === j ? sum + v : sum), 0) / n);
    const acts = {
      nTokens: n,
      offsets: new Uint32Array(n + 1),
      latents: new Uint32Array(0),
      values: new Float32Array(0),
    };
    return { x, recon: x.map((_, i) => centre[i % dIn]), acts };
  }

  function bench({ x, recon, acts }: ReturnType<typeof aboutAMean>, batchTokens = 1000): SaelensStats {
    const made = new SaelensStats(dIn, 1, { batchTokens });
    made.add(x, recon, acts);
    return made;
  }

  async function ours({ x, recon, acts }: ReturnType<typeof aboutAMean>): Promise<number> {
    const predictor = {
      sae,
      async reconstruct(chunk: Float32Array) {
        const nTokens = chunk.length / dIn;
        return { acts: tokensOfActs(acts, 0, nTokens), recon: recon.slice(0, chunk.length) };
      },
    };
    const rows = { activations: x, dIn, set: "about a mean", hookName: "blocks.0.hook_resid_post" };
    return (await evaluateRows(predictor, rows)).result.metrics.ve.value;
  }

  it("who always says the mean explains nothing; they report 1.0037, over a negative variance", async () => {
    const data = aboutAMean();
    expect(Math.abs(await ours(data))).toBeLessThan(1e-6);
    const theirs = bench(data);
    expect(saebenchMetrics(theirs)["saebench060.explained_variance"].value).toBeCloseTo(1.0037, 4);
    expect(theirs.metrics()["saelens618.explained_variance"].value).toBeCloseTo(1.0037, 4);
    expect(theirs.totalVariance() / -4360).toBeCloseTo(1, 1);
  });

  it("they change with the unit of the activations: small ones are measured about zero", async () => {
    const small = aboutAMean(0.001);
    expect(Math.abs(await ours(small))).toBeLessThan(1e-6);
    const energy = small.x.reduce((sum, v) => sum + v * v, 0);
    const sse = small.x.reduce((sum, v, i) => sum + (v - small.recon[i]) ** 2, 0);
    expect(bench(small).values().explained_variance).toBeCloseTo(1 - sse / energy, 4);
    expect(bench(small).values().explained_variance).toBeCloseTo(0.9866, 3);
  });

  it("the mse halves as the batch doubles", () => {
    const data = aboutAMean();
    const [short, long] = [500, 1000].map((batchTokens) => bench(data, batchTokens).values().mse!);
    expect(short / long).toBeCloseTo(2, 10);
  });

  it("the definitions say so", () => {
    const { definition } = saebenchMetrics(bench(aboutAMean()))["saebench060.explained_variance"];
    expect(definition).toMatch(/Defective/);
    expect(SAELENS_METRICS.mse.definition).toMatch(/Defective/);
  });

  const sae: Sae = {
    config: plainConfig({
      architecture: "standard",
      dIn,
      dSae: 1,
      dtype: "float32",
      applyBDecToInput: false,
    }),
    weights: {
      dIn,
      dSae: 1,
      wEnc: new Float32Array(dIn),
      wDec: new Float32Array(dIn),
      bEnc: new Float32Array(1),
      bDec: new Float32Array(dIn),
    },
    threshold: null,
    runnerConfig: null,
  };
});
