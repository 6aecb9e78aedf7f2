/**
 * SAEs as other libraries lay them down (`test/fixtures/foreign/make_saes.py`): what is found out about each, and that
 * encode and decode give what the publisher's own definition gives in float64. Cases are found by their case.json, here or
 * in the folder that LAPIDARY_FOREIGN names.
 */
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { UnsupportedError } from "../../src/errors.ts";
import { wholeWeights } from "../../src/kernels/weight-rows.ts";
import { openInference } from "../../src/sae/inference.ts";
import { loadSae, loadSaeFacts, openSae } from "../../src/sae/load.ts";
import type { Sae, SaeConfig } from "../../src/sae/sae.ts";
import { saveSae } from "../../src/sae/save.ts";
import { openWarmStart, warmStart } from "../../src/sae/warm-start.ts";
import { f32, f64, tensors } from "./cases.ts";
import { expectAllNear } from "./closeness.ts";
import { availableEngines } from "./engines.ts";

const root = resolve(
  process.env.LAPIDARY_FOREIGN ?? fileURLToPath(new URL("../fixtures/foreign/saes", import.meta.url)),
);
const scratch = await mkdtemp(join(tmpdir(), "foreign-"));
afterAll(() => rm(scratch, { recursive: true }));
const engines = await availableEngines();

/** f32 weights and sums against f64, relative to the largest value. */
const RELATIVE = 5e-6;

interface ForeignCase extends Partial<SaeConfig> {
  readonly location: string;
  readonly dialect: string;
  /** what a warm start takes from it, where it takes anything */
  readonly continues?: { readonly k: number; readonly widths: readonly number[] };
}

const names = readdirSync(root).sort();
it("finds cases", () => expect(names.length).toBeGreaterThan(20));

for (const name of names) {
  const folder = join(root, name);
  const { location, dialect, continues, ...facts } = JSON.parse(
    readFileSync(join(folder, "case.json"), "utf8"),
  ) as ForeignCase;
  const load = () => loadSae(join(folder, location), { transcoders: "read" });

  describe(name, () => {
    it("is recognised, and says what its files say", async () => {
      const { config, origin } = await load();
      expect(origin?.dialect).toBe(dialect);
      const { k = null, ...rest } = facts;
      expect(config).toMatchObject({ ...rest, k });
      expect(config.output).toEqual(facts.output);
    });

    for (const engine of engines)
      it(`encodes and decodes as its publisher defines it, on ${engine.name}`, async () => {
        const io = await tensors(folder, "expected.safetensors");
        await expectDefinition(await load(), io, engine.create);
      });

    it("does so after being written as SAELens writes, where SAELens has such a thing", async () => {
      const sae = await load();
      const isNoSaelens = sae.config.output !== undefined && sae.config.architecture === "topk";
      const copy = join(scratch, name);
      if (isNoSaelens) return expect(saveSae(copy, sae)).rejects.toThrow(UnsupportedError);
      await saveSae(copy, sae);
      const io = await tensors(folder, "expected.safetensors");
      await expectDefinition(await loadSae(copy, { transcoders: "read" }), io, engines[0].create);
    });

    if (facts.output !== undefined)
      it("is refused where an SAE is needed", () =>
        expect(loadSae(join(folder, location))).rejects.toThrow(/transcoder/));
    else
      it("is described without its matrices as it is with them", async () => {
        const { config, runnerConfig } = await load();
        expect(await loadSaeFacts(join(folder, location))).toEqual({ config, runnerConfig });
      });

    if (continues !== undefined)
      it("can be trained on with its own k and widths", async () => {
        const { form, threshold } = warmStart(await load());
        expect(form).toMatchObject({
          ...continues,
          selection: "batch-topk",
          rescaleActsByDecoderNorm: false,
        });
        expect(threshold).toBeCloseTo(0.4, 6);
        const { rows, ...start } = await openWarmStart(await openSae(join(folder, location)));
        expect(start.form).toEqual(form);
        expect(await wholeWeights(rows)).toEqual((await load()).weights);
        await rows.close();
      });
  });
}

async function expectDefinition(
  sae: Sae,
  io: Awaited<ReturnType<typeof tensors>>,
  createEngine: (typeof engines)[number]["create"],
): Promise<void> {
  const { dSae } = sae.config;
  const inference = await openInference(sae, createEngine);
  try {
    const { acts, recon } = await inference.reconstruct(f32(io, "x"));
    const dense = new Float32Array(acts.nTokens * dSae);
    for (let t = 0; t < acts.nTokens; t++)
      for (let e = acts.offsets[t]; e < acts.offsets[t + 1]; e++)
        dense[t * dSae + acts.latents[e]] = acts.values[e];
    const latents = Float32Array.from(f64(io, "latents"));
    const expected = Float32Array.from(f64(io, "recon"));
    expect(active(dense), "active latents").toEqual(active(latents));
    expect(active(latents).length, "some fire, some do not").toBeGreaterThan(0);
    expect(active(latents).length).toBeLessThan(latents.length);
    expectAllNear(dense, latents, RELATIVE * largest(latents), "latents");
    expectAllNear(recon, expected, RELATIVE * largest(expected), "reconstruction");
  } finally {
    await inference.dispose();
  }
}

function active(values: Float32Array): number[] {
  return [...values.keys()].filter((i) => values[i] !== 0);
}

function largest(values: Float32Array): number {
  return values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}
