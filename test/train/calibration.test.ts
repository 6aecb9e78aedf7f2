/** Calibrated thresholds: L0 is k on the rows, whatever the chunks and the engine; and what latents of their own get. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Engine, EngineFactory, Weights } from "../../src/kernels/kernels.ts";
import { createNativeEngine } from "../../src/kernels/native.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { Philox } from "../../src/random/philox.ts";
import { calibrateLatents, calibrateThreshold, LEAST_FIRINGS } from "../../src/train/calibration.ts";
import { addon } from "../parity/cases.ts";
import { D_IN, D_SAE, sparseRows, startWeights } from "./fixtures.ts";

const engineOf = (weights: Weights, create: EngineFactory = createReferenceEngine) =>
  create(
    {
      dIn: weights.dIn,
      dSae: weights.dSae,
      widths: [weights.dSae],
      applyBDecToInput: true,
      rescaleActsByDecoderNorm: false,
      training: false,
    },
    weights,
  );

/** `x` in chunks of `chunkRows` rows. */
const chunksOf = (x: Float32Array, chunkRows: number, dIn = D_IN) =>
  async function* () {
    for (let at = 0; at < x.length; at += chunkRows * dIn) yield x.slice(at, at + chunkRows * dIn);
  };

/** Entries that inference selects. */
async function entriesAbove(engine: Engine, x: Float32Array, threshold: number | Float32Array) {
  const thresholds =
    typeof threshold === "number" ? new Float32Array(engine.config.dSae).fill(threshold) : threshold;
  return engine.encode(x, { kind: "threshold", thresholds });
}

describe("one threshold for all", () => {
  it("leaves L0 = k on those rows, whatever rows, k and chunks are", async () => {
    const engine = await engineOf(startWeights());
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 120 }),
        fc.integer({ min: 1, max: 1000 }),
        fc.double({ min: 0.3, max: 20, noNaN: true }),
        fc.integer({ min: 1, max: 130 }),
        async (nRows, seed, k, chunkRows) => {
          const x = sparseRows(nRows, seed);
          const found = await calibrateThreshold(engine, chunksOf(x, chunkRows), k);
          const { values } = await entriesAbove(engine, x, found.threshold);
          expect(values.length).toBe(Math.round(k * nRows));
          expect(found).toEqual({ threshold: found.threshold, l0: values.length / nRows, nRows });
          const whole = await calibrateThreshold(engine, chunksOf(x, nRows), k);
          if (found.threshold !== whole.threshold) {
            // only where a chunk's own cut lies in the gap: both are in it
            const between = await entriesAbove(engine, x, Math.min(found.threshold, whole.threshold));
            expect(between.values.length).toBe(values.length);
          }
        },
      ),
      { numRuns: 60, seed: 1 },
    );
  });

  it("falls as k rises", async () => {
    const engine = await engineOf(startWeights());
    const rows = chunksOf(sparseRows(100, 5), 32);
    let last = Number.POSITIVE_INFINITY;
    for (const k of [0.1, 0.5, 1, 2, 3.3, 5, 10, 20]) {
      const { threshold } = await calibrateThreshold(engine, rows, k);
      expect(threshold).toBeLessThan(last);
      last = threshold;
    }
  });

  it("searches deeper where one chunk has nearly all that is large", async () => {
    const engine = await engineOf(startWeights());
    const [loud, quiet] = [sparseRows(32, 1).map((v) => 50 * v), sparseRows(32, 2)];
    let passes = 0;
    const rows = async function* () {
      passes += 1;
      yield loud;
      yield quiet;
    };
    const { threshold } = await calibrateThreshold(engine, rows, 12);
    expect(passes).toBeGreaterThan(1);
    const counts = await Promise.all([loud, quiet].map((x) => entriesAbove(engine, x, threshold)));
    expect(counts[0].values.length + counts[1].values.length).toBe(12 * 64);
  });

  it("takes the nearest L0 there is where values are equal, and 0 where too few are positive", async () => {
    const engine = await engineOf(startWeights());
    const one = sparseRows(1, 3);
    const same = new Float32Array(10 * D_IN);
    for (let row = 0; row < 10; row++) same.set(one, row * D_IN);
    const found = await calibrateThreshold(engine, chunksOf(same, 4), 2.4); // L0 is 2 or 3, nothing between
    expect(found.l0).toBe(2);
    expect((await entriesAbove(engine, same, found.threshold)).values.length).toBe(20);
    expect((await calibrateThreshold(engine, chunksOf(same, 4), 2.6)).l0).toBe(3);
    const all = await entriesAbove(engine, one, 0);
    const most = await calibrateThreshold(engine, chunksOf(one, 4), 60);
    expect(most).toEqual({ threshold: 0, l0: all.values.length, nRows: 1 });
  });

  it("refuses no rows, and a k that is none", async () => {
    const engine = await engineOf(startWeights());
    await expect(calibrateThreshold(engine, chunksOf(new Float32Array(0), 4), 3)).rejects.toThrow(/rows/);
    await expect(calibrateThreshold(engine, chunksOf(sparseRows(4, 1), 4), 0)).rejects.toThrow(/k to/);
  });
});

