/**
 * Diagnoses of cases whose cause is known because it was made: a planted SAE that is perfect at home, and activations
 * that are moved, scaled, spoilt by one token, or made of other directions. Then the numbers against plain equations.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ActivationRows } from "../../activations/activations.ts";
import { createReferenceEngine } from "../../kernels/reference/engine.ts";
import { Philox } from "../../random/philox.ts";
import { plainConfig } from "../../sae/dialects/config.ts";
import { type InferenceSae, openInference } from "../../sae/inference.ts";
import type { Sae } from "../../sae/sae.ts";
import { evaluateRows } from "../evaluate.ts";
import { rowsSource } from "../token-source.ts";
import { type Verdict, verdict } from "./diagnosis.ts";
import { halvesOf } from "./halves.ts";
import { Moments } from "./moments.ts";
import { sampleOf } from "./sample.ts";
import { diagnoseTransfer, type Home, type TransferDiagnosis } from "./transfer.ts";

const D_IN = 32;
const N_DIRECTIONS = 24; // of 32: what lies in the others the SAE cannot say
const D_SAE = 2 * N_DIRECTIONS;
const N = 1500;
const THRESHOLD = Math.fround(0.8);
const MEAN = Float64Array.from({ length: D_IN }, (_, j) => 3 * Math.sin(j));

/** Entry (i, j) of an orthonormal matrix (Hadamard, Sylvester's construction). */
function hadamard(i: number, j: number): number {
  let bits = i & j;
  let sign = 1;
  for (; bits > 0; bits &= bits - 1) sign = -sign;
  return sign / Math.sqrt(D_IN);
}
const bothWays = (latent: number) => (latent < N_DIRECTIONS ? 1 : -1);
const planted = (latent: number, j: number) => bothWays(latent) * hadamard(latent % N_DIRECTIONS, j);
const axes = (latent: number, j: number) => bothWays(latent) * (latent % N_DIRECTIONS === j ? 1 : 0);
/** A direction that no latent has. */
const unknown = (j: number) => hadamard(30, j);

/** Latents are the planted directions, both ways. */
const sae: Sae = {
  config: plainConfig({
    architecture: "jumprelu",
    dIn: D_IN,
    dSae: D_SAE,
    dtype: "float32",
    applyBDecToInput: true,
    hookName: "blocks.1.hook_resid_post",
    modelName: "planted",
  }),
  weights: {
    dIn: D_IN,
    dSae: D_SAE,
    wEnc: Float32Array.from({ length: D_SAE * D_IN }, (_, at) => planted(Math.floor(at / D_IN), at % D_IN)),
    wDec: Float32Array.from({ length: D_SAE * D_IN }, (_, at) => planted(Math.floor(at / D_IN), at % D_IN)),
    bEnc: new Float32Array(D_SAE),
    bDec: Float32Array.from(MEAN),
  },
  threshold: new Float32Array(D_SAE).fill(THRESHOLD),
  runnerConfig: { k: 4 },
};

/** MEAN + four directions with coefficients in [1, 2] + a little noise; 30 tokens a document, 15 a window. */
function tokens(seed: number, direction = planted): ActivationRows {
  const draw = new Philox(seed, "tokens");
  const noise = new Philox(seed, "noise");
  const activations = new Float32Array(N * D_IN);
  for (let t = 0; t < N; t++) {
    const x = Float64Array.from(MEAN, (mean, j) => mean + 0.05 * noise.normal(t * D_IN + j));
    for (let i = 0; i < 4; i++) {
      const latent = Math.floor(draw.uniform(8 * t + i) * D_SAE);
      const size = 1 + draw.uniform(8 * t + 4 + i);
      for (let j = 0; j < D_IN; j++) x[j] += size * direction(latent, j);
    }
    activations.set(x, t * D_IN);
  }
  const number = (per: number) => Uint32Array.from({ length: N }, (_, t) => Math.floor(t / per));
  return {
    nRows: N,
    activations,
    tokenIds: new Uint32Array(N),
    window: number(15),
    position: new Uint32Array(N),
    document: number(30),
    role: new Uint8Array(N),
  };
}
const changed = (rows: ActivationRows, f: (x: number, j: number, t: number) => number): ActivationRows => ({
  ...rows,
  activations: rows.activations.map((x, i) => f(x, i % D_IN, Math.floor(i / D_IN))),
});
const ABOUT = { dIn: D_IN, set: "made", hookName: "blocks.1.hook_resid_post" };

