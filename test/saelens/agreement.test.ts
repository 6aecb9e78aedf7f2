/**
 * What Lapidary writes, loaded by the real SAELens: every architecture, normalisation and dtype it can write, the SAEs of
 * whole runs, and what a hub serves after `publish`. Encode and decode must agree to 1e-5. Skipped, visibly, unless
 * LAPIDARY_PEER_PYTHON names a Python that has torch, safetensors and sae_lens (6.18 or later); a run of all of it takes
 * a few minutes.
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openActivationStore } from "../../src/activations/store.ts";
import type { EngineFactory, SparseActs } from "../../src/kernels/kernels.ts";
import { Philox } from "../../src/random/philox.ts";
import { openInference } from "../../src/sae/inference.ts";
import { loadSae, loadSparsity } from "../../src/sae/load.ts";
import type { Sae } from "../../src/sae/sae.ts";
import { saelensArchitecture, saveSae } from "../../src/sae/save.ts";
import { goldenFolder } from "../golden/cases.ts";
import { availableEngines } from "../golden/engines.ts";
import { HubServer } from "../hub-server.ts";
import { commandLine } from "../run/command-line.ts";
import { smallRecipe, smallRun } from "../run/small-recipe.ts";
import { type Outputs, SaeLens } from "./python.ts";

const python = process.env["LAPIDARY_PEER_PYTHON"] ?? "";
/** Of the largest value of a row. */
const RELATIVE = 1e-5;
const FOREIGN = fileURLToPath(new URL("../fixtures/foreign/saes", import.meta.url));
const HEADS = 2;
/** Held-out sets as in every small run; no gate, no domains, nothing spliced. */
const { eval: evaluation, corpus } = smallRecipe(join(tmpdir(), "beside")) as {
  eval: object;
  corpus: object;
};
const SMALL_EVAL = { ...evaluation, tokens: 300, domains: [], splice: null };

interface Figures {
  readonly what: string;
  readonly architecture: string;
  readonly features: number;
  readonly decoded: number;
  /** latents at their threshold, active on one side alone */
  readonly ties: number;
}