describe("a threshold for each latent", () => {
  it("is where it fires as often as batch-topk selects it; who is rarely selected has the common one", async () => {
    const engine = await engineOf(startWeights());
    const x = sparseRows(600, 9);
    const rows = chunksOf(x, 100);
    const found = await calibrateLatents(engine, rows, 3);
    expect(found.threshold).toBe((await calibrateThreshold(engine, rows, 3)).threshold);
    const selected = new Uint32Array(D_SAE);
    for await (const chunk of rows()) {
      const { latents } = await engine.encode(chunk, { kind: "batch-topk", k: 3 });
      for (const latent of latents) selected[latent] += 1;
    }
    const fired = new Uint32Array(D_SAE);
    const acts = await entriesAbove(engine, x, found.thresholds);
    for (const latent of acts.latents) fired[latent] += 1;
    const own = [...selected.keys()].filter((i) => selected[i] >= LEAST_FIRINGS);
    expect(found.nOwn).toBe(own.length);
    expect(own.length).toBeGreaterThan(D_SAE / 2);
    expect(own.length).toBeLessThan(D_SAE);
    for (const i of selected.keys()) {
      if (selected[i] >= LEAST_FIRINGS) expect(fired[i]).toBe(selected[i]);
      else expect(found.thresholds[i]).toBe(found.threshold);
    }
    expect(found.l0PerLatent).toBe(acts.latents.length / 600);
    expect(new Set(own.map((i) => found.thresholds[i])).size).toBeGreaterThan(1);
  });
});

const { present, missing } = addon();
describe.skipIf(!present)(`the native engine${missing}`, () => {
  it("comes to the same thresholds within rounding, and to the same L0", async () => {
    const weights = startWeights(0, D_IN, 320);
    const random = new Philox(4, "test/biases");
    weights.bEnc.forEach((_, i) => {
      weights.bEnc[i] = 0.3 * random.normal(i);
    });
    const [reference, native] = [await engineOf(weights), await engineOf(weights, createNativeEngine)];
    for (const k of [1, 4.5, 12]) {
      const x = sparseRows(400, 6);
      const rows = chunksOf(x, 128);
      const [a, b] = [await calibrateLatents(reference, rows, k), await calibrateLatents(native, rows, k)];
      expect(b.l0).toBe(a.l0);
      expect(b.l0).toBe(k);
      expect(b.l0PerLatent).toBe(a.l0PerLatent);
      expect(b.nOwn).toBe(a.nOwn);
      expect(Math.abs(b.threshold / a.threshold - 1)).toBeLessThan(1e-6);
      a.thresholds.forEach((threshold, i) => {
        expect(Math.abs(b.thresholds[i] / threshold - 1)).toBeLessThan(1e-6);
      });
      // Each engine's threshold gives the other's L0, too: the middle of the gap is not crossed by rounding.
      expect((await entriesAbove(native, x, a.threshold)).latents.length).toBe(k * 400);
    }
    await native.dispose();
  });
});
