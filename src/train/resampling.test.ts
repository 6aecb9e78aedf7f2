import { describe, expect, it } from "vitest";
import { D_IN, D_SAE, memoryStore, sparseRows, startWeights } from "../../test/train/fixtures.ts";
import type { Engine, EngineTensor } from "../kernels/kernels.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { Philox } from "../random/philox.ts";
import { type ResamplingOptions, resample } from "./resampling.ts";
import { drawDirections } from "./residual-draws.ts";

const selection = { kind: "batch-topk", k: 3 } as const;
const OPEN = { scale: 0.2, maxSelectionShare: 1, maxThresholdRise: Number.POSITIVE_INFINITY };
const LARGE: EngineTensor[] = ["wEnc", "wDec", "m.wEnc", "m.wDec", "v.wEnc", "v.wDec"];
const SMALL: EngineTensor[] = ["bEnc", "m.bEnc", "v.bEnc"];

/** An engine after one step (moments are not zero), its last 16 latents dead. */
async function setting(changes: Partial<ResamplingOptions> = {}) {
  const engine = await createReferenceEngine(
    {
      dIn: D_IN,
      dSae: D_SAE,
      widths: [D_SAE],
      applyBDecToInput: true,
      rescaleActsByDecoderNorm: true,
      training: true,
    },
    startWeights(),
  );
  const reader = memoryStore(sparseRows(256, 2)).batches({ batchTokens: 64, seed: 1 });
  await engine.trainStep(await reader.batch(0, 0), {
    selection,
    learningRate: 1e-3,
    adamStep: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    clipNorm: 1,
    aux: null,
  });
  const dead = new Uint8Array(D_SAE).fill(1, 48);
  const options: ResamplingOptions = { config: OPEN, selection, seed: 7, epoch: 0, reader, dead, ...changes };
  return { engine, options };
}

async function row(engine: Engine, tensor: EngineTensor, i: number): Promise<Float32Array> {
  return engine.read(tensor, i, i + 1);
}

const norm = (x: ArrayLike<number>) => Math.hypot(...Array.from(x));

async function everything(engine: Engine): Promise<number[][]> {
  const tensors = [...LARGE, ...SMALL];
  return Promise.all(tensors.map(async (tensor) => [...(await engine.read(tensor, 0, D_SAE))]));
}

describe("resample", () => {
  it("writes the rows the equations say: one direction, live median norm, the scaled product, no bias, no moments", async () => {
    const { engine, options } = await setting();
    const liveNorms: number[] = [];
    const liveProducts: number[] = [];
    for (let i = 0; i < 48; i++) {
      liveNorms.push(norm(await row(engine, "wDec", i)));
      liveProducts.push(liveNorms[i] * norm(await row(engine, "wEnc", i)));
    }
    const median = (x: number[]) =>
      x
        .sort((a, b) => a - b)
        .slice(23, 25)
        .reduce((a, b) => a + b) / 2;
    const [D, product] = [median(liveNorms), median(liveProducts)];

    const { newcomers, report } = await resample(engine, options);
    expect(newcomers).toEqual(Array.from({ length: 16 }, (_, n) => 48 + n));
    for (const i of newcomers) {
      const [wEnc, wDec] = [await row(engine, "wEnc", i), await row(engine, "wDec", i)];
      expect(norm(wDec)).toBeCloseTo(D, 5);
      expect(norm(wEnc) * norm(wDec)).toBeCloseTo(0.2 * product, 5);
      const cosine = wEnc.reduce((sum, v, j) => sum + v * wDec[j], 0) / (norm(wEnc) * norm(wDec));
      expect(cosine).toBeCloseTo(1, 5);
      for (const tensor of LARGE.slice(2)) expect(norm(await row(engine, tensor, i))).toBe(0);
      for (const tensor of SMALL) expect((await row(engine, tensor, i))[0]).toBe(0);
    }
    expect(report).toMatchObject({ dead: 16, live: 48, newcomers: 16, reason: null });
    expect(report.medianDecoderNorm).toBeCloseTo(D, 6);
  });

  it("does the same again from the same state, and something else with another seed or epoch", async () => {
    const results: number[][][] = [];
    for (const change of [{}, {}, { seed: 8 }, { epoch: 1 }]) {
      const { engine, options } = await setting(change);
      await resample(engine, options);
      results.push(await everything(engine));
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).not.toEqual(results[0]);
    expect(results[3]).not.toEqual(results[0]);
  });

  it("leaves live latents as they were", async () => {
    const { engine, options } = await setting();
    const before = await Promise.all(LARGE.map((tensor) => engine.read(tensor, 0, 48)));
    await resample(engine, options);
    expect(await Promise.all(LARGE.map((tensor) => engine.read(tensor, 0, 48)))).toEqual(before);
  });

  it("tries the effect first and takes fewer newcomers until the caps are kept", async () => {
    const config = { scale: 3, maxSelectionShare: 0.25, maxThresholdRise: 10 };
    const { engine, options } = await setting({ config });
    const { newcomers, report } = await resample(engine, options);
    expect(report.trials.length).toBeGreaterThan(1);
    expect(report.trials[0].selectionShare).toBeGreaterThan(0.25);
    const last = report.trials.at(-1)!;
    expect(last).toMatchObject({ withinCaps: true, newcomers: newcomers.length });
    expect(last.selectionShare).toBeLessThanOrEqual(0.25);
    expect(newcomers.length).toBeGreaterThan(0);
    expect(newcomers.length).toBeLessThan(16);
    expect(report.reason).toMatch(/caps/);
  });

  it("predicts VE of the trial batch by its definition, before and with the newcomers", async () => {
    const { engine, options } = await setting({ config: { ...OPEN, scale: 2 } });
    const order = new Philox(7, "resampling/epoch-0/batches").permutation(options.reader.nBatches);
    const x = await options.reader.batch(0, order[0]);
    const ve = async () => {
      const recon = await engine.decode(await engine.encode(x, selection));
      const n = x.length / D_IN;
      const mean = Array.from(
        { length: D_IN },
        (_, j) => x.filter((_, at) => at % D_IN === j).reduce((a, b) => a + b) / n,
      );
      const sse = x.reduce((sum, v, at) => sum + (v - recon[at]) ** 2, 0);
      return 1 - sse / x.reduce((sum, v, at) => sum + (v - mean[at % D_IN]) ** 2, 0);
    };
    const before = await ve();
    const { report } = await resample(engine, options);
    expect(report.veBefore).toBeCloseTo(before, 10);
    expect(report.trials.at(-1)!.ve).toBeCloseTo(await ve(), 10);
    expect(report.trials.at(-1)!.selectionShare).toBeGreaterThan(0);
  });

  it("keeps the caps on the newcomers' number, choosing among the dead by seed and epoch", async () => {
    const chosen: number[][] = [];
    for (const change of [
      { config: { ...OPEN, maxNewcomers: 5 } },
      { config: { ...OPEN, maxNewcomers: 5 } },
      { config: { ...OPEN, maxNewcomers: 5 }, epoch: 1 },
      { config: { ...OPEN, maxLatentShare: 0.05 } },
      { config: { ...OPEN, maxNewcomers: 100, maxLatentShare: 1 } },
      { config: { ...OPEN, maxNewcomers: 0 } },
    ]) {
      const { engine, options } = await setting(change);
      const { newcomers, report } = await resample(engine, options);
      expect(newcomers.every((i) => options.dead[i] === 1)).toBe(true);
      expect(newcomers).toEqual(newcomers.toSorted((a, b) => a - b));
      if (newcomers.length < 16) expect(report.reason).toMatch(/caps on their number/);
      chosen.push(newcomers);
    }
    expect(chosen.map(({ length }) => length)).toEqual([5, 5, 5, 3, 16, 0]);
    expect(chosen[1]).toEqual(chosen[0]);
    expect(chosen[2]).not.toEqual(chosen[0]);
  });

  it("puts everything back, to the bit, when no number of newcomers keeps the caps", async () => {
    const config = { scale: 50, maxSelectionShare: 0, maxThresholdRise: 1 };
    const { engine, options } = await setting({ config });
    const before = await everything(engine);
    const { newcomers, report } = await resample(engine, options);
    expect(newcomers).toEqual([]);
    expect(report.trials.map((trial) => trial.newcomers)).toEqual([16, 8, 4, 2, 1]);
    expect(await everything(engine)).toEqual(before);
  });

  it("does nothing, and says why, when nobody is dead or nobody alive", async () => {
    for (const [dead, reason] of [
      [new Uint8Array(D_SAE), /no latent is dead/],
      [new Uint8Array(D_SAE).fill(1), /no latent is alive/],
    ] as const) {
      const { engine, options } = await setting({ dead });
      const before = await everything(engine);
      const { newcomers, report } = await resample(engine, options);
      expect(newcomers).toEqual([]);
      expect(report.reason).toMatch(reason);
      expect(await everything(engine)).toEqual(before);
    }
  });
});

