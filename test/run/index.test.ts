/** `lapidary index` on a small run: both SAEs on the same tokens, killed and begun again, another SAE on a store; and what it refuses. */
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import type { IndexManifest } from "../../src/dashboard/manifest.ts";
import { openIndex } from "../../src/dashboard/open-index.ts";
import { commandLine } from "./command-line.ts";
import { type Finished, smallRun, startCli } from "./small-recipe.ts";

const HOOK = "blocks.4.hook_resid_post";
const STAGES = "corpus,harvest,before,train,export,after";

let folder: string;
vi.setConfig({ testTimeout: 600_000 }); // other tests may have the cores

beforeAll(async () => {
  const made = await smallRun({ baseModel: null, polish: { when: "never" } });
  folder = made.folder;
  const small = [
    "corpus.tokens=3000",
    "eval.tokens=500",
    "eval.splice=null",
    "train.epochs=1",
    "train.resampling=null",
  ];
  const run = await lapidary(
    "run",
    made.recipe,
    "--only",
    STAGES,
    ...small.flatMap((each) => ["--set", each]),
  );
  expect(run.stderr).not.toContain("lapidary:");
}, 600_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

const lapidary = (...args: string[]) => commandLine(folder, ...args);
const inRun = (...path: string[]) => join(folder, "runs/small", ...path);
const index = (...args: string[]) => lapidary("index", "runs/small", "--tokens", "1500", ...args);

function expectError({ code, stderr }: Finished, wanted: number, cause: RegExp, hint: RegExp): void {
  const lines = stderr.trim().split("\n").slice(-2);
  expect(lines[0]).toMatch(cause);
  expect(lines[1]).toMatch(hint);
  expect(code).toBe(wanted);
}

async function manifestOf(...path: string[]): Promise<IndexManifest> {
  return JSON.parse(await readFile(inRun("index", ...path, "index.json"), "utf8")) as IndexManifest;
}

it("indexes the SAE before and after on the same tokens, once", async () => {
  const made = await index();
  expect(made.stderr).not.toContain("lapidary:");
  expect(made.stdout).toMatch(/4 096 latents on 1 500 tokens/);
  expect(made.stderr).toMatch(/memory: .* free/);
  const [before, after] = [await manifestOf(`${HOOK}.before`), await manifestOf(`${HOOK}.after`)];
  expect(after.data).toEqual(before.data);
  expect(after.data).toMatchObject({ nTokens: 1500, sets: ["train"] });
  expect(after.base).toEqual({ name: before.sae.name, hash: before.sae.hash, index: `${HOOK}.before` });
  expect(before.base).toBeNull();
  expect(after.sae.widths).toEqual([256, 1024, 4096]);
  expect(after.logits).toEqual({ vocabSize: 4096, finalNorm: false });
  expect(after.splits.source.map(({ name }) => name).sort()).toEqual(["chat", "prose"]);

  const [a, b] = [
    await openIndex(inRun("index", `${HOOK}.before`)),
    await openIndex(inRun("index", `${HOOK}.after`)),
  ];
  const densities = await a.rows("SELECT density AS d FROM latents ORDER BY latent");
  const based = await b.rows("SELECT base_density AS d FROM latents ORDER BY latent");
  expect(based).toEqual(densities);
  const [facts] = await b.rows(
    `SELECT sum(n_active)::INTEGER AS n, count(dead_in_training)::INTEGER AS dead, min(n_resampled)::INTEGER AS least,
     max(n_resampled)::INTEGER AS most, min(decoder_drift_cosine) AS drift, count(logit_std)::INTEGER AS logits,
     count(*) FILTER (label_kind = 'token')::INTEGER AS labelled FROM latents`,
  );
  expect(facts).toMatchObject({ least: 0, most: 0, logits: 4096 });
  expect(facts.n as number).toBeGreaterThan(1500 * 10);
  expect(facts.drift as number).toBeLessThan(1);
  expect(facts.labelled as number).toBeGreaterThan(5);
  const [{ odd }] = await b.rows(
    'SELECT count(*)::INTEGER AS odd FROM examples WHERE acts["at" + 1] <> value OR len(tokens) > 64',
  );
  expect(odd).toBe(0);
  const number = await b.search("7", 1);
  expect(number.map(({ latent }) => latent)).toEqual([7]);
  await expect(b.latent(4096)).rejects.toThrow(/latent of .*4096/);
  await expect(b.rows("DROP VIEW latents")).rejects.toThrow(/SELECT/);
  await expect(b.latents({ sort: "latent; DROP" as "latent" })).rejects.toThrow(/no column/);
  a.close();
  b.close();

  const again = await index();
  expect(again.stdout.match(/there already/g)).toHaveLength(2);
  const said = await lapidary("inspect", `runs/small/index/${HOOK}.after`);
  expect(said.stdout).toMatch(/Latent index of .*: 4 096 latents on 1 500 tokens/);
});

it("refuses another index in its place, and options that mean nothing here", async () => {
  expectError(await index("--set", "prose"), 1, /holds an index of something else: data/, /--overwrite/);
  expectError(await index("--set", "poems"), 2, /no set "poems"/, /train, prose, chat/);
  expectError(await index("--out", "elsewhere"), 2, /is a run: it has no --out/, /--help/);
  const sae = "runs/small/sae/btk-mat-layer-4-k-32";
  expectError(await lapidary("index", sae), 2, /where shall the index go/, /--out/);
  expectError(await lapidary("index", sae, "--out", "x"), 2, /indexed on/, /--data/);
  expectError(await lapidary("index", sae, "--layers", "4"), 2, /is no run: it has no --layers/, /--help/);
});

it("killed at any moment it begins again, to the same bytes", async () => {
  const wanted = await manifestOf(`${HOOK}.after`);
  await rm(inRun("index", `${HOOK}.after`), { recursive: true });
  const { child, finished } = startCli(folder, ["index", "runs/small", "--tokens", "1500"]);
  const unfinished = async () => (await readdir(inRun("index"))).filter((name) => name.endsWith(".tmp"));
  while ((await unfinished()).length === 0 && child.exitCode === null) await setTimeout(5);
  child.kill("SIGKILL");
  await finished;
  expect(await unfinished()).toHaveLength(1);
  await expect(stat(inRun("index", `${HOOK}.after`))).rejects.toThrow(/ENOENT/);
  expect((await index()).stderr).not.toContain("lapidary:");
  expect((await manifestOf(`${HOOK}.after`)).files).toEqual(wanted.files);
  expect(await unfinished()).toEqual([]);
});

it("any SAE on a store: the same statistics, with what its base gives", async () => {
  const store = `runs/small/activations/model/train/${HOOK}`;
  const sae = "runs/small/sae/btk-mat-layer-4-k-32";
  const args = ["--data", store, "--tokens", "1500", "--out", "own"];
  const base = ["--base", `runs/small/index/${HOOK}.before`];
  const made = await lapidary("index", sae, ...args, ...base);
  expect(made.stderr).not.toContain("lapidary:");
  const [own, ofRun] = [
    await openIndex(join(folder, "own")),
    await openIndex(inRun("index", `${HOOK}.after`)),
  ];
  const columns = "latent, n_active, n_documents, density, max_act, mean_act, base_density";
  const rowsOf = (from: typeof own) => from.rows(`SELECT ${columns} FROM latents ORDER BY latent`);
  expect(await rowsOf(own)).toEqual(await rowsOf(ofRun));
  const [{ drifted }] = await own.rows("SELECT count(decoder_drift_cosine)::INTEGER AS drifted FROM latents");
  expect(drifted).toBe(0); // no --base-sae
  expect((await own.latent(20)).examples[0].tokens.join("")).toContain("[token ");
  own.close();
  ofRun.close();
  expect((await readdir(folder)).filter((name) => name.startsWith("own"))).toEqual(["own"]); // nor a lock
  const fewer = ["--data", store, "--tokens", "1000", "--out", "fewer"];
  expectError(await lapidary("index", sae, ...fewer, ...base), 1, /of other tokens/, /same --tokens/);
});