let inference: InferenceSae;
let home: Home;

beforeAll(async () => {
  inference = await openInference(sae, createReferenceEngine);
  home = (await diagnose(tokens(1))).home;
});
afterAll(() => inference.dispose());

async function diagnose(rows: ActivationRows, base: Home | null = null) {
  const { nRows: _, ...labelled } = rows;
  const evaluation = await evaluateRows(inference, { ...labelled, ...ABOUT });
  const source = rowsSource({ ...labelled, ...ABOUT }, { chunkRows: 700 });
  return diagnoseTransfer(inference, source, evaluation, { home: base });
}
async function judged(
  rows: ActivationRows,
  base: Home | null = home,
): Promise<Verdict & { diagnosis: TransferDiagnosis }> {
  const { diagnosis } = await diagnose(rows, base);
  return { ...verdict(diagnosis), diagnosis };
}

const moved = (rows: ActivationRows) => changed(rows, (x, j) => x + (j === 3 ? 2 : 0));
const smaller = (rows: ActivationRows) => changed(rows, (x, j) => MEAN[j] + 0.3 * (x - MEAN[j]));

describe("the verdict names the cause that was made", () => {
  it("the same distribution: fine as it is", async () => {
    const { cause, action, lines, diagnosis } = await judged(tokens(2));
    expect([cause, action]).toEqual(["none", "fine as it is"]);
    expect(lines[0]).toMatch(/^It fits: VE 0\.9\d\d, 0\.9\d\d on the base model/);
    expect(diagnosis.meanShift).toBeLessThan(0.05);
    expect(diagnosis.scaleRatio).toBeCloseTo(1, 1);
  });

  it("a moved mean: re-centre, and the dimension that moved is found", async () => {
    const { cause, action, lines, diagnosis } = await judged(moved(tokens(2)));
    expect([cause, action]).toEqual(["mean shift", "re-centre"]);
    expect(lines.join(" ")).toMatch(/re-centring recovers (9\d|100) % of the loss/);
    expect(diagnosis.shiftedDimensions[0].dimension).toBe(3);
    expect(diagnosis.shiftedDimensions[0].shift).toBeCloseTo(2, 1);
    expect(diagnosis.topTenShare).toBeGreaterThan(0.95);
    expect(diagnosis.fixes?.recentred.ve).toBeGreaterThan(home.ve! - 0.01);
  });

  it("another scale: rescale", async () => {
    const { cause, action, diagnosis } = await judged(smaller(tokens(2)));
    expect([cause, action]).toEqual(["scale", "rescale"]);
    expect(diagnosis.scaleRatio).toBeCloseTo(0.3, 2);
    expect(diagnosis.fixes).toMatchObject({ scaleFrom: "base" });
    expect(diagnosis.fixes?.scale).toBeCloseTo(1 / 0.3, 1);
  });

  it("both: re-centre and rescale", async () => {
    const { cause, action } = await judged(
      changed(tokens(2), (x, j) => MEAN[j] + 0.6 * (x - MEAN[j]) + 1.5 * unknown(j)),
    );
    expect([cause, action]).toEqual(["mean shift and scale", "re-centre and rescale"]);
  });

  it("one huge token: outliers, and not the mean and scale that it drags along", async () => {
    const spoilt = changed(tokens(2), (x, j, t) => (t === 777 ? 400 * unknown(j) : x));
    const { cause, action, lines, diagnosis } = await judged(spoilt);
    expect([cause, action]).toEqual(["outliers", "look at outliers"]);
    expect(diagnosis.ve).toBeLessThan(0.9);
    expect(diagnosis.outliers?.veWithout).toBeGreaterThan(0.95);
    expect(lines.join(" ")).toMatch(/the worst 0\.1 % of tokens \(2\) carry \d+ % of the squared error/);
  });

  it("other directions, same mean and scale: adapt", async () => {
    const { cause, action, lines, diagnosis } = await judged(tokens(2, axes));
    expect([cause, action]).toEqual(["changed distribution", "adapt"]);
    expect(diagnosis.meanShift).toBeLessThan(0.1);
    expect(diagnosis.scaleRatio).toBeCloseTo(1, 1);
    expect(lines[1]).toMatch(/^Neither a uniform shift nor outliers/);
  });

  it("a huge token along a latent makes VE look good over tokens that fail: flattered", async () => {
    const flattering = changed(tokens(2, axes), (x, j, t) => (t === 5 ? MEAN[j] + 5000 * planted(7, j) : x));
    const { cause, action, diagnosis } = await judged(flattering);
    expect(diagnosis.ve).toBeGreaterThan(0.99);
    expect([cause, action]).toEqual(["flattered", "look at outliers"]);
  });

  it("an SAE that fails on its own model: neither adapted nor blamed on the other model", async () => {
    const elsewhere = (await diagnose(tokens(1, axes))).home;
    const { cause, action } = await judged(tokens(2, axes), elsewhere);
    expect([cause, action]).toEqual(["unfit at home", "check SAE and texts"]);
  });

  it("without a base model: bDec stands for the mean, the scale is searched for", async () => {
    const of = async (rows: ActivationRows) => judged(rows, null);
    expect((await of(tokens(2))).cause).toBe("none");
    expect(await of(moved(changed(tokens(2), (x, j) => x + (j === 9 ? 2 : 0))))).toMatchObject({
      cause: "mean shift",
      diagnosis: { expected: "sae", home: null, scaleRatio: null },
    });
    const { cause, diagnosis } = await of(changed(tokens(2), (x, j) => MEAN[j] + 0.5 * (x - MEAN[j])));
    expect(cause).toBe("scale");
    expect(diagnosis.fixes).toMatchObject({ scaleFrom: "search" });
    expect(diagnosis.fixes?.scale).toBeGreaterThan(1.2);
    expect((await of(tokens(2, axes))).cause).toBe("changed distribution");
  });
});

