/** A small world to train in: activations made of sparse features, held in memory, and an SAE to begin with. */
import type { ActivationRows, ActivationStore, BatchReader } from "../../src/activations/activations.ts";
import type { Weights } from "../../src/kernels/kernels.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { Philox } from "../../src/random/philox.ts";
import type { TrainingForm } from "../../src/sae/sae.ts";
import type { TrainConfig } from "../../src/train/config.ts";
import type { TrainOptions } from "../../src/train/options.ts";

export const D_IN = 16;
export const D_SAE = 64;

/** Rows x = Σ of 3 of 48 random directions, with positive strengths, plus a little noise. */
export function sparseRows(nRows: number, seed: number, dIn = D_IN): Float32Array {
  const dictionary = new Philox(1, "test/dictionary");
  const random = new Philox(seed, "test/rows");
  const x = new Float32Array(nRows * dIn);
  for (let t = 0, draw = 0; t < nRows; t++) {
    for (let f = 0; f < 3; f++) {
      const feature = Math.floor(random.uniform(draw++) * 48);
      const strength = 1 + 2 * random.uniform(draw++);
      for (let j = 0; j < dIn; j++) x[t * dIn + j] += strength * dictionary.normal(feature * dIn + j);
    }
    for (let j = 0; j < dIn; j++) x[t * dIn + j] += 0.05 * random.normal(1_000_000 + t * dIn + j);
  }
  return x;
}

/** An activation store without a disk. */
export function memoryStore(activations: Float32Array, dIn = D_IN): ActivationStore {
  const nRows = activations.length / dIn;
  const rows = async (from: number, to: number): Promise<ActivationRows> => ({
    nRows: to - from,
    activations: activations.slice(from * dIn, to * dIn),
    tokenIds: new Uint32Array(to - from),
    window: new Uint32Array(to - from),
    position: new Uint32Array(to - from),
    document: new Uint32Array(to - from),
    role: new Uint8Array(to - from),
  });
  return {
    dir: "memory",
    manifest: {
      format: "lapidary-activations",
      version: 1,
      dtype: "f32",
      dIn,
      hookName: "blocks.0.hook_resid_post",
      set: "train",
      provenance: {},
      nRows,
      nNonFinite: 0,
      complete: true,
      shards: [],
    },
    nRows,
    dIn,
    rows,
    async *stream(chunkRows, limit = nRows) {
      const end = Math.min(limit, nRows);
      for (let from = 0; from < end; from += chunkRows) yield rows(from, Math.min(from + chunkRows, end));
    },
    batches: ({ batchTokens, seed }) => shuffled(activations, dIn, batchTokens, seed),
    close: async () => {},
  };
}

function shuffled(x: Float32Array, dIn: number, batchTokens: number, seed: number): BatchReader {
  const nRows = x.length / dIn;
  const rows = Math.min(batchTokens, nRows);
  return {
    batchTokens,
    nBatches: Math.max(1, Math.floor(nRows / batchTokens)),
    batch: async (epoch, i) => {
      const order = new Philox(seed, `shuffle/epoch-${epoch}`).permutation(nRows);
      const out = new Float32Array(rows * dIn);
      for (let r = 0; r < rows; r++) {
        const row = order[i * rows + r];
        out.set(x.subarray(row * dIn, (row + 1) * dIn), r * dIn);
      }
      return out;
    },
  };
}

/** Random unit decoder rows, tied encoder; the last `nDead` latents have a bias that never lets them fire. */
export function startWeights(nDead = 0, dIn = D_IN, dSae = D_SAE): Weights {
  const random = new Philox(5, "test/weights");
  const wDec = new Float32Array(dSae * dIn);
  for (let i = 0; i < dSae; i++) {
    const row = Float64Array.from({ length: dIn }, (_, j) => random.normal(i * dIn + j));
    const norm = Math.hypot(...row);
    wDec.set(
      row.map((v) => v / norm),
      i * dIn,
    );
  }
  const bEnc = new Float32Array(dSae).fill(-1e6, dSae - nDead);
  return { dIn, dSae, wEnc: wDec.map((v) => v * 0.5), wDec, bEnc, bDec: new Float32Array(dIn) };
}

export const FORM: TrainingForm = {
  selection: "batch-topk",
  k: 3,
  widths: [24, D_SAE],
  applyBDecToInput: true,
  rescaleActsByDecoderNorm: true,
  auxCoefficient: 0,
  thresholdLr: 0.05,
};

export const CONFIG: TrainConfig = {
  seed: 11,
  batchTokens: 64,
  epochs: 3,
  schedule: {
    name: "cosineannealing",
    lr: 3e-3,
    lrEnd: 3e-4,
    warmUpSteps: 2,
    decaySteps: 0,
    nCycles: 1,
  },
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  clipNorm: 1,
  deadAfterTokens: 300,
  resampling: { scale: 0.2, maxSelectionShare: 0.3, maxThresholdRise: 2 },
  guard: { everySteps: 4, tokens: 128, maxVeDrop: 0.1, maxThresholdRise: 2 },
  checkpointEverySteps: 5,
  logEverySteps: 3,
};

/** 12 batches an epoch, three epochs; 16 of 64 latents dead from the start. */
export function tinyRun(dir: string, changes: Partial<TrainOptions> = {}): TrainOptions {
  return {
    config: CONFIG,
    dir,
    identity: { store: "memory", sae: "random" },
    store: memoryStore(sparseRows(800, 2)),
    heldOut: memoryStore(sparseRows(128, 3)),
    start: { form: FORM, weights: async () => startWeights(16), threshold: "first-batch-cut" },
    createEngine: createReferenceEngine,
    ...changes,
  };
}
