/**
 * Several seeds of one recipe: what does not depend on the seed is made once and shared, each run is whole by itself and
 * ends with the bits of a run of its own, and kills change nothing.
 */
import { cp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readSeeds, type SeedsResult } from "../../src/pipeline/seeds/seeds.ts";
import type { LayerEvals } from "../../src/pipeline/stages/evaluate.ts";
import { commandLine } from "./command-line.ts";
import { contentsOf, differences } from "./contents.ts";
import { type Finished, ROOT, smallRecipe, smallRun, startCli } from "./small-recipe.ts";

const CHANGES = {
  train: { ...(smallRecipe(ROOT).train as object), epochs: 1, checkpointEverySteps: 3, resampling: null },
  polish: { when: "never" },
};
/** Times and names are in these. */
const LEFT_OUT = ["run.json", "report/index.html"];
const SHARED = ["corpus", "activations", "evals/blocks.4.hook_resid_post.before.json"];

let folder: string;
let run: string[];
let first: Finished;
let result: SeedsResult;

vi.setConfig({ testTimeout: 600_000 }); // other tests may have the cores

beforeAll(async () => {
  const made = await smallRun(CHANGES);
  folder = made.folder;
  const small = ["corpus.tokens=1500", "eval.tokens=400", "eval.splice=null"];
  run = ["run", made.recipe, ...small.flatMap((value) => ["--set", value])];
  first = await lapidary(...run, "--seeds", "2");
  expect(first.stderr).not.toContain("lapidary:");
  result = await readSeeds(inRuns("small-seeds.json"));
}, 600_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

const lapidary = (...args: string[]) => commandLine(folder, ...args);
const inRuns = (...path: string[]) => join(folder, "runs", ...path);

async function filesOf(path: string): Promise<string[]> {
  if ((await stat(path)).isFile()) return [path];
  const entries = await readdir(path, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

it("each seed is a run of its own; a table and a file tell how much they vary", async () => {
  expect(first.code).toBe(0);
  expect(first.stdout).toMatch(/^2 seeds \(0, 1\): mean ± standard deviation \(lowest … highest\)$/m);
  expect(first.stdout).toMatch(/^4 +prose +0\.\d{4} ± 0\.\d{4} \(0\.\d{4} … 0\.\d{4}\) +\d\d\.\d\d ± /m);
  expect(first.stdout).toContain("runs/small-seeds.json");

  expect(result).toMatchObject({ name: "small", seeds: [0, 1], runs: ["small-seed-0", "small-seed-1"] });
  const evals = await Promise.all(
    result.runs.map(
      async (name) =>
        JSON.parse(
          await readFile(inRuns(name, "evals/blocks.4.hook_resid_post.after.json"), "utf8"),
        ) as LayerEvals,
    ),
  );
  for (const { set, metrics, neverFired } of result.layers[0].sets) {
    const [a, b] = evals.map(({ results }) => results.find((entry) => entry.set === set)!.result);
    const [x, y] = [a.metrics.ve.value, b.metrics.ve.value];
    expect(x).not.toBe(y); // another seed, another order of batches
    expect(metrics.ve.values).toEqual([x, y]);
    expect(metrics.ve.mean).toBeCloseTo((x + y) / 2, 14);
    expect(metrics.ve.sd).toBeCloseTo(Math.abs(x - y) / Math.SQRT2, 14);
    expect([metrics.ve.min, metrics.ve.max]).toEqual([Math.min(x, y), Math.max(x, y)]);
    expect(neverFired.values).toEqual([a.latents.nNeverFired, b.latents.nNeverFired]);
  }
});

it("two seeds that start from one SAE agree on nearly all latents", () => {
  const [{ a, b, dSae, nMatched, nAbove, shareAbove, meanCosine }] = result.layers[0].agreement.pairs;
  expect([a, b, dSae]).toEqual([0, 1, [4096, 4096]]);
  expect(nAbove[0]).toBeGreaterThan(4000);
  expect(nAbove[0]).toBeLessThanOrEqual(nMatched);
  expect(nAbove[1]).toBeLessThanOrEqual(nAbove[0]);
  expect(shareAbove[0]).toBe(nAbove[0] / 4096);
  expect(meanCosine).toBeGreaterThan(0.9);
  expect(meanCosine).toBeLessThan(1);
});

it("corpus, activations and the first evaluation are made once: the same files under two names", async () => {
  expect(first.stderr.match(/^✓ (corpus|harvest|before)/gm)).toHaveLength(11);
  expect(first.stderr.match(/^✓ train layer 4/gm)).toHaveLength(2);
  expect(first.stderr).toContain("shared with run small-seed-0, not made again: 11 steps");
  let nFiles = 0;
  for (const part of SHARED)
    for (const file of await filesOf(inRuns("small-seed-1", part))) {
      const [one, other] = [await stat(file), await stat(file.replace("small-seed-1", "small-seed-0"))];
      expect(`${file} ${one.ino}`).toBe(`${file} ${other.ino}`);
      nFiles += 1;
    }
  expect(nFiles).toBe(4 * 2 + 6 * 2 + 1); // a manifest and a file of data each, and the results
});

it("a seed's run has the bits of a run that shares nothing, and stands without the other", async () => {
  const alone = await lapidary(...run, "--set", "name=alone", "--set", "seed=1");
  expect(alone.stderr.match(/^✓ harvest/gm)).toHaveLength(6);
  const shared = await contentsOf(inRuns("small-seed-1"), "small-seed-1", LEFT_OUT);
  expect(differences(await contentsOf(inRuns("alone"), "alone", LEFT_OUT), shared)).toEqual([]);

  await cp(inRuns("small-seed-0"), join(folder, "aside"), { recursive: true });
  await rm(inRuns("small-seed-0"), { recursive: true });
  const verified = await lapidary("verify", "runs/small-seed-1");
  await cp(join(folder, "aside"), inRuns("small-seed-0"), { recursive: true });
  expect(verified.stderr).not.toContain("lapidary:");
  expect(verified.code).toBe(0);
});

it("of finished runs does nothing, and writes the same file", async () => {
  const before = await readFile(inRuns("small-seeds.json"), "utf8");
  const again = await lapidary(...run, "--seeds", "0,1");
  expect(again.stderr).not.toContain("✓");
  expect(await readFile(inRuns("small-seeds.json"), "utf8")).toBe(before);
  expect(again.code).toBe(0);
});

it.skipIf(process.platform === "win32")("killed and run again, it ends with the same bits", async () => {
  const args = [...run, "--set", "name=killed", "--seeds", "2", "--json"];
  const moments = [
    /"begin","unit":"harvest:model:prose"/,
    /seed 2 of 2/, // about when files are being linked
    /seed 2 of 2.*"progress","unit":"train:4"/s,
  ];
  for (const moment of moments) {
    const { child, finished } = startCli(folder, args);
    let printed = "";
    child.stdout?.on("data", (data) => {
      printed += data;
      if (moment.test(printed)) child.kill("SIGKILL");
    });
    expect((await finished).code).toBeNull();
  }
  const last = await lapidary(...args);
  expect(last.stdout).not.toContain('"kind":"error"');
  expect(last.code).toBe(0);
  for (const seed of [0, 1]) {
    const undisturbed = await contentsOf(inRuns(`small-seed-${seed}`), `small-seed-${seed}`, LEFT_OUT);
    const found = await contentsOf(inRuns(`killed-seed-${seed}`), `killed-seed-${seed}`, LEFT_OUT);
    expect(differences(undisturbed, found)).toEqual([]);
  }
  const { layers } = await readSeeds(inRuns("killed-seeds.json"));
  expect(layers).toEqual(result.layers);
});

it("the recipe's own run is shared too, and the exit code is the worst of the runs'", async () => {
  await cp(inRuns("small-seed-0"), inRuns("kept"), { recursive: true });
  const seeds = await lapidary(...run, "--set", "name=kept", "--set", "eval.gate=0.99", "--seeds", "7,8");
  expect(seeds.stderr).not.toMatch(/^✓ (corpus|harvest|before)/m);
  for (const other of ["kept", "kept-seed-7"])
    expect(seeds.stderr).toContain(`shared with run ${other}, not made again: 11 steps`);
  expect(seeds.stdout).toMatch(
    /^Below the gate: runs\/kept-seed-7 \(layer 4\); runs\/kept-seed-8 \(layer 4\)\.$/m,
  );
  expect(seeds.code).toBe(3);
});

it("what another run recorded otherwise is not taken over", async () => {
  await cp(inRuns("small-seed-0"), inRuns("bent-seed-0"), { recursive: true });
  const manifest = inRuns("bent-seed-0/corpus/train/manifest.json");
  await writeFile(manifest, `${await readFile(manifest, "utf8")} `);
  const refused = await lapidary(...run, "--set", "name=bent", "--seeds", "2", "--only", "corpus");
  expect(refused.stderr).toMatch(
    /^lapidary: .*bent-seed-0\/corpus\/train\/manifest\.json: its bytes hash to /m,
  );
  expect(refused.code).toBe(1);
});

describe("refuses", () => {
  it.each([
    ["1", /--seeds 1: 1 seeds, expected 2 to 100/],
    ["three", /--seeds three: expected a number of seeds, or a list/],
    ["4,", /--seeds 4,: expected a number of seeds, or a list/],
    ["4,4", /--seeds 4,4: a seed is listed twice/],
  ])("--seeds %s", async (seeds, message) => {
    const refused = await lapidary(...run, "--seeds", seeds);
    expect(refused.stderr).toMatch(message);
    expect(refused.code).toBe(2);
  });

  it("--seeds with --dry-run", async () => {
    const refused = await lapidary(...run, "--seeds", "3", "--dry-run");
    expect(refused.stderr).toMatch(/--dry-run plans one run, not --seeds/);
    expect(refused.code).toBe(2);
  });
});
