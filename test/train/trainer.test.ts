/** What the loop does step by step, what it refuses, and what the guard saves. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Engine, EngineFactory } from "../../src/kernels/kernels.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { loadFinalCheckpoint, readFinishedTraining, trainedSae } from "../../src/train/final-checkpoint.ts";
import { readHeldOut } from "../../src/train/held-out.ts";
import { latentsIn } from "../../src/train/latent-ranges.ts";
import { type RunEvent, readJsonLines } from "../../src/train/log.ts";
import type { TrainProgress } from "../../src/train/progress.ts";
import { timesResampled } from "../../src/train/resampled.ts";
import { learningRateAt } from "../../src/train/schedule.ts";
import { train } from "../../src/train/trainer.ts";
import { CONFIG, D_IN, D_SAE, FORM, memoryStore, sparseRows, startWeights, tinyRun } from "./fixtures.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-train-"));
});
afterEach(() => rm(dir, { recursive: true }));

const lines = async (name: string): Promise<Record<string, unknown>[]> =>
  (await readFile(join(dir, name), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** The reference engine with some of its answers changed. */
function alteredEngine(alter: (engine: Engine) => Partial<Engine>): EngineFactory {
  return async (config, weights) => {
    const engine = await createReferenceEngine(config, weights);
    const changes = alter(engine) as Record<PropertyKey, unknown>;
    return new Proxy(engine, {
      get(target, key) {
        const value = key in changes ? changes[key] : (Reflect.get(target, key, target) as unknown);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
}

describe("the loop", () => {
  it("is batch by batch what the engine, the schedule and the EMA do by themselves", async () => {
    const config = { ...CONFIG, resampling: null, guard: null, epochs: 2 };
    const form = { ...FORM, auxCoefficient: 1 };
    const options = tinyRun(dir, {
      config,
      start: { form, weights: async () => startWeights(16), threshold: 0.5 },
    });
    const progress: TrainProgress[] = [];
    const outcome = await train({ ...options, onProgress: (p) => progress.push(p) });

    const engine = await createReferenceEngine(
      { dIn: D_IN, dSae: D_SAE, training: true, ...FORM },
      startWeights(16),
    );
    const reader = options.store.batches({ batchTokens: 64, seed: CONFIG.seed });
    const since = new Float64Array(D_SAE);
    let threshold = 0.5;
    for (let s = 0; s < 24; s++) {
      const dead = Uint8Array.from(since, (tokens) => (tokens > 300 ? 1 : 0));
      const result = await engine.trainStep(await reader.batch(Math.floor(s / 12), s % 12), {
        selection: { kind: "batch-topk", k: 3 },
        learningRate: learningRateAt(CONFIG.schedule, 24, s),
        adamStep: s + 1,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        clipNorm: 1,
        aux: dead.includes(1) ? { coefficient: 1, dead } : null,
      });
      threshold = (1 - 0.05) * threshold + 0.05 * result.minPositive!;
      for (let i = 0; i < D_SAE; i++) since[i] = result.fired[i] > 0 ? 0 : since[i] + 64;
      expect(progress[s]).toMatchObject({ step: s + 1, totalSteps: 24, loss: result.loss, threshold });
    }
    const final = await loadFinalCheckpoint(dir);
    expect(final.weights.wEnc).toEqual(await engine.read("wEnc", 0, D_SAE));
    expect(final.weights.bDec).toEqual(await engine.read("bDec", 0, D_IN));
    expect(final.tokensSinceFired).toEqual(since);
    expect(final.dead.reduce((a, b) => a + b, 0)).toBe(outcome.deadInTraining);
    expect(outcome).toMatchObject({ steps: 24, tokens: 24 * 64, threshold, incidents: [] });
    expect(progress.some(({ dead }) => dead > 0)).toBe(true);
  });

  it("writes metrics every so many steps, with VE by its definition", async () => {
    const outcome = await train(tinyRun(dir));
    const metrics = await lines("metrics.jsonl");
    expect(metrics.map(({ step }) => step)).toEqual([1, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36]);
    const x = await memoryStore(sparseRows(800, 2)).batches({ batchTokens: 64, seed: 11 }).batch(0, 0);
    let variance = 0;
    for (let j = 0; j < D_IN; j++) {
      const column = Array.from({ length: 64 }, (_, t) => x[t * D_IN + j]);
      const mean = column.reduce((a, b) => a + b) / 64;
      variance += column.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 64;
    }
    expect(metrics[0].ve).toBeCloseTo(1 - (metrics[0].mse as number) / variance, 10);
    expect(metrics.at(-1)).toMatchObject({ threshold: outcome.threshold, dead: outcome.deadInTraining });
  });

  it("starts the threshold at the batch-topk cut of the first batch and tells the spread it was given", async () => {
    const start = {
      form: FORM,
      weights: async () => startWeights(16),
      threshold: "first-batch-cut" as const,
      thresholdSpread: { min: 0.5, median: 1, max: 1.5, relative: 2 / 3 },
    };
    await train(tinyRun(dir, { start }));
    const engine = await createReferenceEngine(
      { dIn: D_IN, dSae: D_SAE, training: false, ...FORM },
      startWeights(16),
    );
    const x = await memoryStore(sparseRows(800, 2)).batches({ batchTokens: 64, seed: 11 }).batch(0, 0);
    const { values } = await engine.encode(x, { kind: "batch-topk", k: 3 });
    const [first] = await lines("events.jsonl");
    expect(first).toMatchObject({
      event: "start",
      threshold: Math.min(...values),
      thresholdFrom: "first-batch-cut",
      thresholdSpread: { min: 0.5, max: 1.5 },
    });
  });

  it("resamples at the epoch boundaries between epochs, not after the last", async () => {
    const { steps, resamplings: notes } = await train(tinyRun(dir));
    const events = (await readJsonLines<RunEvent>(join(dir, "events.jsonl")))!;
    const resamplings = events.filter(({ event }) => event === "resampling");
    expect(resamplings.map(({ step }) => step)).toEqual([12, 24]);
    expect(resamplings[0]).toMatchObject({ dead: 17, newcomers: 17 });

    const named = resamplings.map(({ latents }) => latentsIn(latents, D_SAE)!);
    expect(named.map(({ length }) => length)).toEqual(notes.map(({ newcomers }) => newcomers));
    const times = timesResampled({ events, resamplings: notes, steps, dSae: D_SAE })!;
    expect([...times]).toEqual(
      Array.from({ length: D_SAE }, (_, latent) => named.filter((ids) => ids.includes(latent)).length),
    );
  });

  it("polishes: another run with its own schedule from the final checkpoint", async () => {
    await train(tinyRun(join(dir, "train")));
    const { form, threshold, weights } = await trainedSae(join(dir, "train"));
    const schedule = { ...CONFIG.schedule, name: "constant" as const, lr: 1e-4 };
    const outcome = await train(
      tinyRun(join(dir, "polish"), {
        config: { ...CONFIG, epochs: 1, schedule, resampling: null },
        start: { form, threshold, weights: async () => weights },
      }),
    );
    expect(outcome.steps).toBe(12);
    expect(outcome.threshold).toBeCloseTo(threshold, 0);
    expect((await readFinishedTraining(join(dir, "polish")))?.config.schedule.lr).toBe(1e-4);
  });
});

describe("the guard", () => {
  it("undoes a runaway: newcomers at five times the norm, caps off", async () => {
    const calm = await train(tinyRun(join(dir, "calm"), { config: { ...CONFIG, resampling: null } }));
    const runaway = { scale: 5, maxSelectionShare: 1, maxThresholdRise: Number.POSITIVE_INFINITY };
    const run = join(dir, "run");
    const outcome = await train(tinyRun(run, { config: { ...CONFIG, resampling: runaway } }));
    expect(outcome.incidents).toHaveLength(1);
    expect(outcome.incidents[0]).toMatchObject({ kind: "guard-rollback", step: 16, details: { backTo: 12 } });
    expect(outcome.incidents[0].details.ve).toBeLessThan(0);
    expect(outcome.steps).toBe(36);
    expect(outcome.tokens).toBe(36 * 64);

    dir = run;
    const events = await lines("events.jsonl");
    expect(events.filter(({ event }) => event === "resampling")).toHaveLength(1);
    const attempts = (await lines("metrics.jsonl")).map(({ step, attempt }) => `${step}/${attempt}`);
    expect(attempts.slice(4, 8)).toEqual(["12/0", "15/0", "15/1", "18/1"]);
    dir = join(run, "..");

    // Going back undoes all of it: the same weights as a run that never resampled.
    const [saved, never] = [await loadFinalCheckpoint(run), await loadFinalCheckpoint(join(dir, "calm"))];
    expect(saved.weights).toEqual(never.weights);
    expect(outcome.threshold).toBe(calm.threshold);
    const engine = await createReferenceEngine(
      { dIn: D_IN, dSae: D_SAE, training: false, ...FORM },
      saved.weights,
    );
    const options = { selection: { kind: "batch-topk", k: 3 } as const, tokens: 128, chunkRows: 64 };
    expect((await readHeldOut(engine, memoryStore(sparseRows(128, 3)), options)).ve).toBeGreaterThan(0.45);
  });

  it("with the caps on, the same newcomers are not let in", async () => {
    const outcome = await train(
      tinyRun(dir, {
        config: { ...CONFIG, resampling: { scale: 5, maxSelectionShare: 0.1, maxThresholdRise: 1.25 } },
      }),
    );
    expect(outcome.incidents).toEqual([]);
    const resampling = (await lines("events.jsonl")).find(({ event }) => event === "resampling")!;
    expect((resampling.trials as unknown[]).length).toBeGreaterThan(1);
  });

  it("notes a fall of VE that no resampling explains, and goes on", async () => {
    const schedule = { ...CONFIG.schedule, name: "constant" as const, lr: 2, warmUpSteps: 0 };
    const outcome = await train(tinyRun(dir, { config: { ...CONFIG, schedule, resampling: null } }));
    expect(outcome.steps).toBe(36);
    expect(outcome.incidents[0]).toMatchObject({ kind: "guard-noted", step: 4 });
  });
});

describe("refusals", () => {
  it("a loss that is not finite: names step, batch and the last checkpoint", async () => {
    const createEngine = alteredEngine((engine) => ({
      trainStep: async (x, options) => {
        const result = await engine.trainStep(x, options);
        return options.adamStep === 18 ? { ...result, loss: Number.NaN } : result;
      },
    }));
    const failed = train(tinyRun(dir, { createEngine }));
    await expect(failed).rejects.toThrow(/loss is NaN in step 18 \(epoch 1, batch 5, .*step-00000015/);
    await expect(failed).rejects.toMatchObject({ code: "TRAINING" });
    expect((await readdir(dir)).sort()).toEqual([
      "events.jsonl",
      "metrics.jsonl",
      "step-00000012",
      "step-00000015",
    ]);
    expect((await train(tinyRun(dir))).steps).toBe(36);
  });

  it("another configuration, form or input in the same folder: says what differs", async () => {
    await train(tinyRun(dir));
    const config = { ...CONFIG, schedule: { ...CONFIG.schedule, lr: 1 } };
    await expect(train(tinyRun(dir, { config }))).rejects.toThrow(/config\.schedule\.lr 0\.003 → 1$/);
    const identity = { store: "another", sae: "random", extra: 1 };
    await expect(train(tinyRun(dir, { identity }))).rejects.toThrow(
      /inputs\.extra absent → 1; inputs\.store "memory" → "another"/,
    );
    const store = memoryStore(sparseRows(900, 2));
    await expect(train(tinyRun(dir, { store }))).rejects.toMatchObject({ code: "STATE" });
  });

  it("another numeric class, unless other bits are allowed, which is then told", async () => {
    const controller = new AbortController();
    const stop = tinyRun(dir, {
      signal: controller.signal,
      onProgress: ({ step }) => step === 7 && controller.abort(),
    });
    await expect(train(stop)).rejects.toThrow();
    const createEngine = alteredEngine(() => ({ numericClass: "fp32-fma16" }));
    await expect(train(tinyRun(dir, { createEngine }))).rejects.toThrow(/f64-sums.*fp32-fma16/);
    const outcome = await train(tinyRun(dir, { createEngine, allowOtherBits: true }));
    expect(outcome.numericClass).toBe("fp32-fma16");
    expect(outcome.incidents).toMatchObject([{ kind: "other-bits", step: 7 }]);
  });

  it("a guard without rows, weights of another shape, an unfinished final checkpoint", async () => {
    await expect(train(tinyRun(dir, { heldOut: null }))).rejects.toThrow(/no held-out activations/);
    const start = { form: FORM, weights: async () => startWeights(0, D_IN, 32), threshold: 0 };
    await expect(train(tinyRun(dir, { start }))).rejects.toThrow(/got \[32, 16\], expected \[64, 16\]/);
    await expect(trainedSae(dir)).rejects.toThrow(/has not finished/);
    expect(await readFinishedTraining(dir)).toBeNull();
  });
});
