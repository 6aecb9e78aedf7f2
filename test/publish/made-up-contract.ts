/** A small made-up SAE of any architecture in a folder, with a contract as an export would write it. */
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { CONTRACT, type Contract, contractedCfg, contractText, GOLDEN } from "../../src/publish/contract.ts";
import { computeGolden, GOLDEN_MEANING, TOLERANCE, writeGolden } from "../../src/publish/golden.ts";
import { Philox } from "../../src/random/philox.ts";
import { openSae } from "../../src/sae/load.ts";
import { hashFile } from "../../src/storage/hash.ts";

export const D_IN = 11;
export const D_SAE = 40;
const WEIGHTS = "sae_weights.safetensors";

/** Tensors of an SAE, drawn: biases as `architecture` has them. */
export function madeUpTensors(architecture: string): Map<string, { shape: number[]; data: Float32Array }> {
  const draws = new Philox(3, architecture);
  let at = 0;
  const tensor = (shape: number[], scale: number, centre = 0) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return { shape, data: Float32Array.from({ length: size }, () => centre + scale * draws.normal(at++)) };
  };
  const tensors = new Map([
    ["W_enc", tensor([D_IN, D_SAE], 0.3)],
    ["W_dec", tensor([D_SAE, D_IN], 0.3)],
    ["b_dec", tensor([D_IN], 0.2)],
    [architecture === "gated" ? "b_mag" : "b_enc", tensor([D_SAE], 0.1)],
  ]);
  if (architecture === "jumprelu") tensors.set("threshold", tensor([D_SAE], 0.2, 0.4));
  if (architecture === "gated") {
    tensors.set("b_gate", tensor([D_SAE], 0.2, -0.2));
    tensors.set("r_mag", tensor([D_SAE], 0.3));
  }
  return tensors;
}

export async function writeTensors(dir: string, tensors: ReturnType<typeof madeUpTensors>): Promise<void> {
  const listed = [...tensors].map(([name, tensor]) => ({ name, dtype: "F32" as const, ...tensor }));
  await writeSafetensors(join(dir, WEIGHTS), listed);
}

/** Writes the SAE and its contract for `n` drawn inputs; `cfg` beside what every cfg.json says. Returns the inputs. */
export async function madeUpContract(
  dir: string,
  cfg: Readonly<Record<string, unknown>> & { architecture: string },
  n = 8,
): Promise<Float32Array> {
  await mkdir(dir, { recursive: true });
  await writeTensors(dir, madeUpTensors(cfg.architecture));
  const written = {
    d_in: D_IN,
    d_sae: D_SAE,
    dtype: "float32",
    device: "cpu",
    apply_b_dec_to_input: true,
    normalize_activations: "none",
    reshape_activations: "none",
    ...cfg,
    metadata: { sae_lens_version: "6.18.0", hook_name: "blocks.4.hook_resid_post", model_name: "made-up" },
  };
  await writeFile(join(dir, "cfg.json"), JSON.stringify(written));
  const draws = new Philox(5, "inputs");
  const inputs = Float32Array.from({ length: n * D_IN }, (_, i) => 2 * draws.normal(i));
  const sae = await openSae(dir);
  await writeGolden(join(dir, GOLDEN), await computeGolden(sae, inputs));
  await sae.rows.close();
  const described = ["cfg.json", WEIGHTS, GOLDEN].map(async (name) => {
    const path = join(dir, name);
    return [name, { bytes: (await stat(path)).size, sha256: await hashFile(path) }] as const;
  });
  const contract: Contract = {
    format: "lapidary-contract",
    version: 1,
    hookPoint: { name: "blocks.4.hook_resid_post", layer: 4, dIn: D_IN, semantics: "made up" },
    model: { id: "made-up", revision: null, device: null, runtime: null, files: [] },
    activationDtype: "f32",
    inputTransform: "as cfg.json says",
    cfg: contractedCfg(written),
    tokens: null,
    results: [],
    golden: {
      file: GOLDEN,
      inputs: Array.from({ length: n }, (_, row) => ({ set: "made-up", row, tokenId: 0 })),
      tolerance: TOLERANCE,
      meaning: GOLDEN_MEANING,
    },
    files: Object.fromEntries(await Promise.all(described)),
  };
  await writeFile(join(dir, CONTRACT), contractText(contract));
  return inputs;
}

/** Sets one value in a JSON file, by the keys that lead to it; undefined takes it out. */
export async function changeJson(path: string, keys: readonly string[], value: unknown): Promise<void> {
  const json: unknown = JSON.parse(await readFile(path, "utf8"));
  const inner = keys.slice(0, -1).reduce((at, key) => (at as Record<string, unknown>)[key], json);
  (inner as Record<string, unknown>)[keys[keys.length - 1]] = value;
  await writeFile(path, JSON.stringify(json));
}
