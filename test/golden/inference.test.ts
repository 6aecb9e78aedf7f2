/**
 * Real SAELens saves, old and new: what `SAE.load_from_disk` made of cfg.json, what encode and decode gave, and that
 * saving and loading again loses no bit. Architectures that Lapidary does not run must be refused by name.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { UnsupportedError } from "../../src/errors.ts";
import { openInference } from "../../src/sae/inference.ts";
import { loadSae } from "../../src/sae/load.ts";
import type { Sae } from "../../src/sae/sae.ts";
import { saveSae } from "../../src/sae/save.ts";
import { type Case, countAbsent, f32, type InferenceManifest, inferenceCases, tensors } from "./cases.ts";
import { expectAllNear, largest } from "./closeness.ts";
import { availableEngines, countAbsentEngines } from "./engines.ts";

const RUN = ["standard", "topk", "jumprelu"];
const cases = inferenceCases();
const engines = await availableEngines();
const scratch = await mkdtemp(join(tmpdir(), "golden-"));
afterAll(() => rm(scratch, { recursive: true }));

/**
 * Of a tensor's largest magnitude. The goldens are float32 themselves: their own distance from float64
 * (`checks.*_maxdiff_fp64`) is up to 4e-7 of it.
 */
const RELATIVE = 5e-6;

describe("SAELens saves", () => {
  countAbsentEngines(engines);
  for (const architecture of RUN)
    countAbsent(
      `save of ${architecture}`,
      cases.filter(({ manifest }) => manifest.architecture === architecture),
    );
  for (const found of cases) {
    const { architecture } = found.manifest;
    describe(`${found.name} (${architecture})`, () =>
      RUN.includes(architecture) ? isRun(found) : isRefused(found));
  }
});

function isRefused({ dir }: Case<InferenceManifest>): void {
  it("is refused by name", async () => {
    await expect(loadSae(join(dir, "sae"))).rejects.toThrow(UnsupportedError);
  });
}

function isRun({ name, dir, manifest }: Case<InferenceManifest>): void {
  it("says what SAELens reads from cfg.json", async () => {
    const { config } = await loadSae(join(dir, "sae"));
    const loaded = manifest.loaded_cfg;
    expect({
      architecture: config.architecture,
      d_in: config.dIn,
      d_sae: config.dSae,
      apply_b_dec_to_input: config.applyBDecToInput,
      normalize_activations: config.normalization,
      reshape_activations: config.reshape,
      ...(config.k === null
        ? {}
        : { k: config.k, rescale_acts_by_decoder_norm: config.rescaleActsByDecoderNorm }),
    }).toEqual(
      pick(loaded, [
        "architecture",
        "d_in",
        "d_sae",
        "apply_b_dec_to_input",
        "normalize_activations",
        "reshape_activations",
        "k",
        "rescale_acts_by_decoder_norm",
      ]),
    );
    const {
      sae_lens_version: _,
      sae_lens_training_version: __,
      ...metadata
    } = loaded.metadata as Record<string, unknown>;
    expect(config.metadata).toMatchObject(metadata);
    expect(config.hookName).toBe(metadata.hook_name ?? null);
  });

  for (const engine of engines)
    it(`encodes and decodes the same on ${engine.name}`, async () => {
      const sae = await loadSae(join(dir, "sae"));
      const io = await tensors(dir, manifest.files.io.file);
      const x = f32(io, "input");
      const inference = await openInference(sae, engine.create);
      const { acts, recon } = await inference.reconstruct(x);
      const dense = new Float32Array(acts.nTokens * sae.config.dSae);
      for (let t = 0; t < acts.nTokens; t++)
        for (let e = acts.offsets[t]; e < acts.offsets[t + 1]; e++)
          dense[t * sae.config.dSae + acts.latents[e]] = acts.values[e];
      const features = f32(io, "features");
      expect(active(dense), "active latents").toEqual(active(features));
      expectAllNear(dense, features, RELATIVE * largest(features), "features");
      const decoded = f32(io, "decoded");
      expectAllNear(await inference.decode(acts, x), decoded, RELATIVE * largest(decoded), "decoded");
      expectAllNear(recon, f32(io, "forward"), RELATIVE * largest(decoded), "forward");
      await inference.dispose();
    });

  it("comes back from saving and loading bit for bit", async () => {
    const sae = await loadSae(join(dir, "sae"));
    const sparsity = new Float32Array(sae.config.dSae).fill(-2.5);
    await saveSae(join(scratch, name), sae, { sparsity });
    expectSame(await loadSae(join(scratch, name)), sae);
  });
}

function expectSame(got: Sae, wanted: Sae): void {
  expect(got.weights).toEqual(wanted.weights);
  expect(got.threshold).toEqual(wanted.threshold);
  expect(got.runnerConfig).toEqual(wanted.runnerConfig);
  const { metadata, ...config } = wanted.config;
  expect(got.config).toMatchObject({ ...config, dtype: "float32" });
  expect(got.config.metadata).toMatchObject({ ...metadata, sae_lens_version: "6.18.0" });
}

function pick(from: Readonly<Record<string, unknown>>, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(keys.filter((key) => key in from).map((key) => [key, from[key]]));
}

function active(values: Float32Array): number[] {
  return [...values.keys()].filter((i) => values[i] !== 0);
}
