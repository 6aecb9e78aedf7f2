/** From scratch, to the inference form, and back to training: what the room promises beyond the golden cases. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { RecipeError, UnsupportedError } from "../errors.ts";
import { decoderNorms } from "../kernels/reference/encode.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { Philox } from "../random/philox.ts";
import { type InferenceFacts, toInferenceForm, withoutInputScale, withThreshold } from "./convert.ts";
import { openInference } from "./inference.ts";
import { initTrainingSae } from "./init.ts";
import { loadSae, loadSaeFacts } from "./load.ts";
import type { Sae, SaeConfig, TrainingForm, TrainingSae } from "./sae.ts";
import { saveSae } from "./save.ts";
import { warmStart } from "./warm-start.ts";

const root = await mkdtemp(join(tmpdir(), "sae-"));
afterAll(() => rm(root, { recursive: true }));

const dIn = 8;
const dSae = 40;
const form: TrainingForm = {
  selection: "batch-topk",
  k: 4,
  widths: [10, dSae],
  applyBDecToInput: true,
  rescaleActsByDecoderNorm: true,
  auxCoefficient: 0,
  thresholdLr: 0.01,
};
const facts: InferenceFacts = {
  hookName: "model.layers.4",
  modelName: "toy",
  contextSize: 128,
  prependBos: true,
  metadata: { dataset_path: "d", hook_name: "model.layers.4" },
  runnerConfig: { sae: { architecture: "matryoshka_batchtopk", k: 4, matryoshka_widths: [10, dSae] } },
};

function normals(n: number, purpose: string, scale = 1): Float32Array {
  const stream = new Philox(3, purpose);
  return Float32Array.from({ length: n }, (_, i) => stream.normal(i) * scale);
}

function trained(threshold = 0.3): TrainingSae {
  const weights = {
    dIn,
    dSae,
    wEnc: normals(dSae * dIn, "wEnc"),
    wDec: normals(dSae * dIn, "wDec", 0.3),
    bEnc: normals(dSae, "bEnc", 0.1),
    bDec: normals(dIn, "bDec", 0.1),
  };
  return { form, weights, threshold };
}

const x = normals(50 * dIn, "x");

async function reconstruct(sae: Sae, inputs = x) {
  const inference = await openInference(sae, createReferenceEngine);
  const result = await inference.reconstruct(inputs);
  await inference.dispose();
  return result;
}

describe("initialisation", () => {
  it("is a function of the seed; rows have the norm asked for; the encoder copies the decoder", () => {
    const options = { dIn, dSae, seed: 7, form };
    const { weights, threshold } = initTrainingSae(options);
    expect(initTrainingSae(options).weights).toEqual(weights);
    expect(initTrainingSae({ ...options, seed: 8 }).weights.wDec).not.toEqual(weights.wDec);
    expect(weights.wEnc).toEqual(weights.wDec);
    expect(weights.wEnc.buffer).not.toBe(weights.wDec.buffer);
    for (const norm of decoderNorms(weights)) expect(norm).toBeCloseTo(0.1, 6);
    expect(threshold).toBe(0);
    const drawn = initTrainingSae({ ...options, decoderInitNorm: null }).weights.wDec;
    const bound = Math.sqrt(6 / dIn);
    expect(Math.max(...drawn)).toBeLessThanOrEqual(bound);
    expect(Math.max(...drawn)).toBeGreaterThan(0.9 * bound);
    expect(Math.min(...drawn)).toBeLessThan(-0.9 * bound);
  });
});

describe("inference form", () => {
  it("fires where p > T, and reconstructs as training does", async () => {
    const training = trained();
    const { acts, recon } = await reconstruct(toInferenceForm(training, facts));
    const engine = await createReferenceEngine(
      {
        dIn,
        dSae,
        widths: form.widths,
        applyBDecToInput: true,
        rescaleActsByDecoderNorm: true,
        training: false,
      },
      training.weights,
    );
    const direct = await engine.encode(x, {
      kind: "threshold",
      thresholds: new Float32Array(dSae).fill(0.3),
    });
    expect(acts.latents).toEqual(direct.latents);
    const expected = await engine.decode(direct);
    for (let i = 0; i < x.length; i++) expect(recon[i]).toBeCloseTo(expected[i], 5);
  });

  it("a zero decoder row makes a latent that never fires, and no NaN", async () => {
    const training = trained();
    training.weights.wDec.fill(0, 5 * dIn, 6 * dIn);
    training.weights.bEnc[5] = 100;
    const sae = toInferenceForm(training, facts);
    expect([...sae.weights.wDec, ...sae.weights.wEnc].every(Number.isFinite)).toBe(true);
    expect(sae.threshold?.[5]).toBeCloseTo(0.3, 6);
    const { acts, recon } = await reconstruct(sae);
    expect(acts.latents.includes(5)).toBe(false);
    expect(recon.every(Number.isFinite)).toBe(true);
  });

  it("an input scale is folded into weights and threshold alike: the same latents fire", async () => {
    const s = 0.4;
    const training = trained();
    const onScaled = await reconstruct(
      toInferenceForm(training, facts),
      x.map((v) => v * s),
    );
    const onRaw = await reconstruct(toInferenceForm(withoutInputScale(training, s), facts));
    expect(onRaw.acts.latents).toEqual(onScaled.acts.latents);
    for (let i = 0; i < x.length; i++) expect(onRaw.recon[i]).toBeCloseTo(onScaled.recon[i] / s, 4);
  });
});

describe("saving", () => {
  it("keeps the source's metadata, adds to it, and survives the disk", async () => {
    const dir = join(root, "saved");
    const sae = toInferenceForm(trained(), facts);
    await saveSae(dir, sae, { extraMetadata: { lapidary: { steps: 3 } } });
    const cfg = JSON.parse(await readFile(join(dir, "cfg.json"), "utf8"));
    expect(cfg.metadata).toMatchObject({
      sae_lens_version: "6.18.0",
      hook_name: "model.layers.4",
      dataset_path: "d",
      model_name: "toy",
      context_size: 128,
      prepend_bos: true,
      lapidary: { steps: 3 },
    });
    const back = await loadSae(dir);
    expect(back.weights).toEqual(sae.weights);
    expect(back.threshold).toEqual(sae.threshold);
    expect(back.config).toMatchObject({ hookName: "model.layers.4", modelName: "toy", contextSize: 128 });
    expect(back.runnerConfig).toEqual(facts.runnerConfig);
  });

  it("is described without its weights as it is with them", async () => {
    const dir = join(root, "described");
    await saveSae(dir, toInferenceForm(trained(), facts));
    const { config, runnerConfig } = await loadSae(dir);
    await rm(join(dir, "sae_weights.safetensors"));
    expect(await loadSaeFacts(dir)).toEqual({ config, runnerConfig });
  });
});

describe("warm start", () => {
  const source = () => toInferenceForm(trained(), facts);
  const withThreshold = (threshold: Float32Array) => ({ ...source(), threshold });
  const withConfig = (change: Partial<SaeConfig>): Sae => ({
    ...source(),
    runnerConfig: null,
    config: { ...source().config, ...change },
  });

  it("gives unit decoder rows, the record's objective, and the threshold all latents agree on", () => {
    const started = warmStart(source(), { auxCoefficient: 0.03 });
    expect(started.form).toEqual({ ...form, auxCoefficient: 0.03 });
    expect(started.threshold).toBeCloseTo(0.3, 6);
    for (const norm of decoderNorms(started.weights)) expect(norm).toBeCloseTo(1, 6);
  });

  it("brings thresholds of unfolded weights into units of p before comparing them", () => {
    const training = trained();
    const norms = decoderNorms(training.weights);
    const unfolded: Sae = {
      ...source(),
      weights: training.weights,
      threshold: norms.map((n) => 0.25 / n),
    };
    const started = warmStart(unfolded);
    expect(started.threshold).toBeCloseTo(0.25, 6);
    expect(started.thresholdSpread?.relative).toBeLessThan(1e-6);
    expect(warmStart({ ...unfolded, threshold: new Float32Array(dSae).fill(0.25) }).threshold).toBe(
      "first-batch-cut",
    );
  });

  it("asks for the first batch's cut where thresholds disagree, and tells their spread", () => {
    const threshold = new Float32Array(dSae).fill(1);
    threshold[3] = 1.5;
    threshold[8] = 0.5;
    const started = warmStart(withThreshold(threshold));
    expect(started.threshold).toBe("first-batch-cut");
    expect(started.thresholdSpread?.min).toBeCloseTo(0.5, 5);
    expect(started.thresholdSpread?.median).toBeCloseTo(1, 5);
    expect(started.thresholdSpread?.max).toBeCloseTo(1.5, 5);
  });

  it("keeps weights as they are for an SAE trained without rescaling", () => {
    const sae = source();
    const started = warmStart({
      ...sae,
      runnerConfig: { ...facts.runnerConfig, rescale_acts_by_decoder_norm: false },
    });
    expect(started.form.rescaleActsByDecoderNorm).toBe(false);
    expect(started.weights).toBe(sae.weights);
  });

  it("finds k and widths flat, nested, in a note, in the recipe; else says what to add", () => {
    const record = { architecture: "matryoshka_batchtopk", k: 5, matryoshka_widths: [20] };
    expect(warmStart({ ...source(), runnerConfig: record }).form).toMatchObject({ k: 5, widths: [20, dSae] });
    expect(warmStart(withConfig({ metadata: { training_note: record } })).form).toMatchObject({ k: 5 });
    expect(warmStart(withConfig({ metadata: { lapidary: record } })).recordedIn.k).toBe("metadata.lapidary");
    const batchTopk = { ...source(), runnerConfig: { sae: { architecture: "batchtopk", k: 5 } } };
    expect(warmStart(batchTopk).form.widths).toEqual([dSae]);
    expect(warmStart(withConfig({}), { k: 6, widths: [dSae] }).form).toMatchObject({ k: 6, widths: [dSae] });
    expect(() => warmStart(withConfig({}))).toThrow(RecipeError);
    expect(() => warmStart(withConfig({}), { k: 6 })).toThrow(/does not record its widths/);
    expect(() => warmStart(source(), { k: 6 })).toThrow(/runner_cfg.json of the source SAE says 4/);
    expect(() => warmStart(withConfig({}), { k: 6, widths: [9, 9, dSae] })).toThrow(/strictly increasing/);
  });

  it("refuses zero decoder rows, or gives them new ones from the seed", () => {
    const sae = source();
    sae.weights.wDec.fill(0, 0, dIn);
    expect(() => warmStart(sae)).toThrow(/decoder row of zeros/);
    const options = { zeroDecoderRows: "reinitialise", seed: 4 } as const;
    const { weights, threshold } = warmStart(sae, options);
    expect(decoderNorms(weights)[0]).toBeCloseTo(1, 6);
    expect(weights.bEnc[0]).toBe(0);
    expect(threshold).toBeCloseTo(0.3, 6);
    expect(warmStart(sae, options).weights).toEqual(weights);
    expect(warmStart(sae, { ...options, seed: 5 }).weights).not.toEqual(weights);
  });

  it("refuses SAEs that normalise or reshape their inputs", () => {
    expect(() => warmStart(withConfig({ normalization: "layer_norm" }))).toThrow(UnsupportedError);
    expect(() => warmStart(withConfig({ reshape: "hook_z" }))).toThrow(UnsupportedError);
  });
});

describe("inference with normalisation", () => {
  it("needs the inputs to give their scale back to a decoded reconstruction", async () => {
    const base = toInferenceForm(trained(), facts);
    const sae = { ...base, config: { ...base.config, normalization: "layer_norm" as const } };
    const inference = await openInference(sae, createReferenceEngine);
    const { acts, recon } = await inference.reconstruct(x);
    expect(await inference.decode(acts, x)).toEqual(recon);
    await expect(inference.decode(acts)).rejects.toThrow(/layer_norm/);
    await expect(inference.encode(new Float32Array(dIn + 1))).rejects.toThrow(/dIn = 8/);
    await inference.dispose();
  });

  it("leaves a row of zeros finite", async () => {
    const base = toInferenceForm(trained(), facts);
    const sae = { ...base, config: { ...base.config, normalization: "constant_norm_rescale" as const } };
    const { recon } = await reconstruct(sae, new Float32Array(2 * dIn));
    expect(recon.every(Number.isFinite)).toBe(true);
  });
});

describe("withThreshold", () => {
  it("replaces thresholds, by one or by one a latent, and nothing else", () => {
    const sae = toInferenceForm(trained(0.3), facts);
    const own = normals(dSae, "thresholds").map(Math.abs);
    expect(withThreshold(sae, 0.5)).toEqual({ ...sae, threshold: new Float32Array(dSae).fill(0.5) });
    expect(withThreshold(sae, own)).toEqual({ ...sae, threshold: own });
    expect([...sae.threshold!]).toEqual(new Array(dSae).fill(Math.fround(0.3)));
  });

  it("refuses an SAE without thresholds, and a wrong number of them", () => {
    const topk = toInferenceForm({ ...trained(), form: { ...form, selection: "topk" } }, facts);
    expect(() => withThreshold(topk, 0.5)).toThrow(/thresholds to replace/);
    const sae = toInferenceForm(trained(), facts);
    expect(() => withThreshold(sae, new Float32Array(3))).toThrow(/got 3, expected 40/);
  });
});
