/** An evaluation as a whole: known truths (the mean scores 0, the perfect reconstruction 1), chunks, limits, refusals. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  D_IN,
  D_SAE,
  differencesOf,
  fakeSae,
  normals,
  reconstructor,
  rowsFor,
  shrunk,
} from "../../test/evals/fixtures.ts";
import { allocateRows } from "../activations/rows.ts";
import { openActivationStore } from "../activations/store.ts";
import { openWriter } from "../activations/writer.ts";
import { DataError, ShapeError } from "../errors.ts";
import type { Sae } from "../sae/sae.ts";
import { type EvaluateOptions, evaluate, evaluateRows } from "./evaluate.ts";
import { METRICS } from "./metrics.ts";

describe("the metrics", () => {
  it("have hand-made values", async () => {
    const x = Float32Array.of(3, 4, 0, 0, 0, /**/ -3, 4, 0, 0, 0); // mean (0, 4), Σ‖x−x̄‖² = 18
    const half = await evaluateRows(
      reconstructor((x) => x.map((value) => value / 2)),
      rowsFor(x),
    );
    const { metrics } = half.result;
    expect(metrics.ve.value).toBeCloseTo(1 - 12.5 / 18, 14);
    expect(metrics.mse.value).toBe(6.25);
    expect(metrics.cosine.value).toBeCloseTo(1, 14);
    expect(metrics.l2Ratio.value).toBe(0.5);
    expect(metrics.relativeReconstructionBias.value).toBe(0.5);
    expect(metrics.l0.value).toBe(1.5);
    expect(half.result.nTokens).toBe(2);
  });

  it("score the mean 0 and the data themselves 1", async () => {
    const x = normals(100 * D_IN, "x", 5);
    const mean = new Float64Array(D_IN);
    x.forEach((value, i) => {
      mean[i % D_IN] += value / 100;
    });
    const predictMean = reconstructor((x) => x.map((_, i) => mean[i % D_IN]));
    expect((await evaluateRows(predictMean, rowsFor(x))).result.metrics.ve.value).toBeCloseTo(0, 9);
    const { metrics } = (
      await evaluateRows(
        reconstructor((x) => x.slice()),
        rowsFor(x),
      )
    ).result;
    expect([metrics.ve.value, metrics.mse.value, metrics.l2Ratio.value]).toEqual([1, 0, 1]);
    expect(metrics.cosine.value).toBeCloseTo(1, 14);
  });
});

describe("an evaluation", () => {
  it("of a store is that of its rows, whatever the chunk, and limit cuts it short", async () => {
    const dir = await mkdtemp(join(tmpdir(), "lapidary-eval-"));
    try {
      const x = normals(50 * D_IN, "x", 1);
      const identity = {
        dtype: "f32",
        dIn: D_IN,
        hookName: "blocks.4.hook_resid_post",
        set: "prose",
        provenance: {},
      } as const;
      const writer = await openWriter(dir, identity);
      await writer.writeShard(0, { ...allocateRows(30, D_IN), activations: x.slice(0, 30 * D_IN) });
      await writer.writeShard(1, { ...allocateRows(20, D_IN), activations: x.slice(30 * D_IN) });
      await writer.finish();
      const store = await openActivationStore(dir);
      const sae = reconstructor(shrunk);
      const inMemory = await evaluateRows(sae, rowsFor(x));
      const progress: number[] = [];
      const fromStore = await evaluate(sae, store, {
        chunkRows: 7,
        onProgress: ({ done }) => progress.push(done),
      });
      expect(progress.at(-1)).toBe(50);
      expect(fromStore.firingCounts).toEqual(inMemory.firingCounts);
      expect(fromStore.result.store).toMatchObject({
        nRows: 50,
        hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      });
      const values = ({ result }: typeof inMemory) =>
        Object.fromEntries(Object.entries(result.metrics).map(([name, { value }]) => [name, value]));
      expect(differencesOf(values(fromStore), values(inMemory), 1e-12)).toEqual([]);
      const some = await evaluate(sae, store, { limit: 12 });
      expect(some.result.nTokens).toBe(12);
      const first = await evaluateRows(sae, rowsFor(x.slice(0, 12 * D_IN)));
      expect(differencesOf(values(some), values(first), 1e-12)).toEqual([]);
      await store.close();
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it("is JSON in which every number carries definition, unit and sample size", async () => {
    const { result } = await evaluateRows(reconstructor(shrunk), rowsFor(normals(9 * D_IN, "x")));
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
    expect(Object.keys(result.metrics)).toEqual(Object.keys(METRICS));
    for (const [name, entry] of Object.entries(result.metrics)) {
      const { definition, unit } = METRICS[name as keyof typeof METRICS];
      expect(entry, name).toMatchObject({ definition, unit, n: 9 });
      expect(Number.isFinite(entry.value), name).toBe(true);
    }
    expect(result.latents.nNeverFired).toBe(D_SAE - 2);
    expect(result.threshold).toMatchObject({ min: 1, median: 4.5, mean: 4.5, max: 8 });
  });

  it("also says what SAELens and SAEBench would report, if asked, whatever the chunks", async () => {
    const x = normals(50 * D_IN, "x", 1);
    const of = async (options: EvaluateOptions) =>
      (await evaluateRows(reconstructor(shrunk), rowsFor(x), options)).result;
    expect(await of({})).not.toHaveProperty("otherPrograms");
    const { otherPrograms, metrics } = await of({ otherPrograms: { batchTokens: 20 }, chunkRows: 7 });
    expect(otherPrograms).toEqual((await of({ otherPrograms: { batchTokens: 20 } })).otherPrograms);
    expect(otherPrograms!["saelens618.l0"].value).toBeCloseTo(metrics.l0.value, 12);
    expect(otherPrograms!["saebench060.explained_variance"]).toEqual(
      otherPrograms!["saelens618.explained_variance"],
    );
    const twoBatches = (await of({ limit: 40 })).metrics.mse.value;
    expect(otherPrograms!["saelens618.mse"].value).toBeCloseTo(twoBatches / 20, 12); // its defect
  });

  it("names the SAE by a hash of what it computes, not of its labels", async () => {
    const hash = async (sae: Sae) =>
      (await evaluateRows(reconstructor(shrunk, sae), rowsFor(normals(10, "x")))).result.sae.hash;
    const own = await hash(fakeSae());
    expect(await hash(fakeSae({ modelName: "another", metadata: { a: 1 } }))).toBe(own);
    expect(await hash(fakeSae({ applyBDecToInput: false }))).not.toBe(own);
    const changed = fakeSae();
    changed.weights.bDec[3] = 1e-20;
    expect(await hash(changed)).not.toBe(own);
  });

  it("refuses another width, another hook point, and nothing", async () => {
    const sae = reconstructor(shrunk);
    const x = normals(4 * D_IN, "x");
    await expect(evaluateRows(sae, rowsFor(x.slice(1)))).rejects.toThrow(ShapeError);
    await expect(evaluateRows(sae, rowsFor(new Float32Array(0)))).rejects.toThrow(DataError);
    const elsewhere = { ...rowsFor(x), hookName: "blocks.5.hook_resid_post" };
    await expect(evaluateRows(sae, elsewhere)).rejects.toThrow(/model\.layers\.4.*blocks\.5/);
    const unnamed = reconstructor(shrunk, fakeSae({ hookName: null }));
    expect((await evaluateRows(unnamed, elsewhere)).result.hookName).toBe("blocks.5.hook_resid_post");
    const aborted = AbortSignal.abort();
    await expect(evaluateRows(sae, rowsFor(x), { signal: aborted })).rejects.toThrow(/abort/i);
  });
});
