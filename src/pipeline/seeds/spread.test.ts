/** Spreads over seeds, against the plain formulas and files written by hand. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { writeJson } from "../../storage/atomic.ts";
import { RunDirectory } from "../run-directory.ts";
import { chooseSeeds } from "./seeds.ts";
import { layerSpread, spreadOf } from "./spread.ts";

const folder = await mkdtemp(join(tmpdir(), "lapidary-spread-"));
afterAll(() => rm(folder, { recursive: true }));

it("mean, sample standard deviation and range of what there is", () => {
  const { mean, sd, min, max } = spreadOf([2, 4, null, 9]);
  expect(mean).toBe(5);
  expect(sd).toBeCloseTo(Math.sqrt((9 + 1 + 16) / 2), 14);
  expect([min, max]).toEqual([2, 9]);
  expect(spreadOf([3])).toMatchObject({ mean: 3, sd: null });
  expect(spreadOf([null, null])).toMatchObject({ mean: null, sd: null, min: null, max: null });
  expect(spreadOf([0.25, 0.25, 0.25])).toMatchObject({ mean: 0.25, sd: 0 });
});

it("a number of seeds goes on from the recipe's; a list is taken as it is", () => {
  expect(chooseSeeds("3", 5)).toEqual([5, 6, 7]);
  expect(chooseSeeds("9, 0,7", 5)).toEqual([9, 0, 7]);
});

const metric = (value: number | null) => ({ value, definition: "d", unit: "u", n: 10, interval: null });

/** A run's `after` of layer 4 on one set, and its splice results of layers 4 and 6 and of both at once. */
async function runOf(name: string, ve: number, ceScore: number | null, store = "abc"): Promise<RunDirectory> {
  const dir = new RunDirectory(join(folder, name));
  const result = {
    nTokens: 10,
    store: { hash: store, nRows: 10 },
    metrics: { ve: metric(ve) },
    latents: { nNeverFired: 3 },
  };
  await writeJson(dir.evals(4, "after"), {
    layer: 4,
    hookName: "blocks.4.hook_resid_post",
    deadInTraining: null,
    results: [{ model: "model", set: "prose", result }],
  });
  const splice = (layers: number[], score: number | null) => ({
    set: "prose",
    layers,
    metrics: { ceScore: metric(score) },
  });
  if (ceScore !== null)
    await writeJson(dir.splice("after"), {
      results: [splice([4], ceScore), splice([6], 0.1), splice([4, 6], 0.2)],
    });
  return dir;
}

it("metrics by set, and the CE score of the layer's SAE alone", async () => {
  const runs = [await runOf("a", 0.5, 0.8), await runOf("b", 0.7, 0.9)];
  const { sets, deadInTraining } = await layerSpread(runs, 4);
  expect(sets[0].metrics.ve).toMatchObject({ values: [0.5, 0.7], mean: 0.6, definition: "d", unit: "u" });
  expect(sets[0].splice?.ceScore).toMatchObject({ values: [0.8, 0.9], min: 0.8, max: 0.9 });
  expect(sets[0].neverFired.mean).toBe(3);
  expect(deadInTraining.mean).toBeNull();
});

it("without splice results there is no spread of them; where one run has none it counts as unknown", async () => {
  const [a, none] = [await runOf("c", 0.5, 0.8), await runOf("d", 0.7, null)];
  expect((await layerSpread([none, none], 4)).sets[0].splice).toBeNull();
  expect((await layerSpread([none, a], 4)).sets[0].splice?.ceScore.values).toEqual([null, 0.8]);
});

it("refuses runs that were evaluated on different activations, naming them", async () => {
  const runs = [await runOf("e", 0.5, null), await runOf("f", 0.7, null, "other")];
  await expect(layerSpread(runs, 4)).rejects.toThrow(
    /f\/evals\/.* is about other activations of set "prose" than .*e\/evals/,
  );
});
