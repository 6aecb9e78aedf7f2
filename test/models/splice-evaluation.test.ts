/** Splice evaluations: against the toy model in plain double precision, and what must hold of any SAE in any model. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { WindowBatch } from "../../src/corpus/windows.ts";
import type { Reconstructor } from "../../src/evals/evaluate.ts";
import {
  evaluateSplice,
  type SplicedTokenAt,
  type SpliceOptions,
  type SpliceProgress,
  windowsInMemory,
} from "../../src/evals/splice/splice.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { openSplicedModel } from "../../src/models/open-spliced.ts";
import type { SplicedModel } from "../../src/models/spliced-model.ts";
import { plainConfig } from "../../src/sae/dialects/config.ts";
import { openInference } from "../../src/sae/inference.ts";
import { loadSae } from "../../src/sae/load.ts";
import type { Sae } from "../../src/sae/sae.ts";
import { MINI, miniatureLlama } from "./miniature.ts";
import { readReference } from "./reference.ts";
import { seededBatch, temporaryFolder } from "./running.ts";
import { TOY_STREAM, type ToyWeights, toyModel, toyWeights } from "./toy.ts";

const D = 8;
const V = 20;
const TOY = toyWeights(D, V);

/** Windows of the given lengths, seeded; every third position and position 0 are left out; a document is two windows. */
function windowsOf(lengths: readonly number[], contextSize: number, vocab: number): WindowBatch {
  const { tokenIds } = seededBatch([...lengths, contextSize], vocab);
  const n = lengths.length * contextSize;
  const position = (at: number) => at % contextSize;
  const length = (at: number) => lengths[Math.floor(at / contextSize)];
  return {
    first: 0,
    nWindows: lengths.length,
    contextSize,
    tokenIds: tokenIds.slice(0, n),
    lengths: Uint32Array.from(lengths),
    keep: Uint8Array.from({ length: n }, (_, at) =>
      position(at) % 3 !== 0 && position(at) < length(at) ? 1 : 0,
    ),
    role: new Uint8Array(n),
    document: Uint32Array.from({ length: n }, (_, at) => 7 * Math.floor(at / contextSize / 2)),
  };
}

/** A reconstructor that is any function of a row; `seen` collects the rows it was given. */
function made(dIn: number, row: (x: number[]) => number[], seen: number[][] = []): Reconstructor {
  const zeros = new Float32Array(dIn);
  const sae: Sae = {
    config: plainConfig({
      architecture: "standard",
      dIn,
      dSae: 1,
      dtype: "float32",
      applyBDecToInput: false,
    }),
    weights: { dIn, dSae: 1, wEnc: zeros, wDec: zeros, bEnc: new Float32Array(1), bDec: zeros },
    threshold: null,
    runnerConfig: null,
  };
  return {
    sae,
    async reconstruct(x) {
      const recon = new Float32Array(x.length);
      for (let at = 0; at < x.length; at += dIn) {
        const values = Array.from(x.subarray(at, at + dIn));
        seen.push(values);
        recon.set(row(values), at);
      }
      const nTokens = x.length / dIn;
      const none = new Uint32Array(0);
      return {
        acts: { nTokens, offsets: new Uint32Array(nTokens + 1), latents: none, values: new Float32Array(0) },
        recon,
      };
    },
  };
}

const identity = (x: number[]) => x;
const shrunk = (x: number[]) => x.map((value, i) => 0.6 * value + 0.1 * i);

