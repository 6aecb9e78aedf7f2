/**
 * Your own activations, from array to saved SAE: makes a store of seeded synthetic data (sparse sums of hidden directions),
 * trains a small SAE on it from scratch, saves it in SAELens' format, loads it again, and checks that nothing changed.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  evaluate,
  initTrainingSae,
  loadSae,
  openActivationStore,
  openInference,
  openWriter,
  Philox,
  saveSae,
  selectEngine,
  type TrainConfig,
  toInferenceForm,
  train,
  trainedSae,
} from "lapidary/node";

const [dIn, dSae, k] = [32, 128, 4];
const hookName = "blocks.0.hook_resid_post";
const folder = await mkdtemp(join(tmpdir(), "lapidary-example-"));

/** n rows, each the sum of 4 of 64 hidden unit directions with weights 1 to 2, and a little noise; [n, dIn] */
function syntheticActivations(n: number, set: string): Float32Array {
  const direction = new Philox(1, "example/directions");
  const draw = new Philox(1, `example/${set}`);
  const x = new Float32Array(n * dIn);
  for (let row = 0; row < n; row++) {
    for (let j = 0; j < dIn; j++) x[row * dIn + j] = 0.02 * draw.normal(row * 100 + j);
    for (let part = 0; part < 4; part++) {
      const which = Math.floor(64 * draw.uniform(row * 100 + 40 + part));
      const weight = (1 + draw.uniform(row * 100 + 50 + part)) / Math.sqrt(dIn);
      for (let j = 0; j < dIn; j++) x[row * dIn + j] += weight * direction.normal(which * dIn + j);
    }
  }
  return x;
}

async function makeStore(set: string, nRows: number) {
  const dir = join(folder, set);
  const provenance = { made: "by an example" };
  const writer = await openWriter(dir, { dtype: "f32", dIn, hookName, set, provenance });
  const label = () => new Uint32Array(nRows);
  await writer.writeShard(0, {
    nRows,
    activations: syntheticActivations(nRows, set),
    tokenIds: label(),
    window: label(),
    position: label(),
    document: Uint32Array.from({ length: nRows }, (_, row) => row),
    role: new Uint8Array(nRows),
  });
  await writer.finish();
  return openActivationStore(dir);
}

try {
  const store = await makeStore("train", 20_000);
  const heldOut = await makeStore("held-out", 4_000);
  const { create, description } = await selectEngine();

  const fresh = initTrainingSae({
    dIn,
    dSae,
    seed: 1,
    form: {
      selection: "batch-topk",
      k,
      widths: [64, dSae], // matryoshka: the first 64 latents alone must reconstruct, too
      applyBDecToInput: true,
      rescaleActsByDecoderNorm: true,
      auxCoefficient: 0,
      thresholdLr: 0.02,
    },
  });
  const config: TrainConfig = {
    seed: 1,
    batchTokens: 512,
    epochs: 10,
    schedule: { name: "cosineannealing", lr: 3e-3, lrEnd: 3e-4, warmUpSteps: 20, decaySteps: 0, nCycles: 1 },
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    clipNorm: 1,
    deadAfterTokens: 20_000,
    resampling: { scale: 0.2, maxSelectionShare: 0.1, maxThresholdRise: 1.25 },
    guard: null,
    checkpointEverySteps: 200,
    logEverySteps: 50,
  };
  const dir = join(folder, "training");
  const start = { form: fresh.form, weights: async () => fresh.weights, threshold: fresh.threshold };
  const outcome = await train({ config, dir, identity: {}, store, start, createEngine: create });
  console.log(
    `${description}: ${outcome.steps} steps, ${outcome.deadInTraining} dead, threshold ${outcome.threshold.toFixed(3)}`,
  );

  const facts = { hookName, modelName: "synthetic", contextSize: null, prependBos: null };
  const sae = toInferenceForm(await trainedSae(dir), { ...facts, metadata: {}, runnerConfig: null });
  await saveSae(join(folder, "sae"), sae);
  const loaded = await loadSae(join(folder, "sae"));

  const scores: string[] = [];
  for (const [name, which] of Object.entries({ "as trained": sae, "loaded again": loaded })) {
    const inference = await openInference(which, create);
    const { metrics } = (await evaluate(inference, heldOut)).result;
    await inference.dispose();
    scores.push(`VE ${metrics.ve.value} L0 ${metrics.l0.value}`);
    console.log(`${name.padEnd(13)} VE ${metrics.ve.value?.toFixed(4)}   L0 ${metrics.l0.value.toFixed(2)}`);
  }
  if (scores[0] !== scores[1]) throw new Error(`loading changed the SAE: ${scores.join(" → ")}`);
  await store.close();
  await heldOut.close();
} finally {
  await rm(folder, { recursive: true, force: true });
}
