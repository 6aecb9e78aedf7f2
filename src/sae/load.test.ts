/** Which files decide what an SAE is: what a run looks at to notice that its source has changed. */
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { filesOfSae, isSae, loadSparsity } from "./load.ts";

const at = (path: string) => fileURLToPath(new URL(`../../test/fixtures/${path}`, import.meta.url));
const names = async (path: string) => [...(await filesOfSae(at(path))).keys()];

it("of a SAELens directory, the three that may, whether they are there or not", async () => {
  expect(await names("golden/inference_saves/gated/sae")).toEqual([
    "cfg.json",
    "sae_weights.safetensors",
    "runner_cfg.json",
  ]);
});

it("of other formats, tensors and JSON, where they lie", async () => {
  const gemma = "foreign/saes/gemma-scope/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82";
  expect(await names(gemma)).toEqual(["params.npz"]);
  expect(await names("foreign/saes/sparsify/layers.10")).toEqual(["cfg.json", "sae.safetensors"]);
  expect(await names("foreign/saes/llama-scope/L4R-2x")).toEqual([
    "checkpoints/final.safetensors",
    "hyperparams.json",
  ]);
  expect(await names("foreign/saes/dl-matryoshka/trainer_0/checkpoints/ae_500.pt")).toEqual([
    "../config.json",
    "ae_500.pt",
  ]);
});

it("a folder of other things is no SAE, and another library's SAE ships no frequencies", async () => {
  expect(await isSae(at("corpus"))).toBe(false);
  expect(await isSae(at("foreign/saes/qresearch/DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"))).toBe(true);
  expect(await loadSparsity(at("foreign/saes/sparsify/layers.10"))).toBeNull();
});
