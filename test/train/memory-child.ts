/**
 * Training in a process of its own, for `memory.test.ts`: prints by how much the process has grown at its peak, beside what
 * was planned. Arguments: what to do ("save" an SAE to start from, "start" from it and stop after two steps, "resume" for a
 * third) and the folder to do it in. Needs --expose-gc.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { memoryPlan } from "../../src/kernels/memory.ts";
import { createNativeEngine } from "../../src/kernels/native.ts";
import { toInferenceForm } from "../../src/sae/convert.ts";
import { initTrainingSae } from "../../src/sae/init.ts";
import { openSae } from "../../src/sae/load.ts";
import type { TopKForm } from "../../src/sae/sae.ts";
import { saveSae } from "../../src/sae/save.ts";
import { openWarmStart } from "../../src/sae/warm-start.ts";
import { train } from "../../src/train/trainer.ts";
import { CONFIG, memoryStore } from "./fixtures.ts";

export interface MemoryReading {
  /** of the engine, and two batches */
  readonly planned: number;
  readonly grown: number;
  /** one copy */
  readonly weights: number;
}

const dIn = 512;
const dSae = 24_576;
const batchTokens = 512;
const nSteps = 4;
const form: TopKForm = {
  selection: "batch-topk",
  k: 16,
  widths: [2048, dSae],
  applyBDecToInput: true,
  rescaleActsByDecoderNorm: true,
  auxCoefficient: 0,
  thresholdLr: 0.01,
};

const status = (field: string) =>
  1024 *
  Number(new RegExp(`^${field}:\\s*(\\d+) kB`, "m").exec(readFileSync("/proc/self/status", "latin1"))?.[1]);

async function measure(dir: string, isStart: boolean): Promise<MemoryReading> {
  const rows = new Float32Array(nSteps * batchTokens * dIn).map((_, i) => Math.sin(i * i));
  const controller = new AbortController();
  globalThis.gc?.();
  writeFileSync("/proc/self/clear_refs", "5"); // the peak is counted from here
  const before = status("VmRSS");
  await train({
    config: { ...CONFIG, batchTokens, epochs: 1, guard: null, resampling: null, checkpointEverySteps: 100 },
    dir: join(dir, "train"),
    identity: {},
    store: memoryStore(rows, dIn),
    start: {
      form,
      weights: async () => (await openWarmStart(await openSae(join(dir, "sae")))).rows,
      threshold: 0,
    },
    createEngine: createNativeEngine,
    threads: 2,
    signal: controller.signal,
    onProgress: ({ step }) => {
      if (isStart && step === 2) controller.abort(); // leaves a checkpoint
      if (!isStart && step === 3) throw new Error("enough");
    },
  }).catch((error: Error) => {
    if (error.name !== "AbortError" && error.message !== "enough") throw error;
  });
  const config = { dIn, dSae, ...form, training: true, threads: 2 };
  return {
    planned: memoryPlan(config, { batchTokens, k: form.k }).total + 2 * batchTokens * dIn * 4,
    grown: status("VmHWM") - before,
    weights: 4 * 2 * dIn * dSae,
  };
}

const [, , what, dir] = process.argv;
if (what === "save") {
  const facts = { hookName: null, modelName: null, contextSize: null, prependBos: null, metadata: {} };
  const record = { sae: { architecture: "matryoshka_batchtopk", k: form.k, matryoshka_widths: form.widths } };
  const fresh = initTrainingSae({ dIn, dSae, seed: 1, form });
  await saveSae(join(dir, "sae"), toInferenceForm(fresh, { ...facts, runnerConfig: record }));
} else console.log(JSON.stringify(await measure(dir, what === "start")));
