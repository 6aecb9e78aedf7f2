/** `lapidary compare` on a small run: before and after, saved SAEs on stores, texts; and what it refuses. */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Comparison } from "../../src/pipeline/compare/comparison.ts";
import type { LayerEvals } from "../../src/pipeline/stages/evaluate.ts";
import { commandLine } from "./command-line.ts";
import { type Finished, ROOT, smallRecipe, smallRun } from "./small-recipe.ts";

const ASSETS = join(ROOT, "assets/tiny-gemma");
const BASE_SAE = join(ASSETS, "sae-base/layer_4");
const HOOK = "blocks.4.hook_resid_post";

let folder: string;

vi.setConfig({ testTimeout: 600_000 }); // other tests may have the cores

beforeAll(async () => {
  const { baseModel: _none, ...recipe } = smallRecipe(ROOT);
  const train = { ...(recipe.train as object), epochs: 1, checkpointEverySteps: 1000, resampling: null };
  const made = await smallRun({ train, baseModel: null, polish: { when: "never" } });
  folder = made.folder;
  const small = ["corpus.tokens=3000", "eval.tokens=500", "eval.splice=null"];
  const run = await lapidary("run", made.recipe, ...small.flatMap((value) => ["--set", value]));
  expect(run.stderr).not.toContain("lapidary:");
}, 600_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

const lapidary = (...args: string[]) => commandLine(folder, ...args);
const inRun = (...path: string[]) => join(folder, "runs/small", ...path);
const store = (set: string) => inRun("activations/model", set, HOOK);

async function comparisonOf(...args: string[]): Promise<Comparison> {
  const finished = await lapidary("compare", ...args, "--json");
  expect(finished.stdout).not.toContain('"kind":"error"');
  expect(finished.code).toBe(0);
  const lines = finished.stdout.trim().split("\n");
  return (JSON.parse(lines.at(-1)!) as { result: Comparison }).result;
}

function expectError({ code, stderr }: Finished, wanted: number, cause: RegExp, hint: RegExp): void {
  const lines = stderr.trim().split("\n").slice(-2);
  expect(lines[0]).toMatch(cause);
  expect(lines[1]).toMatch(hint);
  expect(code).toBe(wanted);
}

/** Results of the user's model. */
async function evalsOf(phase: string): Promise<LayerEvals["results"]> {
  const evals = JSON.parse(await readFile(inRun("evals", `${HOOK}.${phase}.json`), "utf8")) as LayerEvals;
  return evals.results.filter(({ model }) => model === "model");
}

it("a run alone: its SAE before and after, on its held-out sets, with the numbers that the run recorded", async () => {
  const { sets, changes, a, b } = await comparisonOf("runs/small");
  expect([a.name, b.name]).toEqual(["before (small)", "after (small)"]);
  const [before, after] = [await evalsOf("before"), await evalsOf("after")];
  expect(sets.map(({ set }) => set)).toEqual(["prose", "chat", "code"]);
  for (const [i, { set, metrics, nTokens, store: about }] of sets.entries()) {
    expect([before[i].set, after[i].set]).toEqual([set, set]);
    expect(about).toEqual(after[i].result.store);
    expect(nTokens).toBe(after[i].result.nTokens);
    expect(metrics.ve.a.value).toBe(before[i].result.metrics.ve.value);
    expect(metrics.ve.b.value).toBe(after[i].result.metrics.ve.value);
    if (set !== "code") expect(metrics.ve.sign).toBe(1); // trained on such texts; code is two documents
  }
  expect(changes.nTokens).toBe(sets.reduce((sum, { nTokens }) => sum + nTokens, 0));
  expect(Object.values(changes.byIndex!.fates).reduce((sum, n) => sum + n, 0)).toBe(4096);
});

it("as a table: metrics, differences with intervals, what became of the latents", async () => {
  const { stdout, stderr, code } = await lapidary("compare", "runs/small", "--layer", "4");
  expect(stderr).not.toContain("lapidary:");
  expect(stdout).toMatch(/^A {2}before \(small\): jumprelu, 256 → 4 096 latents$/m);
  expect(stdout).toMatch(/^prose: \d{3} tokens of \d+ documents$/m);
  expect(stdout).toMatch(/^ {2}ve +0\.\d{4} +0\.\d{4} +\+0\.\d{4} {2}\+0\.\d{4} … \+0\.\d{4} {2}higher$/m);
  expect(stdout).toMatch(/^ {2}never fired +\d \d{3} +\d \d{3} /m);
  expect(stdout).toMatch(/^ {2}same latents on a token: 0\.\d{3} by index, 0\.\d{3} by direction/m);
  expect(stdout).toMatch(/^ {2}by index: .* kept, .* moved, .* swapped, .* born, .* died, .* silent$/m);
  expect(stdout).toMatch(/^Moved most:$/m);
  expect(code).toBe(0);
});

it("an SAE and a run on given stores; exchanged, and written to a file", async () => {
  const data = ["--data", store("prose"), "--data", store("train")];
  const there = await comparisonOf(BASE_SAE, "runs/small", ...data);
  expect(there.sets.map(({ set }) => set)).toEqual(["prose", "train"]);
  const back = await comparisonOf("runs/small", BASE_SAE, ...data, "--out", "out/back.json");
  expect(back.sets[1].metrics.mse.difference.value).toBe(-there.sets[1].metrics.mse.difference.value!);
  expect(back.changes.byIndex!.fates.born).toBe(there.changes.byIndex!.fates.died);
  expect(JSON.parse(await readFile(join(folder, "out/back.json"), "utf8"))).toEqual(back);
  expect(await readdir(join(folder, "out"))).toEqual(["back.json"]);
});

it("an SAE and itself, by folder: the same", async () => {
  const same = await lapidary("compare", BASE_SAE, BASE_SAE, "--data", store("chat"));
  expect(same.stdout).toContain("A and B are the same SAE, bit for bit.");
  expect(same.stdout).toMatch(/^ {2}ve +(0\.\d{4}) +\1 +0\.0000 {2}0\.0000 … 0\.0000$/m);
  expect(same.stdout).toMatch(
    /^ {2}by index: \d \d{3} kept, 0 moved, 0 swapped, 0 born, 0 died, \d \d{3} silent$/m,
  );
  expect(same.stdout).toContain("same latents on a token: 1.000 by index, 1.000 by direction");
});

it("on texts, each a document: intervals from two on", async () => {
  const text = ["--text", join(ROOT, "LICENSE"), "--text", join(ROOT, "CONTRIBUTING.md")];
  const model = ["--model", join(ASSETS, "it"), "--context", "64"];
  const { sets } = await comparisonOf("runs/small", BASE_SAE, ...text, ...model);
  expect(sets.map(({ set, nDocuments }) => [set, nDocuments])).toEqual([["2 texts", 2]]);
  expect(sets[0].metrics.ve.difference.interval).not.toBeNull();
  const [one] = (await comparisonOf("runs/small", BASE_SAE, ...text.slice(0, 2), ...model)).sets;
  expect([one.set, one.nDocuments]).toEqual(["LICENSE", 1]);
  expect(one.metrics.ve.difference.value).toBeLessThan(1);
  expect([one.metrics.ve.difference.interval, one.metrics.ve.sign]).toEqual([null, null]);
});

describe("refuses", () => {
  const data = () => ["--data", store("prose")];
  const other = join(ASSETS, "sae-base/layer_6");
  const narrow = join(ROOT, "test/fixtures/golden/inference_saves/jumprelu/sae");

  it("SAEs of different hook points or widths of input, and data of another", async () => {
    expectError(
      await lapidary("compare", BASE_SAE, other, ...data()),
      1,
      /layer_4 reads model\.layers\.4, .*layer_6 reads model\.layers\.6/,
      /one hook point/,
    );
    expectError(
      await lapidary("compare", BASE_SAE, narrow, ...data()),
      1,
      /dIn of .*: got 32, expected 256/,
      /one hook point/,
    );
    expectError(
      await lapidary("compare", other, other, ...data()),
      1,
      /the SAE reads model\.layers\.6, the activations .* blocks\.4/,
      /hook point/,
    );
  });

  it("what cannot be told apart, or compared on nothing", async () => {
    expectError(await lapidary("compare", BASE_SAE), 2, /is no run/, /compare A B/);
    expectError(await lapidary("compare", BASE_SAE, BASE_SAE), 2, /compared on\?/, /--data STORE/);
    expectError(
      await lapidary("compare", "runs/small", "--layer", "6"),
      1,
      /layer 6 of run small is not finished; finished: 4/,
      /inspect/,
    );
    expectError(await lapidary("compare", "absent", BASE_SAE, ...data()), 1, /absent: no such folder/, /hf:/);
  });

  it("options that mean nothing here", async () => {
    const pair = [BASE_SAE, BASE_SAE];
    const text = ["--text", join(ROOT, "LICENSE")];
    expectError(
      await lapidary("compare", ...pair, ...data(), ...text),
      2,
      /both given/,
      /stores, or on texts/,
    );
    expectError(await lapidary("compare", ...pair, ...text), 2, /--text needs a model/, /--model/);
    expectError(
      await lapidary("compare", ...pair, ...data(), "--context", "64"),
      2,
      /--context goes with/,
      /both/,
    );
    expectError(
      await lapidary("compare", ...pair, ...data(), "--layer", "4"),
      2,
      /--layer says which/,
      /leave/,
    );
  });
});
