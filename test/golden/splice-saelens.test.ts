/**
 * Cross-entropy and KL of a real SAELens `run_evals`, first phase: the same toy model, written as an ONNX graph by our own
 * writer and run in ONNX Runtime; the same SAE, windows and excluded tokens.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { WindowBatch } from "../../src/corpus/windows.ts";
import type { Reconstructor } from "../../src/evals/evaluate.ts";
import { evaluateSplice, windowsInMemory } from "../../src/evals/splice/splice.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { openSplicedModel } from "../../src/models/open-spliced.ts";
import type { SplicedModel } from "../../src/models/spliced-model.ts";
import { type InferenceSae, openInference } from "../../src/sae/inference.ts";
import { loadSae } from "../../src/sae/load.ts";
import type { TypedArray } from "../../src/tensor/typed-array.ts";
import { temporaryFolder } from "../models/running.ts";
import { TOY_STREAM, toyModel } from "../models/toy.ts";
import { countAbsent, type EvalCase, evalFolders, f32, tensors } from "./cases.ts";
import { expectNear } from "./closeness.ts";

/** Goldens are float32 means over some hundred tokens of numbers that are float32 too. */
const RELATIVE = 1e-5;
/** BOS and EOS of the toy model. */
const SPECIAL = [0, 1];
const GROUPS = ["model_behavior_preservation", "model_performance_preservation"];

describe("SAELens run_evals, spliced in", () => {
  const found = evalFolders();
  countAbsent("run_evals output", found);
  for (const { name, dir, cases } of found)
    describe(name, () => {
      let model: SplicedModel;
      let sae: InferenceSae;
      let all: Map<string, TypedArray>;
      beforeAll(async () => {
        all = await tensors(dir, "toy_model.safetensors");
        sae = await openInference(await loadSae(join(dir, "sae")), createReferenceEngine);
        model = await openToy(all, sae.sae.config.dIn);
      });
      afterAll(async () => {
        await model.close();
        await sae.dispose();
      });

      for (const wanted of cases)
        it(wanted.name, async () => {
          const windows = windowsOf(wanted, all, sae.sae.config.contextSize as number);
          const [result] = await evaluateSplice({
            model,
            windows: windowsInMemory(wanted.name, windows),
            saes: new Map([[0, scaled(sae, wanted.activation_scale ?? 1)]]),
            saelens: true,
          });
          const got: Readonly<Record<string, { readonly value: number | null }>> = result.saelens618 ?? {};
          let compared = 0;
          for (const group of GROUPS)
            for (const [metric, value] of Object.entries(wanted.metrics[group])) {
              expectNear(got[`saelens618.${metric}`].value as number, value, RELATIVE, metric);
              compared += 1;
            }
          expect(compared).toBe(Object.keys(got).length);
        });
    });
});

async function openToy(all: ReadonlyMap<string, TypedArray>, dIn: number): Promise<SplicedModel> {
  const dir = await temporaryFolder();
  const [E, M, U] = ["E", "M", "U"].map((name) => f32(all, name));
  await toyModel({ E, M, U }, dIn, E.length / dIn).write(join(dir, "model.onnx"));
  return openSplicedModel(dir, { layers: [0], tensors: new Map([[0, TOY_STREAM]]), threads: 1 });
}

/** What SAELens' activation scaler does around an SAE. */
function scaled(inner: InferenceSae, scale: number): Reconstructor {
  return {
    sae: inner.sae,
    async reconstruct(x) {
      const { acts, recon } = await inner.reconstruct(x.map((value) => value * scale));
      return { acts, recon: recon.map((value) => value / scale) };
    },
  };
}

/** The windows of the first phase, in order, with what is kept of them. */
function windowsOf(wanted: EvalCase, all: ReadonlyMap<string, TypedArray>, context: number): WindowBatch {
  const tokens = all.get("tokens") as Int32Array;
  const batches = wanted.rows_used_per_batch;
  const perBatch = batches[0].length * context;
  const nFirst = wanted.metrics.token_stats.total_tokens_eval_reconstruction / perBatch;
  const rows = batches.slice(0, nFirst).flat();
  const excluded = wanted.exclude_special_tokens;
  const left = typeof excluded === "boolean" ? (excluded ? SPECIAL : []) : excluded;
  const tokenIds = Uint32Array.from(
    rows.flatMap((row) => [...tokens.subarray(row * context, (row + 1) * context)]),
  );
  return {
    first: 0,
    nWindows: rows.length,
    contextSize: context,
    tokenIds,
    lengths: new Uint32Array(rows.length).fill(context),
    keep: Uint8Array.from(tokenIds, (id) => (left.includes(id) ? 0 : 1)),
    role: new Uint8Array(tokenIds.length),
    document: Uint32Array.from(tokenIds, (_, at) => Math.floor(at / context)),
  };
}