describe.skipIf(python === "")("the real SAELens (LAPIDARY_PEER_PYTHON)", () => {
  vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });
  let engine: EngineFactory;
  let saelens: SaeLens;
  let hub: HubServer;
  let scratch: string;
  const figures: Figures[] = [];

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "agreement-"));
    hub = await HubServer.start();
    engine = (await availableEngines()).at(-1)!.create;
    saelens = await SaeLens.start(python, {
      HF_ENDPOINT: hub.url,
      HF_HOME: join(scratch, "hf"),
      HF_HUB_OFFLINE: "0",
    });
  });
  afterAll(async () => {
    await saelens?.close();
    await hub?.close();
    await rm(scratch, { recursive: true, force: true });
    const worst = (what: "features" | "decoded") => Math.max(0, ...figures.map((each) => each[what]));
    const kinds = [...new Set(figures.map(({ architecture }) => architecture))].sort().join(", ");
    console.info(
      `SAELens ${saelens?.version}: ${figures.length} comparisons (${kinds}); worst encode ${worst("features").toExponential(1)}, decode ${worst("decoded").toExponential(1)} of a row's largest value; ${figures.reduce((sum, { ties }) => sum + ties, 0)} latents at their threshold`,
    );
  });

  /** Ours and theirs on the same rows. */
  async function expectAgreement(
    what: string,
    dir: string,
    x: Float32Array,
    theirs?: Outputs,
  ): Promise<void> {
    const sae = await loadSae(dir, { transcoders: "read" });
    const { dIn, reshape } = sae.config;
    const shape = reshape === "hook_z" ? [HEADS, dIn / HEADS] : [dIn];
    const found = theirs ?? (await saelens.compute({ load: dir }, x, shape));
    const inference = await openInference(sae, engine);
    const { acts, recon } = await inference.reconstruct(x);
    const { differs: features, ties } = compareFeatures(acts, found.features, sae);
    const decoded = ties === 0 ? compareRows(recon, found.forward, acts.nTokens) : 0;
    const alone = ties === 0 ? compareRows(await inference.decode(acts, x), found.decoded, acts.nTokens) : 0;
    await inference.dispose();
    figures.push({
      what,
      architecture: found.architecture,
      features,
      decoded: Math.max(decoded, alone),
      ties,
    });
    expect(found.architecture).toBe(saelensArchitecture(sae));
    expect(acts.latents.length).toBeGreaterThan(0);
    expect(features, "encode").toBeLessThan(RELATIVE);
    expect(decoded, "forward").toBeLessThan(RELATIVE);
    expect(alone, "decode").toBeLessThan(RELATIVE);
  }

  describe("loads what is written of every SAE that is read:", () => {
    it("finds sources", () => expect(sources().length).toBeGreaterThan(40));
    for (const { name, location } of sources())
      for (const dtype of ["float32", "bfloat16"] as const)
        it(`${name}, ${dtype}`, async (test) => {
          const sae = await loadSae(location, { transcoders: "read" });
          const dir = join(scratch, `${name.replaceAll("/", "-")}-${dtype}`);
          const { architecture, output, applyBDecToInput } = sae.config;
          if (output !== undefined && (architecture === "topk" || applyBDecToInput))
            return test.skip(
              "SAELens has no such transcoder: refused, as test/golden/written-saes.test.ts says",
            );
          const written = saelensArchitecture(sae);
          if (!saelens.architectures.includes(written))
            return test.skip(`SAELens ${saelens.version} has no ${written} yet`);
          await saveSae(dir, sae, { dtype });
          await expectAgreement(`${name}, ${dtype}`, dir, randomRows(sae.config.dIn, 40, 4));
        });
  });

  describe("loads what runs export:", () => {
    const scratchRule = (architecture: string, train: object, rest: object = {}) => ({
      sae: { scratch: { dSae: 128, architecture, ...rest } },
      corpus: { ...corpus, tokens: 1500 },
      baseModel: null,
      engine: "reference",
      polish: { when: "never" },
      output: { id: "sae-{layer}" },
      train: { epochs: 4, batchTokens: 256, lr: 2e-3, resampling: null, ...train },
    });
    const RUNS: [name: string, changes: Record<string, unknown>][] = [
      ["matryoshka batch-topk, warm start and polish", {}],
      [
        "calibrated thresholds, latent by latent",
        {
          polish: { when: "never" },
          train: { k: 32, epochs: 1, batchTokens: 256, lr: 4e-4, threshold: "calibrated-per-latent" },
        },
      ],
      ["batchtopk from scratch", { ...scratchRule("batchtopk", { k: 16 }), engine: "auto" }],
      ["topk from scratch", { ...scratchRule("topk", { k: 16 }), engine: "auto" }],
      ["standard from scratch", scratchRule("standard", {}, { standard: { coefficient: 0.05 } })],
      ["gated from scratch", scratchRule("gated", {}, { gated: { coefficient: 0.05 } })],
      ["jumprelu from scratch", scratchRule("jumprelu", {}, { jumprelu: { coefficient: 0.01 } })],
    ];
    it.each(RUNS)("%s", async (name, changes) => {
      const { folder, recipe } = await smallRun({ ...changes, eval: SMALL_EVAL });
      try {
        const { code, stderr } = await commandLine(folder, "run", recipe, "--quiet");
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        const run = join(folder, "runs/small");
        const id = await exportedFolder(run);
        const dir = join(run, "sae", id);
        const x = await heldOutRows(run);
        await expectAgreement(`${name}, held-out activations`, dir, x);
        await expectAgreement(`${name}, random rows`, dir, randomRows(256, 64, 1.5));
        const { architecture } = (await loadSae(dir)).config;
        if (architecture !== "topk") expect(await followsContract(dir)).toMatch(/as its contract says/);
        const snippet = /```python\n([\s\S]*?)```/.exec(await readFile(join(run, "README.md"), "utf8"))![1];
        const active = await saelens.run(snippet, join(run, "sae"), x, [256]);
        const sae = await loadSae(dir);
        const inference = await openInference(sae, engine);
        const { offsets } = await inference.encode(x);
        await inference.dispose();
        expect(active).toEqual([...offsets.slice(1)].map((end, t) => end - offsets[t]));
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  });

  it("SAE.from_pretrained loads what a hub serves after publish, sparsity included", async () => {
    const { folder, recipe } = await smallRun({ polish: { when: "never" }, eval: SMALL_EVAL });
    try {
      expect((await commandLine(folder, "run", recipe, "--quiet")).code).toBe(0);
      vi.stubEnv("HF_ENDPOINT", hub.url);
      vi.stubEnv("HF_TOKEN", "hf_made_up");
      vi.stubEnv("LAPIDARY_CACHE", join(folder, "cache"));
      const { code, stderr } = await commandLine(
        folder,
        "publish",
        "runs/small",
        "hf:me/saes",
        "--license",
        "mit",
        "--quiet",
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const run = join(folder, "runs/small");
      const id = await exportedFolder(run);
      const x = await heldOutRows(run);
      const snippet = /```python\n([\s\S]*?)```/.exec(await readFile(join(run, "README.md"), "utf8"))![1];
      expect(snippet).toContain(`SAE.from_pretrained("me/saes", "${id}")`);
      expect(Math.min(...(await saelens.run(snippet, folder, x, [256])))).toBeGreaterThan(0);
      const theirs = await saelens.compute({ release: "me/saes", saeId: id }, x, [256]);
      await expectAgreement("from_pretrained", join(run, "sae", id), x, theirs);
      expect(theirs.sparsity).toEqual(await loadSparsity(join(run, "sae", id)));
      expect(theirs.metadata).toMatchObject({ hook_name: "model.layers.4", model_name: "tiny-gemma/it" });
    } finally {
      vi.unstubAllEnvs();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** What the Python of docs/formats/contract.md prints of a folder. @throws {Error} it is not as its contract says */
async function followsContract(dir: string): Promise<string> {
  const document = await readFile(new URL("../../docs/formats/contract.md", import.meta.url), "utf8");
  const program = /```python\n([\s\S]*?)```/.exec(document)![1];
  return (await promisify(execFile)(python, ["-c", program, dir])).stdout;
}

/** Saves and checkpoints of the real SAELens, and SAEs of other libraries: where each lies. */
function sources(): { name: string; location: string }[] {
  const golden = readdirSync(goldenFolder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.name === "cfg.json")
    .map(({ parentPath }) => ({ name: relative(goldenFolder, parentPath), location: parentPath }));
  const foreign = readdirSync(FOREIGN).map((name) => {
    const { location } = JSON.parse(readFileSync(join(FOREIGN, name, "case.json"), "utf8"));
    return { name, location: join(FOREIGN, name, location as string) };
  });
  return [...golden, ...foreign].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function randomRows(dIn: number, n: number, scale = 1): Float32Array {
  const draws = new Philox(11, "rows");
  return Float32Array.from({ length: n * dIn }, (_, i) => scale * draws.normal(i));
}

async function exportedFolder(run: string): Promise<string> {
  const entries = await readdir(join(run, "sae"), { withFileTypes: true });
  return entries.find((entry) => entry.isDirectory())!.name;
}

/** Held-out activations of a run, as its model gave them. */
async function heldOutRows(run: string): Promise<Float32Array> {
  const store = await openActivationStore(join(run, "activations/model/prose/blocks.4.hook_resid_post"));
  const { activations } = await store.rows(0, 64);
  await store.close();
  return activations;
}

/** Largest difference of a row, relative to the row's largest value; the worst row's. */
function compareRows(ours: Float32Array, theirs: Float32Array, n: number): number {
  expect(ours.length).toBe(theirs.length);
  const width = ours.length / n;
  let worst = 0;
  for (let t = 0; t < n; t++) {
    const [a, b] = [ours, theirs].map((all) => all.subarray(t * width, (t + 1) * width));
    const scale = Math.max(...b.map(Math.abs), Number.MIN_VALUE);
    a.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(value - b[i]) / scale);
    });
  }
  return worst;
}

/** The same of latents. One that is active on one side alone, and there within the tolerance of its threshold, is a tie. */
function compareFeatures(
  { nTokens, offsets, latents, values }: SparseActs,
  theirs: Float32Array,
  { config, threshold }: Sae,
): { differs: number; ties: number } {
  const { dSae } = config;
  let [differs, ties] = [0, 0];
  for (let t = 0; t < nTokens; t++) {
    const row = theirs.slice(t * dSae, (t + 1) * dSae);
    const scale = Math.max(...row, Number.MIN_VALUE);
    const smallest = Math.min(...row.filter((value) => value > 0));
    const cut = (j: number) => (config.k === null ? (threshold?.[j] ?? 0) : smallest);
    const isTie = (j: number, value: number) => Math.abs(value - cut(j)) <= RELATIVE * scale;
    for (let e = offsets[t]; e < offsets[t + 1]; e++) {
      const j = latents[e];
      if (row[j] === 0 && isTie(j, values[e])) ties += 1;
      else differs = Math.max(differs, Math.abs(values[e] - row[j]) / scale);
      row[j] = 0;
    }
    row.forEach((value, j) => {
      if (value !== 0 && isTie(j, value)) ties += 1;
      else differs = Math.max(differs, Math.abs(value) / scale);
    });
  }
  return { differs, ties };
}
