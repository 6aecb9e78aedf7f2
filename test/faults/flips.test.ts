/**
 * One changed byte in each kind of file of a run, between the stage that wrote it and those that read it: the run names
 * the file, or makes it again, or never uses it. What it leaves is never other bits with a clean exit code.
 */
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { commandLine } from "../run/command-line.ts";
import { contentsOf, differences } from "../run/contents.ts";
import { LEFT_OUT, tinyRun } from "./tiny-run.ts";

const HOOK = "blocks.4.hook_resid_post";
/** Copies of the run, each after these stages. */
const STATES = {
  corpus: "corpus",
  harvested: "corpus,harvest,before",
  trained: "corpus,harvest,before,train",
  whole: null,
} as const;

let folder: string;
let recipe: string;
let expected: Map<string, string>;

const run = (name: string, ...more: string[]) =>
  commandLine(folder, "run", recipe, "--quiet", "--set", `name=${name}`, ...more);
const runFolder = (name: string) => join(folder, "runs", name);

beforeAll(async () => {
  ({ folder, recipe } = await tinyRun());
  let before: string | null = null;
  for (const [state, stages] of Object.entries(STATES)) {
    if (before !== null) await cp(runFolder(before), runFolder(state), { recursive: true });
    const { code, stderr } = await run(state, ...(stages === null ? [] : ["--only", stages]));
    expect(`${code} ${stderr}`).toBe("0 ");
    before = state;
  }
  expected = await contentsOf(runFolder("whole"), "whole", LEFT_OUT);
}, 60_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** A digit of a text made another one, or the lowest bit of the middle byte turned round. */
function changed(bytes: Buffer, key: string | null): Buffer {
  let at = bytes.length >> 1;
  if (key !== null) {
    const found = new RegExp(`"${key}": [^\\n]*?(\\d)[,\\n"]`).exec(bytes.toString("latin1"));
    if (found === null) throw new Error(`no number at "${key}"`);
    at = found.index + found[0].length - 2;
  }
  bytes[at] ^= 1; // 4 ⇄ 5
  return bytes;
}

type Outcome = "named" | "made again" | "not used";

it.each<[state: keyof typeof STATES, file: string, key: string | null, outcome: Outcome]>([
  ["corpus", "corpus/train/windows-00000.safetensors", null, "named"],
  ["corpus", "corpus/train/manifest.json", "bosTokenId", "named"],
  ["corpus", "corpus/train/manifest.json", "nKept", "named"],
  ["corpus", "run.json", "nKept", "named"],
  ["harvested", `activations/model/train/${HOOK}/shard-00000.safetensors`, null, "named"],
  ["harvested", `activations/model/prose/${HOOK}/manifest.json`, "nWindows", "named"],
  ["harvested", `evals/${HOOK}.before.json`, "value", "made again"],
  ["harvested", "run.json", "worstVe", "named"],
  ["trained", `train/${HOOK}/step-00000006/weights.safetensors`, null, "named"],
  ["trained", `train/${HOOK}/step-00000006/counters.safetensors`, null, "named"],
  ["trained", `train/${HOOK}/step-00000006/checkpoint.json`, "threshold", "named"],
  ["trained", "run.json", "threshold", "named"],
  ["whole", `evals/${HOOK}.after.json`, "value", "made again"],
  ["whole", `evals/${HOOK}.before.json`, "value", "made again"],
  ["whole", "sae/btk-mat-layer-4-k-32/cfg.json", "d_in", "made again"],
  ["whole", "sae/btk-mat-layer-4-k-32/sae_weights.safetensors", null, "not used"],
  ["whole", `train/${HOOK}/step-00000006/weights.safetensors`, null, "not used"],
])("after %s: %s %s: %s", async (state, file, key, outcome) => {
  const name = "flipped";
  await rm(runFolder(name), { recursive: true, force: true });
  await cp(runFolder(state), runFolder(name), { recursive: true });
  const path = join(runFolder(name), file);
  await writeFile(path, changed(await readFile(path), key));
  const { code, stderr } = await run(name);
  if (outcome === "named") {
    expect(`${code} ${stderr}`).toMatch(/^1 lapidary: /);
    expect(stderr).toContain(file.split("/").at(-1));
    return;
  }
  expect(`${code} ${stderr}`).toBe("0 ");
  const left = differences(expected, await contentsOf(runFolder(name), name, LEFT_OUT));
  expect(left).toEqual(outcome === "made again" ? [] : [`${file} differs`]);
  if (file.endsWith("sae_weights.safetensors"))
    expect((await commandLine(folder, "verify", `runs/${name}`)).code).toBe(4);
});
