/**
 * Every SAE of `test/fixtures/foreign/saes` (or of LAPIDARY_FOREIGN), written in every format that is written and read again: bit for bit where
 * nothing is said to be rounded, the same function in any case, the same facts but for those said to be lost. What is
 * refused is refused by name.
 */
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { StateError, UnsupportedError } from "../../src/errors.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { sameHook } from "../../src/sae/hook-name.ts";
import { openInference } from "../../src/sae/inference.ts";
import { loadSae } from "../../src/sae/load.ts";
import type { Sae } from "../../src/sae/sae.ts";
import { warmStart } from "../../src/sae/warm-start.ts";
import { TARGETS, type Target, writeSae } from "../../src/sae/writers/write.ts";
import { f32, tensors } from "./cases.ts";
import { expectAllNear } from "./closeness.ts";

const root = resolve(
  process.env.LAPIDARY_FOREIGN ?? fileURLToPath(new URL("../fixtures/foreign/saes", import.meta.url)),
);
const scratch = await mkdtemp(join(tmpdir(), "written-"));
afterAll(() => rm(scratch, { recursive: true }));

const names = readdirSync(root).sort();
/** f32 weights that were changed once, relative to the largest value. */
const RELATIVE = 5e-6;

function load(name: string): Promise<Sae> {
  const { location } = JSON.parse(readFileSync(join(root, name, "case.json"), "utf8"));
  return loadSae(join(root, name, location), { transcoders: "read" });
}

const read = (dir: string) => loadSae(dir, { transcoders: "read" });

/** Why a format cannot hold an SAE; null: it can. The table of docs/formats/saes.md, said once more. */
function obstacle({ config }: Sae, to: Target): RegExp | null {
  const { architecture, normalization, output, applyBDecToInput, dIn } = config;
  const isTopk = architecture === "topk";
  if (to === "saelens") return output !== undefined && (isTopk || applyBDecToInput) ? /no transcoder/ : null;
  if (to === "sparsify" && !isTopk) return /topk SAEs/;
  if (to === "gemma-scope" && isTopk) return /jumprelu SAEs/;
  // expected_average_only_in: its scale was folded when training ended
  if (!["none", "expected_average_only_in"].includes(normalization)) return /normalised inputs/;
  if (to === "sparsify") return output !== undefined && output.dOut !== dIn ? /as many values/ : null;
  return output === undefined ? null : /transcoder/;
}

describe.each(TARGETS)("%s", (to) => {
  it.each(names)("%s is read again as it was, or refused", async (name) => {
    const sae = await load(name);
    const dir = join(scratch, to, name, "sae");
    const reason = obstacle(sae, to);
    if (reason !== null) {
      const refused = writeSae(dir, sae, to);
      await expect(refused).rejects.toThrow(UnsupportedError);
      await expect(refused).rejects.toThrow(reason);
      return expect(readdir(join(scratch, to, name))).rejects.toThrow();
    }
    const { lost } = await writeSae(dir, sae, to);
    const again = await read(dir);
    const isRounded = lost.some((what) => /rounded/.test(what));
    if (!isRounded) expectSameBits(again, sae);
    await expectSameFunction(again, sae, name);
    for (const fact of ["hookName", "modelName", "contextSize", "prependBos"] as const) {
      const value = sae.config[fact];
      const said = lost.find((what) => what.endsWith(`: ${value}`) || what.includes(`, ${value}:`)) ?? "";
      const found = again.config[fact];
      if (value === null || said.endsWith(`: ${value}`)) expect(found, fact).toBeNull();
      else if (said.startsWith("the spelling")) expect(sameHook(String(found), String(value))).toBe(true);
      else expect(found, fact).toBe(value);
    }
    expect(again.config.dtype).toBe("float32");
  });
});

it("what is written twice is the same twice, and replaces what was there", async () => {
  const sae = await load("dl-matryoshka");
  for (const to of ["saelens", "dictionary-learning", "gemma-scope"] as const) {
    const dir = join(scratch, "twice", to);
    const first = await writeSae(dir, sae, to);
    expect(await writeSae(dir, sae, to)).toEqual(first);
    await writeFile(join(dir, "notes.txt"), "mine");
    await expect(writeSae(dir, sae, to)).rejects.toThrow(StateError);
    expect(await readFile(join(dir, "notes.txt"), "utf8")).toBe("mine");
  }
});

it.each([
  ["dl-standard", "AutoEncoder"],
  ["dl-new", "AutoEncoderNew"],
  ["dl-topk", "AutoEncoderTopK"],
  ["dl-batchtopk", "BatchTopKSAE"],
  ["dl-matryoshka", "MatryoshkaBatchTopKSAE"],
  ["dl-jumprelu", "JumpReluAutoEncoder"],
])("%s goes back into its own class of dictionary_learning with nothing lost", async (name, dictClass) => {
  const sae = await load(name);
  const dir = join(scratch, "own-class", name);
  const { architecture, lost } = await writeSae(dir, sae, "dictionary-learning");
  expect(architecture).toBe(dictClass);
  expect(lost.filter((what) => !/runner_cfg/.test(what))).toEqual([]);
  const again = await loadSae(dir);
  expect(again.config).toEqual(sae.config);
  expect(again.runnerConfig).toEqual(sae.runnerConfig);
  if (sae.runnerConfig !== null) expect(warmStart(again).form).toEqual(warmStart(sae).form);
});

