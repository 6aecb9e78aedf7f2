/**
 * One changed byte in each kind of file of a run, between the stage that wrote it and those that read it: the run names
 * the file, or makes it again, or never uses it. What it leaves is never other bits with a clean exit code.
 */
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { commandLine } from "../run/command-line.ts";
import { contentsOf, differences } from "../run/contents.ts";
import { HOOK, LEFT_OUT, SAE, tinyRun } from "./tiny-run.ts";

/** Copies of the run, each after these stages. */
const STATES = {
  corpus: "corpus",
  harvested: "corpus,harvest,before",
  trained: "corpus,harvest,before,train",
  whole: null,
} as const;

let folder: string;
let recipe: string;
let runFolder: string;
let expected: Map<string, string>;

const NAME = "flipped"; // one name for all: results may say it
const run = (...more: string[]) =>
  commandLine(folder, "run", recipe, "--quiet", "--set", `name=${NAME}`, ...more);
const stateFolder = (state: string) => join(folder, "states", state);

beforeAll(async () => {
  ({ folder, recipe } = await tinyRun());
  runFolder = join(folder, "runs", NAME);
  for (const [state, stages] of Object.entries(STATES)) {
    const { code, stderr } = await run(...(stages === null ? [] : ["--only", stages]));
    expect(`${code} ${stderr}`).toBe("0 ");
    await cp(runFolder, stateFolder(state), { recursive: true });
  }
  expected = await contentsOf(runFolder, NAME, LEFT_OUT);
});

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
  ["whole", `sae/${SAE}/cfg.json`, "d_in", "made again"],
  ["whole", `sae/${SAE}/sae_weights.safetensors`, null, "made again"],
  ["whole", `sae/${SAE}/contract.json`, "contextSize", "made again"],
  ["whole", `sae/${SAE}/contract.safetensors`, null, "made again"],
  ["whole", `evals/${HOOK}.prepolish.json`, "value", "made again"],
  ["whole", "README.md", null, "made again"],
  ["whole", `evals/${HOOK}.verify.json`, "layer", "made again"],
  ["whole", `train/${HOOK}/metrics.jsonl`, null, "named"],
  ["whole", `train/${HOOK}/step-00000006/weights.safetensors`, null, "not used"],
])("after %s: %s %s: %s", async (state, file, key, outcome) => {
  await rm(runFolder, { recursive: true, force: true });
  await cp(stateFolder(state), runFolder, { recursive: true });
  const path = join(runFolder, file);
  await writeFile(path, changed(await readFile(path), key));
  const { code, stderr } = await run();
  if (outcome === "named") {
    expect(`${code} ${stderr}`).toMatch(/^1 lapidary: /);
    expect(stderr).toContain(file.split("/").at(-1));
    return;
  }
  expect(`${code} ${stderr}`).toBe("0 ");
  const left = differences(expected, await contentsOf(runFolder, NAME, LEFT_OUT));
  expect(left).toEqual(outcome === "made again" ? [] : [`${file} differs`]);
});
