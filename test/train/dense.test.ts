/** Standard, gated and jumprelu SAEs through the trainer: from scratch on planted features, through checkpoints, to inference. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RecipeError } from "../../src/errors.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import type { DenseArchitecture, Engine } from "../../src/kernels/kernels.ts";
import { createNativeEngine } from "../../src/kernels/native.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { type InferenceFacts, toInferenceForm } from "../../src/sae/convert.ts";
import { openInference } from "../../src/sae/inference.ts";
import { initTrainingSae } from "../../src/sae/init.ts";
import { loadSae } from "../../src/sae/load.ts";
import type { DenseForm } from "../../src/sae/sae.ts";
import { saveSae } from "../../src/sae/save.ts";
import { DEFAULT_WATCH, type TrainConfig } from "../../src/train/config.ts";
import { trainedSae } from "../../src/train/final-checkpoint.ts";
import type { TrainOptions } from "../../src/train/options.ts";
import { coefficientAt } from "../../src/train/schedule.ts";
import { train } from "../../src/train/trainer.ts";
import { addon } from "../parity/cases.ts";
import { finalState } from "./final-state.ts";
import { CONFIG, D_IN, D_SAE, memoryStore, sparseRows, tinyRun } from "./fixtures.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lapidary-dense-"));
});
afterAll(() => rm(root, { recursive: true }));

const config = { ...CONFIG, epochs: 6, resampling: null, logEverySteps: 1, guard: null };
const WARM_UP = 10;

function formOf(architecture: DenseArchitecture, sparsityCoefficient: number, auxCoefficient = 0): DenseForm {
  return {
    selection: "own",
    architecture,
    widths: [D_SAE],
    applyBDecToInput: true,
    rescaleActsByDecoderNorm: false,
    sparsityCoefficient,
    sparsityWarmUpSteps: WARM_UP,
    auxCoefficient,
  };
}

const forms: [name: string, form: DenseForm, extra: string[]][] = [
  ["standard", formOf({ kind: "standard", lpNorm: 1 }, 1), []],
  ["gated", formOf({ kind: "gated" }, 0.5), ["bGate", "rMag"]],
  [
    "jumprelu-step",
    formOf({ kind: "jumprelu", bandwidth: 0.5, sparsity: { loss: "step" } }, 0.3),
    ["logThreshold"],
  ],
  [
    "jumprelu-tanh",
    formOf({ kind: "jumprelu", bandwidth: 2, sparsity: { loss: "tanh", scale: 4 } }, 0.3, 0.01),
    ["logThreshold"],
  ],
];

function runOf(dir: string, form: DenseForm) {
  const fresh = initTrainingSae({ dIn: D_IN, dSae: D_SAE, seed: 4, form, initThreshold: 0.1 });
  const start = { form, weights: async () => fresh.weights, threshold: 0 };
  return tinyRun(dir, { config, start });
}

async function metrics(dir: string): Promise<Record<string, number>[]> {
  const text = await readFile(join(dir, "metrics.jsonl"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, number>);
}

/** An engine whose n-th step fails: a power cut seen from inside. */
function failingAt(n: number) {
  return async (...made: Parameters<typeof createReferenceEngine>): Promise<Engine> => {
    const engine = await createReferenceEngine(...made);
    let steps = 0;
    const trainStep: Engine["trainStep"] = (x, options) => {
      steps += 1;
      if (steps === n) throw new Error("power cut");
      return engine.trainStep(x, options);
    };
    return new Proxy(engine, {
      get(target, key) {
        if (key === "trainStep") return trainStep;
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
}

const facts: InferenceFacts = {
  hookName: "blocks.0.hook_resid_post",
  modelName: "tiny",
  contextSize: 32,
  prependBos: true,
  metadata: {},
  runnerConfig: null,
};

describe.each(forms)("a %s SAE from scratch", (name, form, extra) => {
  it("learns the planted features, the sparsity loss warming up by the schedule", async () => {
    const dir = join(root, name);
    await train(runOf(dir, form));
    const lines = await metrics(dir);
    expect(lines).toHaveLength(72);
    expect(lines[0].sparsity).toBe(0);
    expect(coefficientAt(form.sparsityCoefficient, WARM_UP, 5)).toBeCloseTo(form.sparsityCoefficient / 2, 12);
    for (const line of lines) expect(line.loss).toBeCloseTo(line.mse + line.aux + line.sparsity, 9);
    expect(lines.slice(1).every(({ sparsity }) => sparsity > 0)).toBe(true);
    expect(lines.at(-1)!.ve).toBeGreaterThan(0.5);
    expect(lines.at(-1)!.ve).toBeGreaterThan(lines[1].ve + 0.2);
  });

  it("checkpoints hold what it learns beside its weights, and go on from there to the same bits", async () => {
    const [undisturbed, cut] = [join(root, name), join(root, `${name}-cut`)];
    for (const createEngine of [failingAt(13), failingAt(29)])
      await expect(train({ ...runOf(cut, form), createEngine })).rejects.toThrow("power cut");
    await train(runOf(cut, form));
    expect(await finalState(cut)).toEqual(await finalState(undisturbed));
    const file = await openSafetensors(join(undisturbed, "step-00000072", "moments.safetensors"));
    for (const parameter of extra) expect(file.tensors.get(`v.${parameter}`)?.shape).toEqual([D_SAE]);
    expect(file.tensors.size).toBe(8 + 2 * extra.length);
    await file.close();
  });

  it("its inference form fires as it does in training, and survives being saved", async () => {
    const trained = await trainedSae(join(root, name));
    expect(Object.keys(trained.weights.extra ?? {}).sort()).toEqual([...extra].sort());
    const engine = await createReferenceEngine(
      {
        ...{ dIn: D_IN, dSae: D_SAE, widths: [D_SAE], applyBDecToInput: true, training: false },
        ...{ rescaleActsByDecoderNorm: false, architecture: form.architecture },
      },
      trained.weights,
    );
    const x = sparseRows(50, 9);
    const acts = await engine.encode(x, { kind: "own" });
    const recon = await engine.decode(acts);
    expect(acts.latents.length).toBeGreaterThan(50);
    const sae = toInferenceForm(trained, facts);
    expect(sae.config.architecture).toBe(name === "standard" ? "standard" : "jumprelu");
    await saveSae(join(root, name, "saved"), sae);
    for (const made of [sae, await loadSae(join(root, name, "saved"))]) {
      const inference = await openInference(made, createReferenceEngine);
      const got = await inference.encode(x);
      expect([...got.latents]).toEqual([...acts.latents]);
      const decoded = await inference.decode(got);
      for (let j = 0; j < recon.length; j++) expect(decoded[j]).toBeCloseTo(recon[j], 4);
      await inference.dispose();
    }
    await engine.dispose();
  });
});

const { present, missing } = addon();

describe.skipIf(!present)(`by the native engine${missing}`, () => {
  const native = (dir: string, form: DenseForm, changes: Partial<TrainOptions> = {}) => ({
    ...runOf(join(root, dir), form),
    createEngine: createNativeEngine,
    ...changes,
  });

  it.each(forms)("%s: the same course as by the reference engine", async (name, form) => {
    await train(native(`${name}-native`, form, { threads: 1 }));
    const [got, expected] = [await metrics(join(root, `${name}-native`)), await metrics(join(root, name))];
    expect(got).toHaveLength(expected.length);
    for (const [i, line] of got.entries()) {
      expect(line.loss, `loss of step ${i + 1}`).toBeCloseTo(expected[i].loss, 3);
      expect(line.ve, `VE of step ${i + 1}`).toBeCloseTo(expected[i].ve, 3);
    }
  });

  it.each(forms)(
    "%s: stopped again and again, with other threads each time, to the same bits",
    async (name, form) => {
      const dir = `${name}-stopped`;
      for (const [at, stop] of [3, 20, 47].entries()) {
        const controller = new AbortController();
        const onProgress = ({ step }: { step: number }) => step >= stop && controller.abort();
        const run = native(dir, form, { threads: at + 2, signal: controller.signal, onProgress });
        await expect(train(run)).rejects.toThrow();
      }
      await train(native(dir, form, { threads: 1 }));
      expect(await finalState(join(root, dir))).toEqual(await finalState(join(root, `${name}-native`)));
    },
  );

  it("with a watch and a guard that look at held-out rows, and moments as bf16", async () => {
    const [, form] = forms[3];
    const watching: TrainConfig = {
      ...{ ...config, moments: "bf16" },
      guard: { ...CONFIG.guard!, tokens: 320 },
      watch: { ...DEFAULT_WATCH, everySteps: 20, tokens: 320 },
    };
    const heldOut = memoryStore(sparseRows(320, 3));
    const { watch } = await train(native("watched", form, { config: watching, heldOut }));
    expect(watch?.best.ve).toBeGreaterThan(0.5);
  });
});

it("what belongs to selection by size is refused, not ignored", async () => {
  const [, form] = forms[0];
  const refused = (changes: Partial<typeof CONFIG>, changed: Partial<DenseForm> = {}) => {
    const run = runOf(join(root, "refused"), { ...form, ...changed });
    return expect(train({ ...run, config: { ...config, ...changes } })).rejects;
  };
  await refused({ resampling: CONFIG.resampling }).toThrow(RecipeError);
  const screening = { sigmas: 5, auditEverySteps: 10, auditTokens: 4, maxMissedShare: 0.01 };
  await refused({ screening }).toThrow(/computes them all/);
  await refused({}, { auxCoefficient: 1 }).toThrow(/no loss for dead latents/);
  await refused({}, { sparsityCoefficient: -1 }).toThrow(/sparsityCoefficient/);
});