it("sparsify: the folder is the module, and may not name another", async () => {
  const sae = await load("sparsify");
  await writeSae(join(scratch, "modules/layers.10"), sae, "sparsify");
  expect((await loadSae(join(scratch, "modules/layers.10"))).config.hookName).toBe("layers.10");
  const asHook = { ...sae, config: { ...sae.config, hookName: "blocks.9.hook_resid_post" } };
  await expect(writeSae(join(scratch, "modules/layers.8"), asHook, "sparsify")).rejects.toThrow(
    /takes this for an SAE of that module, and it reads blocks\.9/,
  );
  const { lost } = await writeSae(join(scratch, "modules/layers.9"), asHook, "sparsify");
  expect(lost).toEqual(["the spelling of the hook point, blocks.9.hook_resid_post: it is read as layers.9"]);
});

it("sparsify: norms that select latents are moved into the encoder", async () => {
  const sae = await load("sparsify");
  const rescaled = { ...sae, config: { ...sae.config, rescaleActsByDecoderNorm: true } };
  const dir = join(scratch, "rescaled");
  const { lost } = await writeSae(dir, rescaled, "sparsify");
  expect(lost.join()).toMatch(/not rescaled there/);
  const again = await loadSae(dir);
  expect(again.config.rescaleActsByDecoderNorm).toBe(false);
  await expectSameFunction(again, rescaled, "sparsify");
});

it("Gemma Scope: the path says layer and model, and nothing wrong", async () => {
  const sae = await load("gemma-scope");
  const suite = join(scratch, "gemma-scope-2b-pt-res");
  expect((await writeSae(join(suite, "layer_12/width_16k/average_l0_82"), sae, "gemma-scope")).lost).toEqual(
    [],
  );
  await expect(writeSae(join(suite, "layer_3"), sae, "gemma-scope")).rejects.toThrow(/blocks\.3.*blocks\.12/);
  const transcoders = join(scratch, "gemma-scope-2b-pt-transcoders/layer_12");
  await expect(writeSae(transcoders, sae, "gemma-scope")).rejects.toThrow(/would be a transcoder/);
});

it("bfloat16 is what safetensors hold when asked, said to be rounded only where it is, and not NumPy's", async () => {
  const exact = await load("sparsify-bf16");
  expect((await writeSae(join(scratch, "bf16/a"), exact, "sparsify", { dtype: "bfloat16" })).lost).toEqual([
    "hook point: h.3.mlp",
  ]);
  expectSameBits(await loadSae(join(scratch, "bf16/a")), exact);
  const rounded = await writeSae(join(scratch, "bf16/b"), await load("dl-batchtopk"), "dictionary-learning", {
    dtype: "bfloat16",
  });
  expect(rounded.lost[0]).toBe("weights were rounded from float32 to bfloat16");
  const file = await openSafetensors(join(scratch, "bf16/b/ae.safetensors"));
  expect([...file.tensors.values()].map(({ name, dtype }) => [name, dtype])).toEqual([
    ["encoder.weight", "BF16"],
    ["encoder.bias", "BF16"],
    ["decoder.weight", "BF16"],
    ["b_dec", "BF16"],
    ["k", "I32"],
    ["threshold", "F32"],
  ]);
  await file.close();
  const jumprelu = await load("gemma-scope");
  await expect(
    writeSae(join(scratch, "bf16/c"), jumprelu, "gemma-scope", { dtype: "bfloat16" }),
  ).rejects.toThrow(/NumPy has no bfloat16/);
});

function expectSameBits(again: Sae, sae: Sae): void {
  for (const key of ["wEnc", "wDec", "bEnc", "bDec"] as const)
    expect(bits(again.weights[key]), key).toEqual(bits(sae.weights[key]));
  const threshold = sae.threshold ?? (again.threshold === null ? null : new Float32Array(sae.config.dSae));
  expect(again.threshold && bits(again.threshold)).toEqual(threshold && bits(threshold));
  expect(again.skip && bits(again.skip)).toEqual(sae.skip && bits(sae.skip));
}

function bits({ buffer, byteOffset, length }: Float32Array): Uint32Array {
  return new Uint32Array(buffer, byteOffset, length);
}

async function expectSameFunction(again: Sae, sae: Sae, name: string): Promise<void> {
  const x = f32(await tensors(join(root, name), "expected.safetensors"), "x");
  const [a, b] = [await outputs(again, x), await outputs(sae, x)];
  expect([...a.latents], "active latents").toEqual([...b.latents]);
  expect(b.latents.length).toBeGreaterThan(0);
  expectAllNear(a.values, b.values, RELATIVE * largest(b.values), "latents");
  expectAllNear(a.recon, b.recon, RELATIVE * largest(b.recon), "reconstruction");
}

async function outputs(sae: Sae, x: Float32Array) {
  const inference = await openInference(sae, createReferenceEngine);
  try {
    const { acts, recon } = await inference.reconstruct(x);
    return { latents: acts.latents, values: acts.values, recon };
  } finally {
    await inference.dispose();
  }
}

function largest(values: Float32Array): number {
  return values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}
