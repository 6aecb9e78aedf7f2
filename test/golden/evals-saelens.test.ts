/**
 * Sparsity and variance metrics of a real SAELens `run_evals`, batch for batch: which windows each batch held, what was
 * left out of them, scaled activations. CE and KL, the first phase, are not asked here.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { saebenchMetrics } from "../../src/evals/other-programs/saebench.ts";
import { SaelensStats, saelensWeightMetrics } from "../../src/evals/other-programs/saelens.ts";
import type { Weights } from "../../src/kernels/kernels.ts";
import { openInference } from "../../src/sae/inference.ts";
import { loadSae } from "../../src/sae/load.ts";
import type { SaeConfig } from "../../src/sae/sae.ts";
import { countAbsent, type EvalCase, evalFolders, f32, tensors } from "./cases.ts";
import { expectAllNear, expectNear, largest } from "./closeness.ts";
import { availableEngines, countAbsentEngines } from "./engines.ts";

/** Goldens are float32 sums over some two hundred tokens. */
const RELATIVE = 5e-6;
/** BOS and EOS of the toy model. */
const SPECIAL = [0, 1];
const GROUPS = ["reconstruction_quality", "shrinkage", "sparsity"];

const engines = await availableEngines();
const found = evalFolders();

describe("SAELens run_evals", () => {
  countAbsentEngines(engines);
  countAbsent("run_evals output", found);
  for (const { name, dir, cases } of found)
    describe(name, () => {
      for (const wanted of cases)
        for (const engine of engines)
          it(`${wanted.name}, ${engine.name} engine`, async () => {
            const sae = await loadSae(join(dir, "sae"));
            const inference = await openInference(sae, engine.create);
            const { dIn, dSae } = sae.config;
            const batches = await secondPhase(dir, wanted, sae.config);
            const stats = new SaelensStats(dIn, dSae, { batchTokens: batches.tokens });
            const scale = wanted.activation_scale ?? 1;
            for (const { x, window } of batches.kept) {
              const { acts, recon } = await inference.reconstruct(x.map((value) => value * scale));
              const unscaled = recon.map((value) => value / scale);
              stats.add(x, unscaled, acts, window);
              stats.endBatch();
            }
            await inference.dispose();
            expectMetrics(stats, wanted);
            expectLatents(stats, sae.weights, wanted);
          });
    });
});

interface Batches {
  /** tokens of a batch, left-out ones included */
  readonly tokens: number;
  readonly kept: readonly { readonly x: Float32Array; readonly window: Uint32Array }[];
}

/** The kept tokens of the batches that came after those of the first phase. */
async function secondPhase(dir: string, wanted: EvalCase, { dIn, contextSize }: SaeConfig): Promise<Batches> {
  const all = await tensors(dir, "toy_model.safetensors");
  const activations = f32(all, "hook_acts");
  const tokens = all.get("tokens") as Int32Array;
  const context = contextSize!;
  const batches = wanted.rows_used_per_batch;
  const batchTokens = batches[0].length * context;
  const nFirst = wanted.metrics.token_stats.total_tokens_eval_reconstruction / batchTokens;
  const nSecond = wanted.metrics.token_stats.total_tokens_eval_sparsity_variance / batchTokens;
  expect(nFirst + nSecond).toBe(batches.length);
  const left = new Set(leftOut(wanted));
  const kept = batches.slice(nFirst).map((windows) => {
    const at = windows
      .flatMap((window) => Array.from({ length: context }, (_, position) => window * context + position))
      .filter((token) => !left.has(tokens[token]));
    return {
      x: Float32Array.from(at.flatMap((token) => [...activations.subarray(token * dIn, (token + 1) * dIn)])),
      window: Uint32Array.from(at, (token) => Math.floor(token / context)),
    };
  });
  return { tokens: batchTokens, kept };
}

function leftOut({ exclude_special_tokens: excluded }: EvalCase): readonly number[] {
  if (typeof excluded === "boolean") return excluded ? SPECIAL : [];
  return excluded;
}

function expectMetrics(stats: SaelensStats, { metrics }: EvalCase): void {
  const got: Readonly<Record<string, { readonly value: number | null }>> = stats.metrics();
  let compared = 0;
  for (const group of GROUPS)
    for (const [name, wanted] of Object.entries(metrics[group])) {
      expectNear(got[`saelens618.${name}`].value!, wanted, RELATIVE, name);
      compared += 1;
    }
  expect(compared).toBe(Object.keys(got).length);
  const bench = saebenchMetrics(stats);
  expect(bench["saebench060.explained_variance"].value).toBe(
    stats.metrics()["saelens618.explained_variance"].value,
  );
}

function expectLatents(stats: SaelensStats, weights: Weights, { feature_metrics: wanted }: EvalCase): void {
  const { encoderNorm, encoderBias, encoderDecoderCosineSim } = saelensWeightMetrics(weights);
  const got: Record<string, ArrayLike<number>> = {
    feature_density: stats.featureDensity(),
    consistent_activation_heuristic: stats.consistentActivationHeuristic()!,
    encoder_norm: encoderNorm,
    encoder_bias: encoderBias,
    encoder_decoder_cosine_sim: encoderDecoderCosineSim,
  };
  expect(Object.keys(wanted).sort()).toEqual(Object.keys(got).sort());
  for (const [name, values] of Object.entries(wanted))
    expectAllNear(got[name], values, RELATIVE * largest(values), name);
}
