/** Before a stage starts: what it still needs is held against what is free. */
import { mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { ResourceError } from "../errors.ts";
import { planOf } from "../kernels/memory.ts";
import { RunContext, type RunEvent } from "./context.ts";
import { recipeSchema } from "./recipe/recipe.ts";
import { announceMemory, checkResources, freeDisk } from "./resources.ts";
import { RunDirectory } from "./run-directory.ts";
import { RunState } from "./run-state.ts";
import { listUnits } from "./units.ts";

const root = await mkdtemp(join(tmpdir(), "resources-"));
afterAll(() => rm(root, { recursive: true }));

const text = { name: "t", kind: "text", location: "texts" };
const GB = 1e9;

/** A run whose corpus takes 1 GB more than is free. */
async function openRun(
  name: string,
  onEvent?: (event: RunEvent) => void,
  changes: Record<string, unknown> = {},
): Promise<RunContext> {
  const tokens = Math.floor(((await freeDisk(root)) + GB) / 10.5);
  const recipe = recipeSchema.parse({
    name,
    model: { source: "no-such-model" },
    sae: { scratch: { dSae: 1000 } },
    layers: [0],
    corpus: { tokens, sources: [text] },
    train: { k: 1 },
    eval: { sets: [{ name: "held", sources: [text] }] },
    ...changes,
  });
  const dir = new RunDirectory(join(root, name));
  await mkdir(dir.root, { recursive: true });
  return new RunContext(recipe, root, dir, await RunState.open(dir.state, name, {}), { onEvent });
}

/** Checks the corpus stage after 2 GB (a file of nothing but zeros, which takes no room) appeared at `path`. */
async function checkWith(context: RunContext, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, "");
  await truncate(path, 2 * GB);
  await checkResources(
    context,
    listUnits(context, [0]).filter(({ stage }) => stage === "corpus"),
  );
}

it("counts what an interrupted stage has written already", async () => {
  const context = await openRun("resumed");
  await checkWith(context, join(context.dir.corpus("train"), "windows-00000.safetensors"));
});

it("does not count what other stages have written", async () => {
  const context = await openRun("other");
  const shard = join(context.dir.activations("model", "train", 0), "shard-00000.safetensors");
  await expect(checkWith(context, shard)).rejects.toThrow(ResourceError);
});

it("tells what a training will hold, and refuses what the machine has not", async () => {
  const events: RunEvent[] = [];
  const context = await openRun("memory", (event) => events.push(event));
  const unit = { id: "train:0", title: "train layer 0" };
  const modest = planOf([
    { name: "weights", bytes: 1e6 },
    { name: "AuxK", bytes: 0 },
  ]);
  await announceMemory(context, unit, modest);
  const parts = [{ name: "weights", bytes: 1e6 }];
  expect(events).toEqual([
    { kind: "memory", unit: "train:0", parts, total: 1e6, free: expect.any(Number) as number },
  ]);
  const vast = planOf([
    { name: "weights", bytes: 1e15 },
    { name: "moments", bytes: 2e15 },
  ]);
  const refused = announceMemory(context, unit, vast);
  await expect(refused).rejects.toThrow(ResourceError);
  await expect(refused).rejects.toThrow(
    /"train layer 0" needs about 3000000\.0 GB of memory \(moments 2000000\.0 GB, weights 1000000\.0 GB\), [\d.]+ GB is free/,
  );
});

it("refuses dense training that the machine has no memory for, before anything is made, and says what takes it", async () => {
  const context = await openRun("dense", undefined, {
    model: { source: "no-such-model", dIn: 8192 },
    sae: { scratch: { dSae: 8_000_000, architecture: "gated" } },
    corpus: { tokens: 10_000, sources: [text] },
    train: { resampling: null },
    output: { id: "gated" },
  });
  const training = listUnits(context, [0]).filter(({ stage }) => stage === "train");
  const refused = checkResources(context, training);
  await expect(refused).rejects.toThrow(ResourceError);
  // weights, and as much again for gradients
  await expect(refused).rejects.toThrow(
    /stage train needs about 2\d{3}\.\d GB .*moments 1048\.\d GB, gradients 529\.\d GB, weights 524\.\d GB/,
  );
});
