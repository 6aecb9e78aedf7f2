/**
 * Real SAELens saves, old and new: what `SAE.load_from_disk` made of cfg.json, what encode and decode gave, and that
 * saving and loading again loses no bit.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { UnsupportedError } from "../../src/errors.ts";
import { openInference } from "../../src/sae/inference.ts";
import { loadSae } from "../../src/sae/load.ts";
import type { Sae } from "../../src/sae/sae.ts";
import { saelensArchitecture, saveSae } from "../../src/sae/save.ts";
import { warmStart } from "../../src/sae/warm-start.ts";
import { type Case, countAbsent, f32, type InferenceManifest, inferenceCases, tensors } from "./cases.ts";
import { expectAllNear, largest } from "./closeness.ts";
import { availableEngines, countAbsentEngines } from "./engines.ts";

const ARCHITECTURES = [
  "standard",
  "topk",
  "jumprelu",
  "gated",
  "transcoder",
  "skip_transcoder",
  "jumprelu_transcoder",
];
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
  for (const architecture of ARCHITECTURES)
    countAbsent(
      `save of ${architecture}`,
      cases.filter(({ manifest }) => manifest.architecture === architecture),
    );
  for (const found of cases)
    describe(`${found.name} (${found.manifest.architecture})`, () => {
      isRun(found);
      if (found.manifest.architecture.endsWith("transcoder")) isNoSae(found);
    });
});

function isNoSae({ dir }: Case<InferenceManifest>): void {
  it("is refused where an SAE is needed, and where training would start from it", async () => {
    await expect(loadSae(join(dir, "sae"))).rejects.toThrow(/transcoder.*hook_mlp_out/);
    const transcoder = await load(join(dir, "sae"));
    expect(() => warmStart(transcoder, { k: 3, widths: [96] })).toThrow(UnsupportedError);
  });
}

const load = (dir: string) => loadSae(dir, { transcoders: "read" });

function isRun({ name, dir, manifest }: Case<InferenceManifest>): void {
  it("says what SAELens reads from cfg.json", async () => {
    const sae = await load(join(dir, "sae"));
    const { config } = sae;
    expect(sae.origin?.architecture).toBe(manifest.architecture);
    const loaded = manifest.loaded_cfg;
    expect({
      architecture: isGated(manifest) ? "gated" : saelensArchitecture(sae),
      d_in: config.dIn,
      ...(config.output === undefined ? {} : { d_out: config.output.dOut }),
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
        "d_out",
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
    expect(config.output?.hookName).toBe(metadata.hook_name_out);
    if (isGated(manifest)) expect(config.architecture).toBe("jumprelu");
  });

  for (const engine of engines)
    it(`encodes and decodes the same on ${engine.name}`, async () => {
      const sae = await load(join(dir, "sae"));
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
    const sae = await load(join(dir, "sae"));
    const sparsity = new Float32Array(sae.config.dSae).fill(-2.5);
    await saveSae(join(scratch, name), sae, { sparsity });
    expectSame(await load(join(scratch, name)), sae);
  });
}

/** Held, and written again, as the jumprelu SAE that it is. */
function isGated({ architecture }: InferenceManifest): boolean {
  return architecture === "gated";
}

function expectSame(got: Sae, wanted: Sae): void {
  expect(got.weights).toEqual(wanted.weights);
  expect(got.threshold).toEqual(wanted.threshold);
  expect(got.skip).toEqual(wanted.skip);
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
