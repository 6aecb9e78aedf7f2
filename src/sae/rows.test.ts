/** Weights read by rows, a few at a time, are the weights read whole: from files, folded, made anew, drawn. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { RecipeError } from "../errors.ts";
import type { Weights } from "../kernels/kernels.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { loadWeights, type WeightRows, weightRows, wholeWeights } from "../kernels/weight-rows.ts";
import { Philox } from "../random/philox.ts";
import { plainConfig } from "./dialects/config.ts";
import { foldInputScale, foldInputScaleOfRows } from "./fold.ts";
import { initRows, initTrainingSae } from "./init.ts";
import { loadSae, openSae } from "./load.ts";
import type { Sae, TrainingForm } from "./sae.ts";
import { saveSae } from "./save.ts";
import { openWarmStart, warmStart } from "./warm-start.ts";

const root = await mkdtemp(join(tmpdir(), "rows-"));
afterAll(() => rm(root, { recursive: true }));
const golden = fileURLToPath(new URL("../../test/fixtures/golden/", import.meta.url));

const dIn = 6;
const dSae = 150; // more than two tiles of the transposition, and no multiple of one
const form: TrainingForm = {
  selection: "batch-topk",
  k: 4,
  widths: [10, dSae],
  applyBDecToInput: true,
  rescaleActsByDecoderNorm: true,
  auxCoefficient: 0,
  thresholdLr: 0.01,
};

function normals(n: number, purpose: string): Float32Array {
  const stream = new Philox(4, purpose);
  return Float32Array.from({ length: n }, (_, i) => stream.normal(i));
}

function someWeights(): Weights {
  return {
    dIn,
    dSae,
    wEnc: normals(dSae * dIn, "wEnc"),
    wDec: normals(dSae * dIn, "wDec"),
    bEnc: normals(dSae, "bEnc"),
    bDec: normals(dIn, "bDec"),
  };
}

function someSae(weights: Weights): Sae {
  return {
    config: plainConfig({
      architecture: "jumprelu",
      dIn,
      dSae,
      dtype: "float32",
      applyBDecToInput: true,
      hookName: "blocks.1.hook_resid_post",
    }),
    weights,
    threshold: normals(dSae, "threshold").map(Math.abs),
    runnerConfig: { sae: { architecture: "matryoshka_batchtopk", k: 4, matryoshka_widths: [10, dSae] } },
  };
}

/** Everything in `rows`, asked for in pieces of 13 rows. */
async function inPieces(rows: WeightRows): Promise<Weights> {
  const read = async (tensor: "wEnc" | "wDec" | "bEnc" | "bDec") => {
    const n = tensor === "bDec" ? rows.dIn : rows.dSae;
    const values: number[] = [];
    for (let from = 0; from < n; from += 13) {
      const piece = await rows.read(tensor, from, Math.min(n, from + 13));
      values.push(...piece);
      piece.fill(Number.NaN); // it is the caller's
    }
    return Float32Array.from(values);
  };
  return {
    dIn: rows.dIn,
    dSae: rows.dSae,
    wEnc: await read("wEnc"),
    wDec: await read("wDec"),
    bEnc: await read("bEnc"),
    bDec: await read("bDec"),
  };
}

describe("in files", () => {
  it.each(["float32", "bfloat16"] as const)("an SAE saved in %s", async (dtype) => {
    const dir = join(root, dtype);
    await saveSae(dir, someSae(someWeights()), { dtype });
    const { rows, ...opened } = await openSae(dir);
    const { weights, ...loaded } = await loadSae(dir);
    expect(opened).toEqual(loaded);
    expect(await inPieces(rows)).toEqual(weights);
    if (dtype === "float32") expect(weights).toEqual(someWeights());
    await rows.close();
  });

  it.each(["matryoshka_jumprelu/checkpoint", "standard_scale_folded/checkpoint"])(
    "a training checkpoint, brought to its inference form on the way (%s)",
    async (name) => {
      const dir = join(golden, "inference_saves", name);
      const { rows } = await openSae(dir);
      expect(await inPieces(rows)).toEqual((await loadSae(dir)).weights);
      await rows.close();
    },
  );
});

describe("a warm start", () => {
  it.each([false, true])("folds decoder norms; zero rows are made anew: %s", async (withZeros) => {
    const weights = someWeights();
    if (withZeros) for (const i of [0, 12, 13, 149]) weights.wDec.fill(0, i * dIn, (i + 1) * dIn);
    const sae = someSae(weights);
    const options = { zeroDecoderRows: withZeros ? "reinitialise" : "refuse", seed: 9 } as const;
    const { weights: whole, ...start } = warmStart(sae, options);
    const { rows, ...opened } = await openWarmStart({ ...sae, rows: weightRows(weights) }, options);
    expect(opened).toEqual(start);
    expect(await inPieces(rows)).toEqual(whole);
    if (withZeros)
      await expect(openWarmStart({ ...sae, rows: weightRows(weights) })).rejects.toThrow(RecipeError);
  });
});

it("an input scale is folded alike", async () => {
  const rows = foldInputScaleOfRows(weightRows(someWeights()), 0.3);
  expect(await inPieces(rows)).toEqual(foldInputScale(someWeights(), 0.3));
});

it.each([0.1, null])("fresh weights are drawn alike (norm %s)", async (decoderInitNorm) => {
  const options = { dIn, dSae, seed: 3, form, decoderInitNorm };
  expect(await inPieces(initRows(options))).toEqual(initTrainingSae(options).weights);
});

it("an engine filled from rows holds them", async () => {
  const engine = await createReferenceEngine({ dIn, dSae, training: false, ...form, widths: [dSae] }, null);
  await loadWeights(engine, weightRows(someWeights()));
  const held: WeightRows = {
    dIn,
    dSae,
    read: (tensor, from, to) => engine.read(tensor, from, to),
    async close() {},
  };
  expect(await wholeWeights(held)).toEqual(someWeights());
});