describe("in the toy model", () => {
  const windows = windowsOf([11, 7, 12, 2, 9, 12, 12, 5, 8, 12, 3, 12, 10, 6, 12, 12, 4], 12, V);
  let model: SplicedModel;
  beforeAll(async () => {
    const dir = await temporaryFolder();
    await toyModel(TOY, D, V).write(join(dir, "model.onnx"));
    model = await openSplicedModel(dir, { layers: [0], tensors: new Map([[0, TOY_STREAM]]), threads: 1 });
  });
  afterAll(() => model.close());

  const evaluate = async (row: (x: number[]) => number[], options: Partial<SpliceOptions> = {}) =>
    (
      await evaluateSplice({
        model,
        windows: windowsInMemory("toy", windows),
        saes: new Map([[0, made(D, row)]]),
        ...options,
      })
    )[0];

  it("every metric is what plain double precision makes of the equations", async () => {
    const expected = naive(TOY, windows, shrunk);
    const {
      metrics,
      saelens618,
      nTokens,
      nDocuments,
      windows: ran,
    } = await evaluate(shrunk, { saelens: true });
    expect(nTokens).toBe(expected.nKept);
    expect(nDocuments).toBe(9);
    expect(ran).toMatchObject({ nWindows: 17, hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const { ce, kl } = expected;
    const wanted = {
      ceClean: ce.clean,
      ceSpliced: ce.spliced,
      ceZero: ce.zero,
      ceMean: ce.mean,
      klSpliced: kl.spliced,
      klZero: kl.zero,
      klMean: kl.mean,
      ceScore: (ce.zero - ce.spliced) / (ce.zero - ce.clean),
      klScore: (kl.zero - kl.spliced) / kl.zero,
      ceScoreMean: (ce.mean - ce.spliced) / (ce.mean - ce.clean),
      klScoreMean: (kl.mean - kl.spliced) / kl.mean,
    };
    expect(Object.keys(metrics)).toEqual(Object.keys(wanted));
    for (const [name, value] of Object.entries(wanted)) {
      const got = metrics[name as keyof typeof metrics];
      expect(got.value, name).toBeCloseTo(value, 5);
      expect(got.n, name).toBe(name.startsWith("ce") ? expected.nNext : expected.nKept);
      expect(got.definition.length).toBeGreaterThan(20);
    }
    // At a position of this model only what stands there counts, so SAELens' ablation of all positions gives the same.
    expect(saelens618?.["saelens618.ce_loss_with_ablation"].value).toBe(metrics.ceZero.value);
    expect(saelens618?.["saelens618.kl_div_score"].value).toBe(metrics.klScore.value);
  });

  it("an SAE that gives back what it gets changes nothing, to the last bit", async () => {
    const { metrics } = await evaluate(identity);
    expect(metrics.klSpliced.value).toBe(0);
    expect(metrics.ceSpliced.value).toBe(metrics.ceClean.value);
    expect(metrics.ceScore.value).toBe(1);
    expect(metrics.klScore.value).toBe(1);
    expect(metrics.klSpliced.interval).toEqual({ low: 0, high: 0 });
  });

  it("an SAE that gives zeros is zero ablation, one that gives the mean is mean ablation", async () => {
    const zero = (await evaluate((x) => x.map(() => 0))).metrics;
    expect([zero.ceSpliced.value, zero.klSpliced.value]).toEqual([zero.ceZero.value, zero.klZero.value]);
    expect(zero.ceScore.value).toBeCloseTo(0, 12);
    expect(zero.klScore.value).toBe(0);
    const mean = Float32Array.from({ length: D }, (_, i) => i / 3);
    const given = (await evaluate(() => [...mean], { means: new Map([[0, mean]]) })).metrics;
    expect([given.ceSpliced.value, given.klSpliced.value]).toEqual([given.ceMean.value, given.klMean.value]);
  });

  it("whole windows are taken until there are tokens enough", async () => {
    const kept = (n: number) => windows.keep.subarray(0, n * 12).reduce((sum, keep) => sum + keep, 0);
    const one = await evaluate(shrunk, { tokens: kept(1) });
    expect([one.windows.nWindows, one.nTokens]).toEqual([1, kept(1)]);
    const two = await evaluate(shrunk, { tokens: kept(1) + 1 });
    expect([two.windows.nWindows, two.nTokens]).toEqual([2, kept(2)]);
    expect(two.metrics.ceClean.interval, "one document").toBe(null);
    await expect(evaluate(shrunk, { tokens: 0 })).rejects.toThrow(/got 0, expected 1 or more/);
  });

  it("intervals come of the seed, and lie about their values", async () => {
    const [first, again, other] = [
      await evaluate(shrunk, { seed: 3 }),
      await evaluate(shrunk, { seed: 3 }),
      await evaluate(shrunk, { seed: 4 }),
    ];
    expect(again).toEqual(first);
    expect(other.metrics.ceSpliced.interval).not.toEqual(first.metrics.ceSpliced.interval);
    for (const { value, interval } of Object.values(first.metrics)) {
      expect(interval?.low).toBeLessThanOrEqual(value as number);
      expect(interval?.high).toBeGreaterThanOrEqual(value as number);
    }
  });

  it("tells how far it is, and stops when told to", async () => {
    const progress: SpliceProgress[] = [];
    const { nTokens } = await evaluate(shrunk, { onProgress: (step) => progress.push(step) });
    expect(progress.at(-1)).toEqual({ pass: "splice", done: nTokens, total: nTokens });
    expect(progress[0]).toMatchObject({ pass: "mean", total: nTokens });
    const spliced = progress.filter(({ pass }) => pass === "splice").map(({ done }) => done);
    expect(spliced).toEqual([...spliced].sort((a, b) => a - b));
    expect(spliced.length, "the clean run, three others, and their scores").toBe(5);
    const stop = new AbortController();
    const stopped = evaluate(shrunk, {
      signal: stop.signal,
      onProgress: ({ pass }) => {
        if (pass === "splice") stop.abort(new Error("enough"));
      },
    });
    await expect(stopped).rejects.toThrow("enough");
    expect((await evaluate(identity)).metrics.klSpliced.value, "the model is as good as before").toBe(0);
  });

  it("refuses SAEs that do not belong there, and numbers that are none", async () => {
    const run = (layer: number, sae: Reconstructor) => evaluate(identity, { saes: new Map([[layer, sae]]) });
    await expect(run(1, made(D, identity))).rejects.toThrow(
      /SAE for layer 1, but the model was opened to be cut at 0/,
    );
    await expect(run(0, made(D + 1, identity))).rejects.toThrow(/dIn of the SAE for layer 0: got 9/);
    const elsewhere = made(D, identity);
    const config = { ...elsewhere.sae.config, hookName: "blocks.3.hook_resid_post" };
    await expect(run(0, { ...elsewhere, sae: { ...elsewhere.sae, config } })).rejects.toThrow(
      /reads blocks.3.hook_resid_post and was to be spliced in at blocks.0/,
    );
    const transcoder = { ...config, hookName: null, output: { dOut: D, hookName: null } };
    await expect(run(0, { ...elsewhere, sae: { ...elsewhere.sae, config: transcoder } })).rejects.toThrow(
      /transcoder/,
    );
    await expect(evaluate((x) => x.map(() => Number.NaN))).rejects.toThrow(
      /replaced \(spliced\), the model's logits are not finite at window 0, position 1/,
    );
    const none = { ...windows, keep: new Uint8Array(windows.keep.length) };
    await expect(evaluate(identity, { windows: windowsInMemory("none", none) })).rejects.toThrow(
      /keeps no tokens/,
    );
  });
});

describe("in a model with attention", () => {
  const windows = windowsOf([16, 9, 13, 16], 16, MINI.vocab);
  const layers = [0, 1];
  let dir = "";
  let model: SplicedModel;
  beforeAll(async () => {
    dir = await temporaryFolder();
    await miniatureLlama("torchscript").builder.write(join(dir, "model.onnx"));
    await writeFile(
      join(dir, "config.json"),
      JSON.stringify({ num_hidden_layers: 3, hidden_size: MINI.dIn }),
    );
    model = await openSplicedModel(dir, { layers, threads: 1 });
  });
  afterAll(() => model.close());

  it("excluded positions pass through: what later ones see of them is as it was", async () => {
    const tokens: SplicedTokenAt[] = [];
    const seen: number[][] = [];
    await evaluateSplice({
      model,
      windows: windowsInMemory("mini", windows),
      saes: new Map([[1, made(MINI.dIn, shrunk, seen)]]),
      saelens: true,
      onToken: (token) => tokens.push(token),
    });
    const nKept = windows.keep.reduce((sum, keep) => sum + keep, 0);
    expect(seen.length, "the SAE sees kept positions only").toBe(nKept);
    // By hand, one window: its kept rows alone set to zero.
    const batch = {
      nWindows: 1,
      seqLen: 16,
      tokenIds: windows.tokenIds.slice(0, 16),
      lengths: Uint32Array.of(16),
    };
    const rows = Uint32Array.from(
      Array.from({ length: 16 }, (_, at) => at).filter((at) => windows.keep[at] === 1),
    );
    const next = Int32Array.from(rows, (at) => (at + 1 < 16 ? windows.tokenIds[at + 1] : -1));
    const run = await model.run(batch);
    const kept = await run.intervene([1], (_layer, stream) => {
      for (const row of rows) stream.fill(0, row * MINI.dIn, (row + 1) * MINI.dIn);
      return stream;
    });
    const everywhere = await run.intervene([1], (_layer, stream) => stream.fill(0));
    const byHand = await run.score({ rows, next }, [kept, everywhere]);
    await run.release();
    const first = tokens.filter(({ window }) => window === 0);
    expect(first.map(({ position }) => position)).toEqual([...rows]);
    first.forEach(({ runs, kl }, i) => {
      expect(kl[runs.indexOf("zero")]).toBeCloseTo(byHand.kl[0][i], 6);
      expect(kl[runs.indexOf("zeroEverywhere")]).toBeCloseTo(byHand.kl[1][i], 6);
    });
    expect(Math.abs(byHand.kl[0][5] - byHand.kl[1][5]), "the two ablations differ here").toBeGreaterThan(
      1e-3,
    );
  });

  it("layers alone and together: each SAE of a pair sees the stream that the one below has changed", async () => {
    const seen: number[][] = [];
    const saes = new Map([
      [1, made(MINI.dIn, identity, seen)],
      [0, made(MINI.dIn, shrunk)],
    ]);
    const results = await evaluateSplice({ model, windows: windowsInMemory("mini", windows), saes });
    expect(results.map((result) => result.layers)).toEqual([[0], [1], [0, 1]]);
    const [low, high, both] = results.map(({ metrics }) => metrics);
    expect(high.klSpliced.value).toBe(0);
    expect(both.klSpliced.value, "the upper one gives back what it gets").toBe(low.klSpliced.value);
    expect(both.klZero.value).not.toBe(high.klZero.value);
    expect(both.ceClean).toEqual(low.ceClean);
    const n = windows.keep.reduce((sum, keep) => sum + keep, 0);
    expect(seen.length).toBe(2 * n);
    expect(seen.slice(n)).not.toEqual(seen.slice(0, n));
    const alone = await evaluateSplice({
      model,
      windows: windowsInMemory("mini", windows),
      saes,
      together: false,
    });
    expect(alone).toEqual(results.slice(0, 2));
  });

  it("batches of one window or of all, logits of three tokens at a time or of all: the same numbers", async () => {
    const run = async (using: SplicedModel) => {
      const saes = new Map([[0, made(MINI.dIn, shrunk)]]);
      return (await evaluateSplice({ model: using, windows: windowsInMemory("mini", windows), saes }))[0]
        .metrics;
    };
    const few = await openSplicedModel(dir, { layers, threads: 1, maxLogitsBytes: 3 * 28 * MINI.vocab });
    expect(few.unembedding.chunkTokens).toBe(3);
    const [together, alone] = [await run(model), await run(oneByOne(few))];
    await few.close();
    for (const [name, { value }] of Object.entries(together))
      expect(alone[name as keyof typeof alone].value, name).toBeCloseTo(value as number, 9);
  });
});

it("tiny-gemma's base SAEs in their own model: clean cross-entropy as transformers has it, most of it kept", async () => {
  const { batch } = await readReference("base");
  const file = await openSafetensors("test/fixtures/tiny-gemma/reference.safetensors");
  const reference = await file.readF32("base.token_cross_entropy"); // [6, 95]
  const keep = (await file.read("kept")) as Uint8Array;
  await file.close();
  const windows: WindowBatch = {
    ...batch,
    first: 0,
    nWindows: 1,
    contextSize: batch.seqLen,
    keep,
    role: new Uint8Array(keep.length),
    document: Uint32Array.from(keep, (_, at) => Math.floor(at / batch.seqLen)),
  };
  const model = await openSplicedModel("assets/tiny-gemma/base", { layers: [2, 4], threads: 2 });
  const saes = new Map(
    await Promise.all(
      [2, 4].map(async (layer): Promise<[number, Awaited<ReturnType<typeof openInference>>]> => {
        const sae = await loadSae(`assets/tiny-gemma/sae-base/layer_${layer}`);
        return [layer, await openInference(sae, createReferenceEngine)];
      }),
    ),
  );
  const results = await evaluateSplice({ model, windows: windowsInMemory("a psalm", windows), saes });
  await model.close();
  let [sum, n] = [0, 0];
  for (let at = 0; at < 95; at++)
    if (keep[at] === 1) {
      sum += reference[at];
      n += 1;
    }
  for (const { metrics } of results) {
    expect(metrics.ceClean.n).toBe(n);
    expect(metrics.ceClean.value).toBeCloseTo(sum / n, 5);
    expect(metrics.klSpliced.value).toBeGreaterThan(0);
    expect(metrics.ceScore.value).toBeGreaterThan(0.5);
    expect(metrics.ceScore.value).toBeLessThan(1);
  }
  const [low, high, both] = results.map(({ metrics }) => metrics.klSpliced.value);
  expect(both).toBeGreaterThan(Math.max(low, high));
});

it("a graph that quantises activations by batch is run window by window, unpadded; a stream put back changes nothing", async () => {
  const windows = windowsOf([20, 1, 11, 16], 24, 4096); // of the second nothing is kept: it is not run
  const model = await openSplicedModel("assets/tiny-gemma/it-int8", { layers: [4], threads: 2 });
  const saes = new Map([[4, made(256, identity)]]);
  const [{ metrics, nTokens }] = await evaluateSplice({
    model,
    windows: windowsInMemory("int8", windows),
    saes,
  });
  await model.close();
  expect(nTokens).toBe(windows.keep.reduce((sum, keep) => sum + keep, 0));
  expect(metrics.klSpliced.value).toBe(0);
  expect(metrics.ceSpliced.value).toBe(metrics.ceClean.value);
  expect(metrics.klMean.value).toBeGreaterThan(0);
});

/** The same model, asked for one window at a time. */
function oneByOne(model: SplicedModel): SplicedModel {
  return {
    info: model.info,
    layers: model.layers,
    unembedding: { ...model.unembedding, maxBatchTokens: 1 },
    runSeconds: 0,
    memory: (work) => model.memory(work),
    streams: (batch) => model.streams(batch),
    run: (batch) => model.run(batch),
    close: () => model.close(),
  };
}

/** The toy model, its interventions and their means over kept tokens, in double precision. */
function naive({ E, M, U }: ToyWeights, windows: WindowBatch, sae: (x: number[]) => number[]) {
  const { contextSize, tokenIds, lengths, keep, nWindows } = windows;
  const row = (matrix: Float32Array, i: number, width: number) =>
    Array.from(matrix.subarray(i * width, (i + 1) * width));
  const times = (x: number[], matrix: Float32Array, width: number) =>
    Array.from({ length: width }, (_, j) =>
      x.reduce((sum, value, i) => sum + value * matrix[i * width + j], 0),
    );
  const kept: { h: number[]; next: number }[] = [];
  for (let w = 0; w < nWindows; w++)
    for (let p = 0; p < lengths[w]; p++) {
      const at = w * contextSize + p;
      if (keep[at] !== 1) continue;
      const before = p === 0 ? new Array(D).fill(0) : row(E, tokenIds[at - 1], D);
      const h = row(E, tokenIds[at], D).map((value, i) => value + 0.5 * before[i]);
      kept.push({ h, next: p + 1 < lengths[w] ? tokenIds[at + 1] : -1 });
    }
  const mean = Array.from({ length: D }, (_, i) => kept.reduce((sum, { h }) => sum + h[i], 0) / kept.length);
  const logProbabilities = (h: number[]) => {
    const inner = times(h, M, D).map((value) => Math.max(0, value));
    const logits = times(
      h.map((value, i) => value + inner[i]),
      U,
      V,
    );
    const sum = Math.log(logits.reduce((total, value) => total + Math.exp(value), 0));
    return logits.map((value) => value - sum);
  };
  const change = { clean: identity, spliced: sae, zero: () => new Array(D).fill(0), mean: () => mean };
  const ce = { clean: 0, spliced: 0, zero: 0, mean: 0 };
  const kl = { clean: 0, spliced: 0, zero: 0, mean: 0 };
  const nNext = kept.filter(({ next }) => next >= 0).length;
  for (const name of ["clean", "spliced", "zero", "mean"] as const)
    for (const { h, next } of kept) {
      const p = logProbabilities(h);
      const q = logProbabilities(change[name](h));
      if (next >= 0) ce[name] -= q[next] / nNext;
      kl[name] += p.reduce((sum, logP, v) => sum + Math.exp(logP) * (logP - q[v]), 0) / kept.length;
    }
  return { ce, kl, nKept: kept.length, nNext };
}
