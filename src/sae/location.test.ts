/** SAEs on a hub: what is fetched for one, and that it is the same SAE as on this disk. */
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { HubServer } from "../../test/hub-server.ts";
import { loadSae } from "./load.ts";
import { partsOfSae } from "./location.ts";

const SAES = fileURLToPath(new URL("../../test/fixtures/foreign/saes", import.meta.url));
let hub: HubServer;
let cacheDir: string;

beforeAll(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "location-"));
  hub = await HubServer.start();
  hub.add({ type: "model", name: "o/dictionaries", files: await filesOf("dl-matryoshka") });
  const gemma = "gemma-scope-2b-pt-res";
  hub.add({ type: "model", name: `google/${gemma}`, files: await filesOf(`gemma-scope/${gemma}`) });
  vi.stubEnv("HF_ENDPOINT", hub.url);
  vi.stubEnv("LAPIDARY_CACHE", cacheDir);
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  await rm(cacheDir, { recursive: true });
});

async function filesOf(folder: string): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for (const path of await readdir(join(SAES, folder), { recursive: true }))
    if ((await stat(join(SAES, folder, path))).isFile())
      files[path] = await readFile(join(SAES, folder, path));
  return files;
}

it("a file of a repository comes with what says what it means", async () => {
  const there = await loadSae("hf:o/dictionaries/trainer_0/checkpoints/ae_500.pt");
  const here = await loadSae(join(SAES, "dl-matryoshka/trainer_0/checkpoints/ae_500.pt"));
  expect({ ...there, origin: null }).toEqual({ ...here, origin: null });
  expect(there.config.hookName).toBe("blocks.3.hook_resid_post");
});

it("a folder's place in its repository says what the file does not", async () => {
  const { config } = await loadSae("hf:google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82@main");
  expect(config).toMatchObject({ hookName: "blocks.12.hook_resid_post", modelName: "google/gemma-2-2b" });
});

it("a plain owner/name that is no folder here is one of the hub, for SAEs as for models", async () => {
  hub.add({ type: "model", name: "o/one", files: await filesOf("sparsify/layers.10") });
  expect((await loadSae("o/one")).config).toMatchObject({ architecture: "topk", k: 3 });
  await expect(loadSae("./o/one")).rejects.toThrow(/no such folder or file/);
});

it("evaluation, comparison and recipes get a file of a repository with what lies beside it", async () => {
  const { loadSides } = await import("../pipeline/compare/sides.ts");
  const location = "hf:o/dictionaries/trainer_0/checkpoints/ae_500.pt";
  const { a, b } = await loadSides(location, join(SAES, "dl-matryoshka/trainer_0/checkpoints/ae_500.pt"));
  expect(a.sae.weights).toEqual(b.sae.weights);
  const { RunContext } = await import("../pipeline/context.ts");
  const recipe = { sae: { from: "hf:o/dictionaries/trainer_{layer}/checkpoints/ae_500.pt" } };
  const context = new RunContext(recipe as never, cacheDir, {} as never, {} as never, {});
  expect((await loadSae(await context.saeFolder(0))).weights).toEqual(b.sae.weights);
});

it("what is not there is said, with what is", async () => {
  await expect(loadSae("hf:o/dictionaries/trainer_1")).rejects.toMatchObject({
    message: 'o/dictionaries has nothing at "trainer_1"',
    hint: expect.stringContaining("trainer_0"),
  });
});

it("a folder of many SAEs is not fetched", async () => {
  const names = [...Array(6).keys()].map((layer) => `layer_${layer}.safetensors`);
  hub.add({ type: "model", name: "o/layers", files: Object.fromEntries(names.map((name) => [name, "x"])) });
  const before = hub.requests.length;
  await expect(loadSae("hf:o/layers")).rejects.toMatchObject({
    message: expect.stringContaining("6 files of weights"),
    hint: "name one of them: hf:o/layers/layer_0.safetensors",
  });
  expect(hub.requests.slice(before).filter(({ url }) => url.includes("safetensors"))).toEqual([]);
});

it("only what may belong to the SAE is fetched", () => {
  const paths = [
    "README.md",
    "config.json",
    "layers.1/cfg.json",
    "layers.1/sae.safetensors",
    "layers.1/optimizer_0.pt",
    "layers.2/cfg.json",
    "layers.2/sae.safetensors",
    "L4R/hyperparams.json",
    "L4R/checkpoints/final.safetensors",
    "L4R/checkpoints/step_5.safetensors",
    "a/examples.safetensors",
    "a/params.safetensors",
  ];
  expect(partsOfSae(paths, "layers.1")).toEqual([
    "config.json",
    "layers.1/cfg.json",
    "layers.1/sae.safetensors",
  ]);
  expect(partsOfSae(paths, "L4R")).toEqual([
    "config.json",
    "L4R/hyperparams.json",
    "L4R/checkpoints/final.safetensors",
  ]);
  expect(partsOfSae(paths, "a/params.safetensors")).toEqual(["config.json", "a/params.safetensors"]);
  expect(partsOfSae(paths, "a")).toEqual(["config.json", "a/params.safetensors"]);
  expect(partsOfSae(paths, "")).toEqual(["README.md", "config.json"]);
});