describe("the numbers are those of plain equations", () => {
  it("mean shift, scale, shares of latents, place of the threshold, fixes on the half not fitted on", async () => {
    const rows = moved(smaller(tokens(4)));
    const { diagnosis } = await diagnose(rows, home);
    const row = (t: number) => Array.from(rows.activations.subarray(t * D_IN, (t + 1) * D_IN));
    const meanOf = (which: number[]) =>
      Array.from(
        { length: D_IN },
        (_, j) => which.reduce((sum, t) => sum + rows.activations[t * D_IN + j], 0) / which.length,
      );
    const square = (a: number[], b: ArrayLike<number>) =>
      a.reduce((sum, value, j) => sum + (value - b[j]) ** 2, 0);
    const all = Array.from({ length: N }, (_, t) => t);
    const spreadOf = (which: number[]) => {
      const centre = meanOf(which);
      return Math.sqrt(which.reduce((sum, t) => sum + square(row(t), centre), 0) / which.length);
    };
    const [mean, spread] = [meanOf(all), spreadOf(all)];
    expect(diagnosis.spread).toBeCloseTo(spread, 10);
    expect(diagnosis.meanShift).toBeCloseTo(Math.sqrt(square(mean, home.all.mean)) / spread, 10);
    expect(diagnosis.scaleRatio).toBeCloseTo(spread / home.all.spread, 10);

    const pre = (x: ArrayLike<number>, latent: number) => {
      let sum = 0;
      for (let j = 0; j < D_IN; j++)
        sum += (x[j] - sae.weights.bDec[j]) * sae.weights.wEnc[latent * D_IN + j];
      return sum;
    };
    const latents = Array.from({ length: D_SAE }, (_, i) => i);
    const rate = latents.map((i) => all.filter((t) => pre(row(t), i) > THRESHOLD).length / N);
    expect(diagnosis.silentShare).toBe(rate.filter((r) => r === 0).length / D_SAE);
    expect(diagnosis.above10).toBe(rate.filter((r) => r > 0.1).length / D_SAE);
    expect(diagnosis.above50).toBe(rate.filter((r) => r > 0.5).length / D_SAE);

    const sample = sampleOf(N, 512, 0);
    const p = sample.flatMap((t) => latents.map((i) => pre(row(t), i))).sort((a, b) => b - a);
    const positive = p.filter((value) => value > 0).length;
    const above = p.filter((value) => value > THRESHOLD).length;
    const { threshold } = diagnosis;
    expect(threshold).toMatchObject({ nTokens: 512, k: 4, threshold: THRESHOLD });
    expect(threshold?.shareAbove).toBe(above / p.length);
    expect(threshold?.sharePositive).toBe(positive / p.length);
    expect(threshold?.quantile).toBe((positive - above) / positive);
    expect(threshold?.cutAtK).toBeCloseTo(p[4 * 512 - 1], 5);
    expect(threshold?.thresholdToCut).toBeCloseTo(THRESHOLD / p[4 * 512 - 1], 4);

    const halves = await halvesOf([rows], 0);
    const { fit, held } = halves!.split(rows);
    expect(new Set([...fit, ...held]).size).toBe(N);
    expect(Math.abs(fit.length - held.length)).toBeLessThanOrEqual(30);
    const [from, s] = [meanOf(fit), home.fit.spread / spreadOf(fit)];
    const reconstructed = (x: number[]) => {
      const y = x.map((value, j) => home.fit.mean[j] + s * (value - from[j]));
      const recon = Array.from(sae.weights.bDec, (b, j) =>
        latents.reduce((sum, i) => {
          const a = pre(y, i);
          return a > THRESHOLD ? sum + a * sae.weights.wDec[i * D_IN + j] : sum;
        }, b),
      );
      return recon.map((value, j) => from[j] + (value - home.fit.mean[j]) / s);
    };
    const heldMean = meanOf(held);
    const sse = held.reduce((sum, t) => sum + square(row(t), reconstructed(row(t))), 0);
    const scatter = held.reduce((sum, t) => sum + square(row(t), heldMean), 0);
    expect(diagnosis.fixes?.nTokens).toBe(held.length);
    expect(diagnosis.fixes?.scale).toBeCloseTo(s, 10);
    expect(diagnosis.fixes?.both.ve).toBeCloseTo(1 - sse / scatter, 4);
  });

  it("do not depend on chunks, or on parts being merged", async () => {
    const { nRows: _, ...rows } = moved(tokens(5));
    const evaluation = await evaluateRows(inference, { ...rows, ...ABOUT });
    const of = async (chunkRows: number) =>
      (
        await diagnoseTransfer(inference, rowsSource({ ...rows, ...ABOUT }, { chunkRows }), evaluation, {
          home,
        })
      ).diagnosis;
    const [one, other] = [await of(1e9), await of(41)];
    expect(other.meanShift).toBeCloseTo(one.meanShift!, 11);
    expect(other.fixes?.both.ve).toBeCloseTo(one.fixes!.both.ve!, 6);
    expect(other.threshold).toEqual(one.threshold);
    const [whole, left, right] = [0, 0, 0].map(() => new Moments(D_IN));
    whole.add(rows.activations);
    left.add(rows.activations.subarray(0, 100 * D_IN));
    right.add(rows.activations.subarray(100 * D_IN));
    left.merge(right);
    expect(left.spread).toBeCloseTo(whole.spread, 11);
    expect(left.n).toBe(N);
  });
});

