/**
 * Training checkpoints beside the inference saves that real SAELens made of the same SAE: our conversion gives the same
 * tensors, and goes on where SAELens cannot. The runner's folding of an input scale is checked where it is right
 * (weights) and departed from where it is wrong (the threshold).
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readActivationScale } from "../../src/formats/saelens.ts";
import { type InferenceFacts, toInferenceForm } from "../../src/sae/convert.ts";
import { isTrainingCheckpoint, loadSae, loadTrainingSae } from "../../src/sae/load.ts";
import type { Sae } from "../../src/sae/sae.ts";
import { warmStart } from "../../src/sae/warm-start.ts";
import { countAbsent, inferenceCases, runnerOutputs } from "./cases.ts";
import { expectAllNear, largest } from "./closeness.ts";

/** A few units in the last place of float32: norms are summed in another order. */
const RELATIVE = 1e-6;

const facts: InferenceFacts = {
  hookName: null,
  modelName: null,
  contextSize: null,
  prependBos: null,
  metadata: {},
  runnerConfig: null,
};

const candidates = inferenceCases().filter(({ dir }) => existsSync(join(dir, "checkpoint", "cfg.json")));
const pairs: typeof candidates = [];
for (const found of candidates)
  if (await isTrainingCheckpoint(join(found.dir, "checkpoint")).catch(() => false)) pairs.push(found);

describe("training checkpoint → inference save", () => {
  countAbsent("training checkpoint beside its inference save", pairs);
  for (const { name, dir } of pairs) {
    it(`${name}: the tensors that SAELens saved`, async () => {
      const trained = await loadTrainingSae(join(dir, "checkpoint"));
      const golden = await loadSae(join(dir, "sae"));
      const converted = toInferenceForm(trained, facts);
      expect(converted.config.architecture).toBe(golden.config.architecture);
      expect(converted.config.k).toBe(golden.config.k);
      expectSameTensors(converted, golden);
    });

    it(`${name}: training goes on from the save with the checkpoint's threshold`, async () => {
      const { form, threshold } = await loadTrainingSae(join(dir, "checkpoint"));
      const { k, widths, rescaleActsByDecoderNorm } = form;
      const isTopk = form.selection === "topk";
      const saved = await loadSae(join(dir, "sae"));
      const started = warmStart(saved, isTopk ? {} : { k, widths, rescaleActsByDecoderNorm });
      expect(started.form).toMatchObject({ k, widths, selection: form.selection, rescaleActsByDecoderNorm });
      expect(started.threshold).toBeCloseTo(isTopk ? 0 : threshold, 6);
    });

    it(`${name}: the checkpoint itself loads for inference, and remembers its objective`, async () => {
      const { form } = await loadTrainingSae(join(dir, "checkpoint"));
      const loaded = await loadSae(join(dir, "checkpoint"));
      const { k, widths, selection } = form;
      expect(warmStart(loaded).form).toMatchObject({ k, widths, selection });
    });
  }
});

const runs = runnerOutputs();

describe("what a real runner left", () => {
  countAbsent("runner output", runs);
  for (const { name, dir } of runs) {
    it(`${name}: output = final checkpoint, folded`, async () => {
      const converted = toInferenceForm(await loadTrainingSae(join(dir, "checkpoint_final")), facts);
      expectSameTensors(converted, await loadSae(join(dir, "output")));
    });

    it(`${name}: training starts from the output by its own runner_cfg.json`, async () => {
      const saved = await loadSae(join(dir, "output"));
      const recorded = saved.runnerConfig?.sae as {
        k: number;
        matryoshka_widths: number[];
        topk_threshold_lr: number;
      };
      const { form, threshold, recordedIn } = warmStart(saved);
      expect(form.k).toBe(recorded.k);
      expect(form.widths).toEqual(recorded.matryoshka_widths);
      expect(form.thresholdLr).toBe(recorded.topk_threshold_lr);
      expect(threshold).toBeCloseTo(saved.threshold?.[0] ?? Number.NaN, 6);
      expect(recordedIn).toEqual({ k: "runner_cfg.json", widths: "runner_cfg.json" });
    });

    const middle = join(dir, "checkpoint_mid");
    if (!existsSync(middle)) continue;
    it(`${name}: a checkpoint trained on scaled inputs gets weights and threshold for unscaled ones`, async () => {
      const scale = await readActivationScale(middle);
      if (scale === null) return;
      const { weights, threshold } = await loadTrainingSae(middle);
      const raw = await rawCheckpoint(middle);
      expectAllNear(
        weights.wEnc,
        raw.wEnc.map((w) => w * scale),
        1e-6,
        "wEnc",
      );
      expectAllNear(
        weights.wDec,
        raw.wDec.map((w) => w / scale),
        1e-6,
        "wDec",
      );
      expect(threshold).toBeCloseTo(raw.threshold / scale, 10);
    });
  }
});

async function rawCheckpoint(
  dir: string,
): Promise<{ wEnc: Float32Array; wDec: Float32Array; threshold: number }> {
  const { readSaelens } = await import("../../src/formats/saelens.ts");
  const { wEnc, wDec, topkThreshold } = await readSaelens(dir);
  return { wEnc, wDec, threshold: topkThreshold ?? Number.NaN };
}

function expectSameTensors(got: Sae, golden: Sae): void {
  for (const name of ["wEnc", "wDec", "bEnc", "bDec"] as const)
    expectAllNear(
      got.weights[name],
      golden.weights[name],
      RELATIVE * Math.max(1e-6, largest(golden.weights[name])),
      name,
    );
  expect(got.threshold).toEqual(golden.threshold);
}
