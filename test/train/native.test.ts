/** The native engine in the trainer: whatever it keeps moments in and screens with, a stopped run comes to the same bits. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createNativeEngine } from "../../src/kernels/native.ts";
import { DEFAULT_WATCH } from "../../src/train/config.ts";
import type { TrainOptions } from "../../src/train/options.ts";
import { train } from "../../src/train/trainer.ts";
import { addon } from "../parity/cases.ts";
import { finalState } from "./final-state.ts";
import { CONFIG, FORM, memoryStore, sparseRows, startWeights, tinyRun } from "./fixtures.ts";

const { present, missing } = addon();

describe.skipIf(!present)(`training by the native engine${missing}`, () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "lapidary-native-"));
  });
  afterAll(() => rm(root, { recursive: true }));

  const D_SAE = 320; // enough latents, and below enough tokens, for a screen
  const screening = { sigmas: 6, auditEverySteps: 3, auditTokens: 50, maxMissedShare: 0.01 };
  const config = { ...CONFIG, batchTokens: 160, guard: { ...CONFIG.guard!, tokens: 320 } };
  const watch = { ...DEFAULT_WATCH, everySteps: 2, tokens: 320 };
  const resampling = { ...CONFIG.resampling!, scale: 2, maxSelectionShare: 1, watchSteps: 3 };
  const run = (dir: string, changes: Partial<TrainOptions>): TrainOptions =>
    tinyRun(dir, {
      createEngine: createNativeEngine,
      store: memoryStore(sparseRows(800, 2)),
      heldOut: memoryStore(sparseRows(320, 3)),
      start: {
        form: { ...FORM, widths: [64, D_SAE] },
        weights: async () => startWeights(16, 16, D_SAE),
        threshold: "first-batch-cut",
      },
      ...changes,
    });

  it.each([
    ["as it is", config],
    ["moments as bf16", { ...config, moments: "bf16" as const }],
    ["statistical screening", { ...config, screening }],
    ["a watch, and newcomers watched", { ...config, guard: null, watch, resampling }],
  ])("%s", async (name, config) => {
    const undisturbed = join(root, name);
    await train(run(undisturbed, { config }));
    const dir = join(root, `${name}, stopped`);
    for (const stop of [2, 5, 9, 13]) {
      const controller = new AbortController();
      const onProgress = ({ step }: { step: number }) => step >= stop && controller.abort();
      await expect(train(run(dir, { config, signal: controller.signal, onProgress }))).rejects.toThrow();
    }
    const outcome = await train(run(dir, { config }));
    expect(await finalState(dir)).toEqual(await finalState(undisturbed));
    expect(outcome.steps).toBe(15);
    if ("watch" in config) expect(outcome.resamplings[0].found?.steps).toBe(3);
    if ("screening" in config) expect(outcome.audit).toMatchObject({ margin: "statistical", missed: 0 });
  });
});