describe("halves and samples", () => {
  it("keep documents whole; few documents are divided by window; one window cannot be", async () => {
    const rows = tokens(6);
    const byDocument = await halvesOf([rows], 3);
    const half = new Map<number, string>();
    for (const [name, members] of Object.entries(byDocument!.split(rows)))
      for (const row of members) {
        expect(half.get(rows.document[row]) ?? name).toBe(name);
        half.set(rows.document[row], name);
      }
    expect(byDocument?.by).toBe("document");
    expect(byDocument?.definition).toContain("seed 3");
    const one = { ...rows, document: new Uint32Array(N) };
    expect((await halvesOf([one], 3))?.by).toBe("window");
    expect(await halvesOf([{ ...one, window: new Uint32Array(N) }], 3)).toBeNull();
    const { diagnosis } = await diagnose({ ...one, window: new Uint32Array(N) }, home);
    expect(diagnosis.fixes).toBeNull();
    expect(verdict(diagnosis).cause).toBe("none");
  });

  it("samples are distinct, ascending, seeded", () => {
    const drawn = sampleOf(1000, 100, 1);
    expect(new Set(drawn).size).toBe(100);
    expect(drawn).toEqual([...drawn].sort((a, b) => a - b));
    expect(sampleOf(1000, 100, 1)).toEqual(drawn);
    expect(sampleOf(1000, 100, 2)).not.toEqual(drawn);
    expect(sampleOf(3, 100, 1)).toEqual([0, 1, 2]);
  });
});