describe("drawDirections", () => {
  /** An SAE that reconstructs 0: the error of a token is the token. */
  const blind = () =>
    createReferenceEngine(
      {
        dIn: 4,
        dSae: 1,
        widths: [1],
        applyBDecToInput: false,
        rescaleActsByDecoderNorm: false,
        training: false,
      },
      {
        dIn: 4,
        dSae: 1,
        wEnc: new Float32Array(4),
        wDec: new Float32Array(4),
        bEnc: new Float32Array([-1]),
        bDec: new Float32Array(4),
      },
    );
  /** Token t has length √(t+1) along axis t: squared errors 1, 2, 3, 4. */
  const tokens = Float32Array.from({ length: 16 }, (_, at) =>
    at % 5 === 0 ? Math.sqrt(Math.floor(at / 4) + 1) : 0,
  );

  it("draws with probability proportional to the squared error", async () => {
    const engine = await blind();
    const counts = [0, 0, 0, 0];
    const n = 4000;
    for (let seed = 0; seed < n; seed++) {
      const [u] = await drawDirections(engine, {
        selection: { kind: "topk", k: 1 },
        wanted: 1,
        random: new Philox(seed, "draws"),
        batches: [0],
        read: async () => tokens,
      });
      counts[u.indexOf(1)] += 1;
    }
    // Four standard deviations of a binomial count around n·(1, 2, 3, 4)/10.
    counts.forEach((count, t) => {
      const p = (t + 1) / 10;
      expect(Math.abs(count - n * p)).toBeLessThan(4 * Math.sqrt(n * p * (1 - p)));
    });
  });

  it("draws no token twice, skips what is reconstructed exactly, and reads on while it needs more", async () => {
    const engine = await blind();
    const read: number[] = [];
    const directions = await drawDirections(engine, {
      selection: { kind: "topk", k: 1 },
      wanted: 7,
      random: new Philox(1, "draws"),
      batches: [5, 2, 9],
      read: async (batch) => {
        read.push(batch);
        return batch === 2 ? new Float32Array(16) : tokens;
      },
    });
    expect(read).toEqual([5, 2, 9]);
    expect(directions.length).toBe(7);
    const perAxis = [0, 1, 2, 3].map((axis) => directions.filter((u) => u[axis] === 1).length);
    expect(perAxis.every((count) => count <= 2)).toBe(true);
  });
});
