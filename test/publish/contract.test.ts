/** Contracts: what they expect is what the engine computes; what was changed is found; what was not is not. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { checkContract } from "../../src/publish/check.ts";
import { contractJsonSchema, GOLDEN, readContract } from "../../src/publish/contract.ts";
import { readGolden } from "../../src/publish/golden.ts";
import { openInference } from "../../src/sae/inference.ts";
import { loadSae } from "../../src/sae/load.ts";
import { changeJson, D_IN, D_SAE, madeUpContract, madeUpTensors, writeTensors } from "./made-up-contract.ts";

const scratch = await mkdtemp(join(tmpdir(), "contract-"));
afterAll(() => rm(scratch, { recursive: true }));
let serial = 0;
const fresh = () => join(scratch, String(serial++));

const KINDS = [
  { architecture: "standard" },
  { architecture: "standard", apply_b_dec_to_input: false, normalize_activations: "layer_norm" },
  { architecture: "jumprelu" },
  { architecture: "jumprelu", normalize_activations: "constant_norm_rescale" },
  { architecture: "topk", k: 5 },
  { architecture: "topk", k: 5, rescale_acts_by_decoder_norm: true },
  { architecture: "gated" },
];

it("contract.schema.json is fresh: `npm run schema` writes it", async () => {
  const path = fileURLToPath(new URL("../../docs/formats/contract.schema.json", import.meta.url));
  expect(await readFile(path, "utf8")).toBe(`${JSON.stringify(contractJsonSchema(), null, 2)}\n`);
});

describe.each(KINDS)("%j", (cfg) => {
  it("expects what the engine computes", async () => {
    const dir = fresh();
    const inputs = await madeUpContract(dir, cfg);
    const golden = await readGolden(join(dir, GOLDEN), { n: 8, dIn: D_IN, dSae: D_SAE });
    const inference = await openInference(await loadSae(dir), createReferenceEngine);
    const { acts, recon } = await inference.reconstruct(inputs);
    await inference.dispose();
    expect([...golden.offsets]).toEqual([...acts.offsets]);
    expect([...golden.latents]).toEqual([...acts.latents]);
    expect(golden.latents.length).toBeGreaterThan(8);
    golden.values.forEach((value, e) => {
      expect(acts.values[e]).toBeCloseTo(value, 4);
    });
    golden.reconstruction.forEach((value, e) => {
      expect(recon[e]).toBeCloseTo(value, 4);
    });
  });

  it("an untouched SAE checks, for eight inputs and for another number", async () => {
    for (const n of [8, 3, 11]) {
      const dir = fresh();
      await madeUpContract(dir, cfg, n);
      const { differences, nInputs, nLatents } = await checkContract(dir, { hashes: true });
      expect(differences).toEqual([]);
      expect(nInputs).toBe(n);
      expect(nLatents).toBeGreaterThan(0);
    }
  });

  it("a flipped weight that the inputs use is found without hashes", async () => {
    const dir = fresh();
    await madeUpContract(dir, cfg);
    const { latents } = await readGolden(join(dir, GOLDEN), { n: 8, dIn: D_IN, dSae: D_SAE });
    for (const [name, at] of [
      ["W_enc", 7 * D_SAE + latents[0]],
      ["W_dec", latents[0] * D_IN + 3],
    ] as const) {
      const tensors = madeUpTensors(cfg.architecture);
      const { data } = tensors.get(name)!;
      data[at] = -data[at];
      await writeTensors(dir, tensors);
      const what = name === "W_enc" ? `latent ${latents[0]}` : "reconstruction [3]";
      const found = (await checkContract(dir)).differences.map((difference) => difference.what);
      expect(found).toContainEqual(expect.stringContaining(what));
    }
  });
});

it("other thresholds are found, and a weight that is no number", async () => {
  const dir = fresh();
  await madeUpContract(dir, { architecture: "jumprelu" });
  const tensors = madeUpTensors("jumprelu");
  const { data } = tensors.get("threshold")!;
  data.set(data.map((threshold) => threshold * 1.5));
  await writeTensors(dir, tensors);
  expect((await checkContract(dir)).differences).toContainEqual(
    expect.objectContaining({ found: "not active" }),
  );
  const broken = madeUpTensors("jumprelu");
  broken.get("W_enc")!.data[5] = Number.NaN;
  await writeTensors(dir, broken);
  expect((await checkContract(dir)).differences).toEqual([
    { what: "latent 5: pre-activation", expected: "finite", found: Number.NaN },
  ]);
});

it("a latent at its threshold may go either way, one beyond the tolerance not", async () => {
  const dir = fresh();
  await madeUpContract(dir, { architecture: "jumprelu" });
  const { latents, values } = await readGolden(join(dir, GOLDEN), { n: 8, dIn: D_IN, dSae: D_SAE });
  const largest = Math.max(...values);
  const smallest = values.reduce((least, value, e) => (value < values[least] ? e : least), 0);
  const withThreshold = async (threshold: number) => {
    const tensors = madeUpTensors("jumprelu");
    tensors.get("threshold")!.data[latents[smallest]] = threshold;
    await writeTensors(dir, tensors);
    return (await checkContract(dir)).differences;
  };
  expect(await withThreshold(values[smallest] + 1e-6 * largest)).toEqual([]);
  expect(await withThreshold(values[smallest] + 1e-2 * largest)).not.toEqual([]);
});

it.each([
  ["a flag", ["apply_b_dec_to_input"], false],
  ["the hook point", ["metadata", "hook_name"], "blocks.5.hook_resid_post"],
  ["a key that was not there", ["metadata", "prepend_bos"], false],
  ["a key that is gone", ["normalize_activations"], undefined],
])("another cfg.json is found: %s", async (_, keys, value) => {
  const dir = fresh();
  await madeUpContract(dir, { architecture: "jumprelu" });
  await changeJson(join(dir, "cfg.json"), keys, value);
  expect((await checkContract(dir)).differences).toMatchObject([{ what: `cfg.json: ${keys.join(".")}` }]);
});

it("hashes see what no golden input uses; cfg.json may be laid out otherwise without them", async () => {
  const dir = fresh();
  await madeUpContract(dir, { architecture: "topk", k: 1 }, 2);
  const { latents } = await readGolden(join(dir, GOLDEN), { n: 2, dIn: D_IN, dSae: D_SAE });
  const unused = [...Array(D_SAE).keys()].find((j) => !latents.includes(j))!;
  const tensors = madeUpTensors("topk");
  tensors.get("W_dec")!.data[unused * D_IN] += 1;
  await writeTensors(dir, tensors);
  await changeJson(join(dir, "cfg.json"), ["metadata", "note"], "free");
  expect((await checkContract(dir)).differences).toEqual([]);
  const { differences } = await checkContract(dir, { hashes: true });
  expect(differences.map(({ what }) => what)).toEqual([
    "cfg.json: bytes",
    "sae_weights.safetensors: sha-256",
  ]);
});

it("a golden vector that was changed, a file that is gone, a contract that is none", async () => {
  const dir = fresh();
  await madeUpContract(dir, { architecture: "standard" });
  const contract = join(dir, "contract.json");
  const other = { bytes: 3, sha256: "0".repeat(64) };
  const { bytes } = (await readContract(dir)).files[GOLDEN];
  await changeJson(contract, ["files", GOLDEN], { ...other, bytes });
  await changeJson(contract, ["files", "runner_cfg.json"], other);
  expect((await checkContract(dir)).differences.map(({ what }) => what)).toEqual([
    `${GOLDEN}: sha-256`,
    "runner_cfg.json",
  ]);
  await changeJson(contract, ["files", "../escaped"], other);
  await expect(readContract(dir)).rejects.toThrow(/contract\.json: not a contract: files/);
  await expect(checkContract(scratch)).rejects.toThrow(/no such file/);
});
