/**
 * What no reader may accept, each with one clear error: tensors that do not fit (`refused-saes`, made by make_saes.py), and
 * good SAEs of `saes` whose JSON says something that is not run, or contradicts the tensors.
 */
import { readdirSync, readFileSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { FormatError, type LapidaryError, UnsupportedError } from "../../src/errors.ts";
import { loadSae } from "../../src/sae/load.ts";

const foreign = (path: string) => fileURLToPath(new URL(`../fixtures/foreign/${path}`, import.meta.url));
const scratch = await mkdtemp(join(tmpdir(), "refused-"));
afterAll(() => rm(scratch, { recursive: true }));
let serial = 0;

const CLASSES = { FormatError, UnsupportedError };
const load = (location: string) => loadSae(location, { transcoders: "read" });

async function expectRefusal(location: string, error: keyof typeof CLASSES, message: RegExp): Promise<void> {
  const thrown = await load(location).then(
    () => null,
    (reason: LapidaryError) => reason,
  );
  expect(thrown).toBeInstanceOf(CLASSES[error]);
  expect(thrown?.message).toMatch(message);
  expect(thrown?.message.length).toBeLessThan(600);
}

describe("tensors", () => {
  for (const name of readdirSync(foreign("refused-saes")).sort()) {
    const folder = foreign(`refused-saes/${name}`);
    const { location, error, message } = JSON.parse(readFileSync(join(folder, "case.json"), "utf8"));
    it(name, () => expectRefusal(join(folder, location), error, new RegExp(message)));
  }
});

/** A case's folder, its JSON file, what to change in it, and the error. Keys with a dot lie in an object. */
const SAID: [
  name: string,
  file: string,
  changes: Record<string, unknown>,
  error: keyof typeof CLASSES,
  message: RegExp,
][] = [
  ["sparsify/layers.10", "cfg.json", { activation: "groupmax" }, "UnsupportedError", /groupmax/],
  ["sparsify/layers.10", "cfg.json", { signed: true }, "UnsupportedError", /signed/],
  ["sparsify/layers.10", "cfg.json", { tied: true }, "UnsupportedError", /tied/],
  ["sparsify/layers.10", "cfg.json", { num_latents: 24 }, "FormatError", /num_latents.*24.*12/],
  ["sparsify/layers.10", "cfg.json", { expansion_factor: 3 }, "FormatError", /18.*12/],
  ["sparsify/layers.10", "cfg.json", { d_in: 7 }, "FormatError", /d_in.*7.*6/],
  ["sparsify/layers.10", "cfg.json", { k: 13 }, "FormatError", /"k" is 13/],
  ["sparsify/layers.10", "cfg.json", { skip_connection: true }, "FormatError", /missing.*W_skip/],
  ["sparsify-skip-transcoder/layers.2.mlp", "cfg.json", { skip_connection: false }, "FormatError", /W_skip/],
  [
    "gemma-scope-2/resid_post/layer_10_width_16k_l0_small",
    "config.json",
    { architecture: "topk" },
    "UnsupportedError",
    /topk/,
  ],
  [
    "gemma-scope-2/resid_post/layer_10_width_16k_l0_small",
    "config.json",
    { width: 16384 },
    "FormatError",
    /width/,
  ],
  [
    "gemma-scope-2/resid_post/layer_10_width_16k_l0_small",
    "config.json",
    { affine_connection: true },
    "FormatError",
    /affine_skip/,
  ],
  [
    "gemma-scope-2/resid_post/layer_10_width_16k_l0_small",
    "config.json",
    { type: "crosscoder" },
    "UnsupportedError",
    /crosscoder/,
  ],
  [
    "gemma-scope-2/resid_post/layer_10_width_16k_l0_small",
    "config.json",
    { hf_hook_point_out: "model.layers.11.output" },
    "FormatError",
    /of type sae, but from/,
  ],
  [
    "gemma-scope-2-affine/transcoder_all/layer_5_width_16k_l0_big_affine",
    "config.json",
    { affine_connection: false },
    "FormatError",
    /affine_skip/,
  ],
  [
    "llama-scope/L4R-2x",
    "hyperparams.json",
    { hook_point_out: "blocks.4.hook_mlp_out" },
    "UnsupportedError",
    /transcoder/,
  ],
  [
    "llama-scope/L4R-2x",
    "hyperparams.json",
    { norm_activation: "token-wise" },
    "UnsupportedError",
    /token-wise/,
  ],
  [
    "llama-scope/L4R-2x",
    "hyperparams.json",
    { use_glu_encoder: true },
    "UnsupportedError",
    /use_glu_encoder/,
  ],
  [
    "llama-scope/L4R-2x",
    "hyperparams.json",
    { jump_relu_threshold: 0 },
    "FormatError",
    /jump_relu_threshold/,
  ],
  ["llama-scope/L4R-2x", "hyperparams.json", { act_fn: "relu" }, "UnsupportedError", /act_fn/],
  [
    "llama-scope/L4R-2x",
    "hyperparams.json",
    { "dataset_average_activation_norm.in": 0 },
    "FormatError",
    /average norm/,
  ],
  [
    "llama-scope/L4R-2x",
    "hyperparams.json",
    { sparsity_include_decoder_norm: undefined },
    "FormatError",
    /sparsity_include/,
  ],
  [
    "llama-scope-r1/L4R",
    "config.json",
    { hook_point_in: "blocks.5.hook_resid_post", hook_point_out: null },
    "FormatError",
    /missing.*blocks\.5/,
  ],
  ["dl-topk/trainer_0", "config.json", { "trainer.dict_class": undefined }, "FormatError", /dict_class/],
  ["dl-topk/trainer_0", "config.json", { "trainer.dict_class": "toString" }, "UnsupportedError", /toString/],
  ["dl-topk/trainer_0", "config.json", { "trainer.dict_size": 24 }, "FormatError", /dict_size/],
  ["mapping-jumprelu", "layer2.mapping.json", { threshold: undefined }, "FormatError", /needs "threshold"/],
  ["mapping-jumprelu", "layer2.mapping.json", { k: 3 }, "FormatError", /has no "k"/],
  [
    "mapping-jumprelu",
    "layer2.mapping.json",
    { applyBDecToInput: undefined },
    "FormatError",
    /applyBDecToInput/,
  ],
  [
    "mapping-jumprelu",
    "layer2.mapping.json",
    { encoder: { tensor: "encoder.weight", latents: "columns" } },
    "FormatError",
    /latents/,
  ],
  ["mapping-jumprelu", "layer2.mapping.json", { file: "../model.safetensors" }, "FormatError", /same folder/],
  ["mapping-transcoder", "a.mapping.json", { output: undefined }, "FormatError", /belongs to a transcoder/],
  [
    "mapping-transcoder",
    "a.mapping.json",
    { applyBDecToInput: true },
    "FormatError",
    /belongs to its output/,
  ],
  ["mapping-gated", "layer2.mapping.json", { ignore: [] }, "FormatError", /steps/],
];

describe("what JSON says", () => {
  it.each(SAID)("%s, %s, %j", async (name, file, changes, error, message) => {
    const copy = join(scratch, String(serial++));
    await cp(foreign(`saes/${name}`), copy, { recursive: true });
    const path = join(copy, file);
    const value = JSON.parse(await readFile(path, "utf8"));
    for (const [key, change] of Object.entries(changes)) {
      const [outer, inner] = key.split(".");
      if (inner === undefined) value[outer] = change;
      else value[outer][inner] = change;
    }
    await writeFile(path, JSON.stringify(value));
    await expectRefusal(file.endsWith(".mapping.json") ? path : copy, error, message);
  });

  it("nothing at all, or a folder of other things", async () => {
    await expectRefusal(join(scratch, "nowhere"), "FormatError", /no such folder or file/);
    await expectRefusal(foreign(""), "FormatError", /no SAE in a format that Lapidary reads/);
  });

  it("a transcoder across layers", async () => {
    const folder = await mkdtemp(join(scratch, "clt-"));
    await writeFile(join(folder, "W_enc_0.safetensors"), "");
    await expectRefusal(folder, "UnsupportedError", /across layers/);
  });

  it("files that are missing beside the weights", async () => {
    for (const [name, file, location] of [
      ["gemma-scope-2/resid_post/layer_10_width_16k_l0_small", "config.json", "."],
      ["dl-topk/trainer_0", "config.json", "."],
      ["mapping-gated", "model.safetensors", "layer2.mapping.json"],
    ]) {
      const copy = join(scratch, String(serial++));
      await cp(foreign(`saes/${name}`), copy, { recursive: true });
      await rm(join(copy, file));
      await expectRefusal(join(copy, location), "FormatError", new RegExp(`${file}: no such file`));
    }
  });
});
