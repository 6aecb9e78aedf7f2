/** `inspect` and `convert` on SAEs of other libraries: what they say, and that what is written is the same SAE. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { loadSae } from "../../src/sae/load.ts";
import { commandLine } from "./command-line.ts";
import { ROOT } from "./small-recipe.ts";

const SAES = join(ROOT, "test/fixtures/foreign/saes");
const scratch = await mkdtemp(join(tmpdir(), "saes-"));
afterAll(() => rm(scratch, { recursive: true }));
const lapidary = (...args: string[]) => commandLine(scratch, ...args);

it.each([
  [
    "openai-topk/resid_post_mlp_v5_32k/autoencoders/6.pt",
    [
      /^SAE \(topk\): 6 → 12 latents\n/,
      /format +OpenAI: TopK, float32\n/,
      /hook point +blocks\.6\.hook_resid_post\n/,
      /inputs +layer_norm, b_dec subtracted\n/,
      /k +3\n/,
    ],
  ],
  [
    "gemma-scope-2-affine/transcoder_all/layer_5_width_16k_l0_big_affine",
    [
      /^Transcoder \(jumprelu\): 6 → 12 latents → 5\n/,
      /predicts +model\.layers\.5\.post_feedforward_layernorm\.output\n/,
      /skip +x · skipᵀ/,
    ],
  ],
  ["dl-gated/trainer_0", [/^SAE \(jumprelu\)/, /format +dictionary_learning: GatedAutoEncoder/]],
  [
    "gemma-scope-lost-path/layer_5/params.npz",
    [/hook point +not recorded/, /note +layer 5, from the folder's name/],
  ],
  [
    "dl-matryoshka/trainer_0/checkpoints/ae_500.pt",
    [/thresholds +all 0\.4000/, /training +k and widths are/],
  ],
])("inspect %s", async (path, texts) => {
  const { stdout, stderr, code } = await lapidary("inspect", join(SAES, path));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  for (const text of texts) expect(stdout).toMatch(text);
});

it("inspect says what is wrong with an SAE that is not read", async () => {
  const backup = join(ROOT, "test/fixtures/foreign/refused-saes/dl-backup");
  const { stderr, code } = await lapidary("inspect", backup);
  expect(code).toBe(1);
  expect(stderr).toMatch(/ae\.pt: a backup of unfinished training[\s\S]*checkpoints\/ae_<step>\.pt/);
});

it("convert writes what loads as the same SAE, and says where it came from", async () => {
  const source = join(SAES, "gemma-scope/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82/params.npz");
  const { stdout, code } = await lapidary("convert", source, "copy");
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /^copy: saelens, jumprelu, float32, .*\n {2}from {2}Gemma Scope: jumprelu, float32\n$/,
  );
  const [was, is] = [await loadSae(source), await loadSae(join(scratch, "copy"))];
  expect(is.weights).toEqual(was.weights);
  expect(is.threshold).toEqual(was.threshold);
  expect({ ...is.config, metadata: {} }).toEqual(was.config);
  expect(is.config.metadata.lapidary_converted_from).toEqual({
    dialect: "Gemma Scope",
    architecture: "jumprelu",
  });
  const rounded = await lapidary("convert", source, "rounded", "--dtype", "bfloat16");
  expect(rounded.stdout).toMatch(/lost {2}weights were rounded from float32 to bfloat16/);
});

it("convert refuses what SAELens has no name for", async () => {
  const source = join(SAES, "sparsify-skip-transcoder/layers.2.mlp");
  const { stderr, code } = await lapidary("convert", source, "none");
  expect(code).toBe(1);
  expect(stderr).toMatch(/SAELens has no transcoder that is topk/);
});
