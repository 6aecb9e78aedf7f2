/** The SAELens directory at its edges: what is refused, what is widened, and that writing is whole or not at all. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { FormatError, StateError, UnsupportedError } from "../errors.ts";
import { Philox } from "../random/philox.ts";
import { f32ToBf16, f32ToF16 } from "../tensor/half.ts";
import { readSaelens, readSparsity, type SaelensDirectory, writeSaelens } from "./saelens.ts";
import type { SaelensConfig } from "./saelens-config.ts";
import { parseConfig } from "./saelens-config.ts";
import { openSafetensors, type TensorToWrite, writeSafetensors } from "./safetensors.ts";

const root = await mkdtemp(join(tmpdir(), "saelens-"));
afterAll(() => rm(root, { recursive: true }));
let serial = 0;
const fresh = () => join(root, String(serial++));

const dIn = 5;
const dSae = 131; // more than a tile of the transposition, and no multiple of it

function numbers(n: number, purpose: string): Float32Array {
  const stream = new Philox(1, purpose);
  return Float32Array.from({ length: n }, (_, i) => stream.normal(i));
}

const config: SaelensConfig = {
  architecture: "jumprelu",
  dIn,
  dSae,
  dOut: null,
  dtype: "float32",
  applyBDecToInput: true,
  normalization: "none",
  reshape: "none",
  k: null,
  rescaleActsByDecoderNorm: false,
  training: null,
  metadata: { hook_name: "model.layers.4", model_name: "m", extra: { kept: true } },
};

const content: SaelensDirectory = {
  config,
  wEnc: numbers(dSae * dIn, "wEnc"),
  wDec: numbers(dSae * dIn, "wDec"),
  bEnc: numbers(dSae, "bEnc"),
  bDec: numbers(dIn, "bDec"),
  threshold: numbers(dSae, "threshold"),
  gate: null,
  skip: null,
  topkThreshold: null,
  runnerConfig: { sae: { k: 3 } },
};

const CFG = {
  architecture: "jumprelu",
  d_in: dIn,
  d_sae: dSae,
  dtype: "float32",
  metadata: { sae_lens_version: "6.18.0" },
};

function tensorList(): TensorToWrite[] {
  return [
    { name: "W_enc", dtype: "F32", shape: [dIn, dSae], data: numbers(dIn * dSae, "W_enc") },
    { name: "W_dec", dtype: "F32", shape: [dSae, dIn], data: content.wDec },
    { name: "b_enc", dtype: "F32", shape: [dSae], data: content.bEnc },
    { name: "b_dec", dtype: "F32", shape: [dIn], data: content.bDec },
    { name: "threshold", dtype: "F32", shape: [dSae], data: numbers(dSae, "threshold") },
  ];
}

async function directory(cfg: unknown, tensors: TensorToWrite[] = tensorList()): Promise<string> {
  const dir = fresh();
  await mkdir(dir);
  await writeFile(join(dir, "cfg.json"), typeof cfg === "string" ? cfg : JSON.stringify(cfg));
  await writeSafetensors(join(dir, "sae_weights.safetensors"), tensors);
  return dir;
}

describe("writing", () => {
  it("gives back every bit, and W_enc is the transposed encoder", async () => {
    const dir = fresh();
    const sparsity = numbers(dSae, "sparsity");
    await writeSaelens(dir, content, { sparsity });
    const back = await readSaelens(dir);
    for (const name of ["wEnc", "wDec", "bEnc", "bDec", "threshold", "runnerConfig"] as const)
      expect(back[name], name).toEqual(content[name]);
    expect(await readSparsity(dir, dSae)).toEqual(sparsity);
    const file = await openSafetensors(join(dir, "sae_weights.safetensors"));
    expect(file.tensors.get("W_enc")?.shape).toEqual([dIn, dSae]);
    const wEnc = await file.readF32("W_enc");
    expect(wEnc[3 * dSae + 100]).toBe(content.wEnc[100 * dIn + 3]);
    await file.close();
  });

  it("has every key that SAELens 6.18 writes, and the source's metadata", async () => {
    const dir = fresh();
    await writeSaelens(dir, content);
    const cfg = JSON.parse(await readFile(join(dir, "cfg.json"), "utf8"));
    expect(Object.keys(cfg).sort()).toEqual(
      [
        "apply_b_dec_to_input",
        "architecture",
        "d_in",
        "d_sae",
        "device",
        "dtype",
        "metadata",
        "normalize_activations",
        "reshape_activations",
      ].sort(),
    );
    expect(cfg.metadata).toMatchObject({
      sae_lens_version: "6.18.0",
      hook_name: "model.layers.4",
      extra: { kept: true },
      seqpos_slice: [null],
    });
  });

  it("writes bf16 if asked, and says so in cfg.json", async () => {
    const dir = fresh();
    await writeSaelens(dir, content, { dtype: "bfloat16" });
    const back = await readSaelens(dir);
    expect(back.config.dtype).toBe("bfloat16");
    for (let i = 0; i < dSae * dIn; i++)
      expect(Math.abs(back.wEnc[i] - content.wEnc[i])).toBeLessThanOrEqual(Math.abs(content.wEnc[i]) / 256);
  });

  it("replaces an SAE, never anything else, and leaves no traces when it fails", async () => {
    const dir = fresh();
    await writeSaelens(dir, content, { sparsity: numbers(dSae, "old") });
    await writeSaelens(dir, { ...content, runnerConfig: null });
    expect((await readdir(dir)).sort()).toEqual(["cfg.json", "sae_weights.safetensors"]);

    await writeFile(join(dir, "thesis.tex"), "");
    await expect(writeSaelens(dir, content)).rejects.toThrow(StateError);

    const failing = fresh();
    await expect(writeSaelens(failing, content, { sparsity: new Float32Array(3) })).rejects.toThrow(
      "sparsity",
    );
    expect((await readdir(root)).filter((name) => name.startsWith(failing.slice(root.length + 1)))).toEqual(
      [],
    );
  });
});

describe("reading", () => {
  it("knows torch's spelling of dtypes and widens what is stored narrower or wider", async () => {
    const wEnc = numbers(dIn * dSae, "W_enc");
    const [, wDec, bEnc, bDec, threshold] = tensorList();
    const dir = await directory({ ...CFG, dtype: "torch.bfloat16" }, [
      { name: "W_enc", dtype: "BF16", shape: [dIn, dSae], data: f32ToBf16(wEnc) },
      { ...wDec, dtype: "F64", data: Float64Array.from(content.wDec) },
      { ...bEnc, dtype: "F16", data: f32ToF16(content.bEnc) },
      bDec,
      threshold,
    ]);
    const back = await readSaelens(dir);
    expect(back.config.dtype).toBe("bfloat16");
    expect(back.wDec).toEqual(content.wDec);
    expect(back.wEnc[7 * dIn + 2]).toBeCloseTo(wEnc[2 * dSae + 7], 1);
    expect(back.bEnc[9]).toBeCloseTo(content.bEnc[9], 2);
  });

  it("drops a scaling_factor of ones, as SAELens does", async () => {
    const ones: TensorToWrite = {
      name: "scaling_factor",
      dtype: "F32",
      shape: [dSae],
      data: new Float32Array(dSae).fill(1),
    };
    expect((await readSaelens(await directory(CFG, [...tensorList(), ones]))).config.dSae).toBe(dSae);
    const twos = { ...ones, data: new Float32Array(dSae).fill(2) };
    await expect(readSaelens(await directory(CFG, [...tensorList(), twos]))).rejects.toThrow(
      /scaling_factor/,
    );
  });

  const changed = (name: string, change: Partial<TensorToWrite>) =>
    tensorList().map((tensor) => (tensor.name === name ? { ...tensor, ...change } : tensor));
  const damaged = numbers(dSae, "threshold");
  damaged[17] = Number.NaN;

  const refusals: [string, unknown, TensorToWrite[], RegExp][] = [
    ["a missing threshold", CFG, tensorList().slice(0, 4), /missing.*threshold/],
    ["an extra tensor", { ...CFG, architecture: "standard" }, tensorList(), /"threshold" does not belong/],
    ["a wrong shape", { ...CFG, d_in: 6 }, tensorList(), /\[5, 131\], cfg.json asks for \[6, 131\]/],
    ["a scalar threshold", CFG, changed("threshold", { shape: [], data: Float32Array.of(1) }), /shape \[\]/],
    ["a value that is not finite", CFG, changed("threshold", { data: damaged }), /NaN \(value 17/],
    [
      "a value too large for float32",
      CFG,
      changed("b_enc", { dtype: "F64", data: new Float64Array(dSae).fill(1e300) }),
      /Infinity/,
    ],
    ["integers", CFG, changed("b_enc", { dtype: "I32", data: new Int32Array(dSae) }), /I32/],
    ["a dtype it cannot hold", { ...CFG, dtype: "float8_e4m3fn" }, tensorList(), /float8/],
    ["no dtype", { ...CFG, dtype: undefined }, tensorList(), /"dtype" is missing/],
    [
      "no architecture in a 6.x file",
      { ...CFG, architecture: undefined },
      tensorList(),
      /"architecture" is missing/,
    ],
    ["an unknown architecture", { ...CFG, architecture: "crosscoder" }, tensorList(), /crosscoder/],
    ["a gated SAE without its gate", { ...CFG, architecture: "gated" }, tensorList(), /b_gate, b_mag, r_mag/],
    [
      "a transcoder that subtracts its output's bias from its input",
      { ...CFG, architecture: "transcoder", d_out: 8 },
      tensorList(),
      /apply_b_dec_to_input/,
    ],
    [
      "an unknown normalisation",
      { ...CFG, normalize_activations: "l2" },
      tensorList(),
      /"l2", expected one of/,
    ],
    ["a normalisation of null in a 6.x file", { ...CFG, normalize_activations: null }, tensorList(), /null/],
    ["a flag that is text", { ...CFG, apply_b_dec_to_input: "yes" }, tensorList(), /true or false/],
    ["hook_z without a hook_z hook", { ...CFG, reshape_activations: "hook_z" }, tensorList(), /ending in _z/],
    [
      "a version that is none",
      { ...CFG, metadata: { sae_lens_version: "new" } },
      tensorList(),
      /sae_lens_version/,
    ],
    ["text that is not JSON", "{", tensorList(), /not JSON/],
    ["a list", [], tensorList(), /not a JSON object/],
    [
      "an old activation function that SAELens 6 would ignore",
      { ...CFG, metadata: {}, activation_fn_str: "tanh-relu" },
      tensorList(),
      /tanh-relu/,
    ],
    [
      "an old topk without k",
      { ...CFG, metadata: {}, activation_fn_str: "topk" },
      tensorList().slice(0, 4),
      /activation_fn_kwargs.k/,
    ],
    [
      "topk with k beyond d_sae",
      { ...CFG, architecture: "topk", k: 132 },
      tensorList().slice(0, 4),
      /k is 132/,
    ],
  ];
  for (const [what, cfg, tensors, message] of refusals)
    it(`refuses ${what}`, async () => {
      const dir = await directory(cfg, tensors);
      const error = await readSaelens(dir).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      expect(error instanceof FormatError || error instanceof UnsupportedError).toBe(true);
      expect(String(error)).toMatch(message);
      expect(String(error)).toContain(dir);
    });

  it("refuses a folder without an SAE", async () => {
    await expect(readSaelens(join(root, "nowhere"))).rejects.toThrow(/cfg.json: no such file/);
  });
});

describe("keys of old files in a file of SAELens 6", () => {
  const cfg = (more: object) => ({
    architecture: "standard",
    d_in: 4,
    d_sae: 8,
    dtype: "float32",
    metadata: { sae_lens_version: "6.18.0" },
    ...more,
  });

  it.each([
    [{ finetuning_scaling_factor: true }, /finetuning_scaling_factor true beside architecture "standard"/],
    [{ activation_fn_str: "tanh-relu" }, /activation function "tanh-relu"/],
    [{ activation_fn: "topk", activation_fn_kwargs: { k: 2 } }, /activation function "topk" beside/],
  ])("%j: refused, where SAELens would not look at it", (more, message) => {
    expect(() => parseConfig("cfg.json", cfg(more))).toThrow(message);
  });

  it("that change nothing are passed over", () => {
    const plain = parseConfig("cfg.json", cfg({}));
    const more = { finetuning_scaling_factor: false, activation_fn_str: "relu", neuronpedia_id: null };
    expect(parseConfig("cfg.json", cfg(more))).toEqual(plain);
  });
});
