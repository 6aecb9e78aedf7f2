/** An index as Neuronpedia's files: their schemas, what stands in them, the same bytes again, and interrupted. */
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Cell, Database } from "../../src/dashboard/database.ts";
import { EXPLANATIONS } from "../../src/dashboard/explanations.ts";
import { writeDashboardBatches } from "../../src/dashboard/neuronpedia/dashboard-folder.ts";
import { exportNeuronpedia, featuresPerFile } from "../../src/dashboard/neuronpedia/export-folder.ts";
import { type NeuronpediaPlace, sourceIdOf } from "../../src/dashboard/neuronpedia/place.ts";
import { explanationsPrint, type IndexTables, readLatents } from "../../src/dashboard/neuronpedia/records.ts";
import {
  type ActivationLine,
  activationLine,
  dashboardBatch,
  type ExplanationLine,
  explanationLine,
  type FeatureLine,
  featureLine,
  modelLine,
  releaseLine,
  sourceLine,
  sourceSetLine,
} from "../../src/dashboard/neuronpedia/schemas.ts";
import { hookNameOf } from "../../src/dashboard/neuronpedia/spellings.ts";
import { round5, safeText } from "../../src/dashboard/neuronpedia/values.ts";
import { type LatentIndex, openIndex } from "../../src/dashboard/open-index.ts";
import { hashFile } from "../../src/storage/hash.ts";
import { countsOf, SILENT, TINY, type TinyIndex, writeTinyIndex } from "./tiny-index.ts";

const PLACE: NeuronpediaPlace = { modelId: "tiny-model-it", layer: 4, setName: "my-set", suffix: "k-32" };
const RELEASE = {
  name: "my-release",
  description: "A test",
  creatorName: "Somebody",
  url: null,
  hfRepoId: "me/saes",
  hfFolderId: "layer-4",
  dataset: "held-out",
};
const STAMP = { creatorId: "c0", createdAt: new Date("2026-01-02T03:04:05.000Z") };

let root: string;
let tiny: TinyIndex;
let index: IndexTables & { close(): void };

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lapidary-neuronpedia-"));
  tiny = await writeTinyIndex(join(root, "index"));
  index = await openIndex(tiny.dir);
});
afterAll(async () => {
  index?.close();
  await rm(root, { recursive: true, force: true });
});

const exportTo = (name: string, more: Partial<Parameters<typeof exportNeuronpedia>[1]> = {}) =>
  exportNeuronpedia(index, {
    folder: join(root, name),
    place: PLACE,
    release: RELEASE,
    stamp: STAMP,
    decoder: { dIn: TINY.dIn, wDec: tiny.wDec },
    ...more,
  });

/** A copy of the index with explanations of three latents, one of which says why it has none. */
async function explainedIndex(name: string): Promise<LatentIndex> {
  const dir = join(root, name);
  await cp(tiny.dir, dir, { recursive: true });
  const database = await Database.open({ folder: dir, memoryBytes: 256 * 2 ** 20, threads: 1 });
  await database.createTable("rows", EXPLANATIONS.columns);
  const said = [
    [8, "one \u0000 thing", null, 0.875],
    [9, null, "refused", null],
    [300, "another", null, null],
  ] as const;
  const cells = EXPLANATIONS.columns.map(({ name: column }) =>
    said.map(
      ([latent, explanation, failure, detection]): Cell =>
        ({
          latent,
          explanation,
          failure,
          method: "examples",
          model: "m",
          n_shown: 3,
          detection_accuracy: detection,
        })[column] ?? null,
    ),
  );
  await database.append("rows", cells);
  await database.writeParquet("SELECT * FROM rows", EXPLANATIONS.file);
  database.close();
  return openIndex(dir);
}

/** Lines of a file, as the importer reads it. */
async function linesOf<T>(path: string): Promise<T[]> {
  const bytes = await readFile(path);
  const text = (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
  return text
    .replaceAll("\\u0000", " ")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as T);
}

/** Every file below a folder with the hash of its bytes. */
async function filesOf(dir: string): Promise<Map<string, string>> {
  const names = (await readdir(dir, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
  const files = new Map<string, string>();
  for (const { parentPath, name } of names)
    files.set(join(parentPath, name).slice(dir.length + 1), await hashFile(join(parentPath, name)));
  return files;
}

describe("the export folder", () => {
  let dir: string;
  let features: FeatureLine[];
  let activations: ActivationLine[];

  beforeAll(async () => {
    const written = await exportTo("export");
    dir = written.dir;
    expect(written).toMatchObject({ nBatches: 3, nResumed: 0 });
    features = (
      await Promise.all([0, 1, 2].map((i) => linesOf<FeatureLine>(join(dir, `features/batch-${i}.jsonl.gz`))))
    ).flat();
    activations = (
      await Promise.all(
        [0, 2].map((i) => linesOf<ActivationLine>(join(dir, `activations/batch-${i}.jsonl.gz`))),
      )
    ).flat();
  });

  it("has the importer's layout; a batch without examples has no empty file", async () => {
    expect(dir).toBe(join(root, "export/v1/tiny-model-it/4-my-set__k-32"));
    expect([...(await filesOf(dir)).keys()].sort()).toEqual([
      "activations/batch-0.jsonl.gz",
      "activations/batch-2.jsonl.gz",
      "features/batch-0.jsonl.gz",
      "features/batch-1.jsonl.gz",
      "features/batch-2.jsonl.gz",
      "model.jsonl",
      "release.jsonl",
      "source.jsonl",
      "sourceset.jsonl",
    ]);
    expect(features.slice(256, 512).every(({ index }, i) => index === String(256 + i))).toBe(true);
    expect(await readdir(join(root, "export/v1/tiny-model-it"))).toEqual(["4-my-set__k-32"]);
  });

  it("every line has the same keys, and is what the schemas say", async () => {
    for (const [schema, lines] of [
      [featureLine, features],
      [activationLine, activations],
    ] as const) {
      const keys = new Set(lines.map((line) => Object.keys(line).join()));
      expect(keys.size).toBe(1);
      for (const line of lines) expect(schema.safeParse(line).error?.issues).toBe(undefined);
    }
    for (const [schema, name] of [
      [releaseLine, "release"],
      [modelLine, "model"],
      [sourceSetLine, "sourceset"],
      [sourceLine, "source"],
    ] as const) {
      const lines = await linesOf(join(dir, `${name}.jsonl`));
      expect(lines.length).toBe(1);
      expect(schema.safeParse(lines[0]).error?.issues).toBe(undefined);
    }
    expect(activationLine.safeParse({ ...activations[0], extra: 1 }).success).toBe(false);
    expect(featureLine.safeParse({ ...features[0], index: 0 }).success).toBe(false);
    const [model] = await linesOf<{ instruct: boolean }>(join(dir, "model.jsonl"));
    expect(model.instruct).toBe(true);
  });

  it("features: all latents in order, histograms, logits, correlations and alignment as the numbers they come from", () => {
    expect(features.map(({ index }) => index)).toEqual(tiny.latents.map(({ latent }) => String(latent)));
    for (const { latent, acts, logits, firing, decoder } of tiny.latents) {
      const line = features[latent];
      const max = Math.max(0, ...acts);
      expect(line.frac_nonzero).toBe(acts.length / TINY.nTokens);
      expect(line.maxActApprox).toBe(round5(max));
      expect(line.hookName).toBe("blocks.4.hook_resid_post");
      if (acts.length === 0) {
        expect(line.freq_hist_data_bar_heights).toEqual([]);
        expect(line.freq_hist_data_bar_values).toEqual([]);
      } else {
        const min = Math.min(...acts);
        expect(line.freq_hist_data_bar_heights).toEqual(countsOf(acts, 50, min, max));
        expect(line.freq_hist_data_bar_values[0]).toBeCloseTo(min + (max - min) / 100, 4);
        expect(line.freq_hist_data_bar_values[49]).toBeCloseTo(max - (max - min) / 100, 4);
      }
      expect(line.logits_hist_data_bar_heights.reduce((sum, n) => sum + n, 0)).toBe(TINY.vocabSize);
      const sorted = Array.from(logits, (value, id) => ({ value, id })).sort((a, b) => b.value - a.value);
      expect(line.pos_values).toEqual(sorted.slice(0, 10).map(({ value }) => round5(value)));
      expect(line.pos_str).toEqual(sorted.slice(0, 10).map(({ id }) => `token ${id}`));
      expect(line.neg_values).toEqual(
        sorted
          .slice(-10)
          .reverse()
          .map(({ value }) => round5(value)),
      );
      expect(line.correlated_features_indices).toEqual(firing.slice(0, 3).map(([other]) => other));
      expect(line.correlated_features_pearson).toEqual(firing.slice(0, 3).map(([, value]) => round5(value)));
      expect(line.correlated_features_l1).toEqual(firing.slice(0, 3).map(([, , cosine]) => round5(cosine)));
      expect(line.topkCosSimIndices).toEqual(decoder.map(([other]) => other));
      const row = tiny.wDec.subarray(latent * TINY.dIn, (latent + 1) * TINY.dIn);
      const top = [...row].sort((a, b) => b - a).slice(0, 3);
      expect(line.neuron_alignment_values).toEqual(top.map(round5));
      expect(line.neuron_alignment_indices).toEqual(top.map((value) => row.indexOf(value)));
      const norm = row.reduce((sum, value) => sum + Math.abs(value), 0);
      line.neuron_alignment_l1.forEach((share, i) => {
        expect(share).toBeCloseTo(Math.abs(top[i]) / norm, 5);
      });
    }
  });

  it("activations: each in the bin of the token it was chosen for, the share of tokens in that bin", () => {
    const expected = tiny.latents.flatMap(({ latent, examples, acts }) =>
      examples.map((example) => ({ latent, all: acts, ...example })),
    );
    expect(activations.length).toBe(expected.length);
    const seen = new Set<string>();
    activations.forEach((line, i) => {
      const { latent, all, interval, value, at, tokens } = expected[i];
      const max = Math.max(...all);
      expect(line.index).toBe(String(latent));
      expect(line.tokens).toEqual(tokens.map(safeText));
      expect(line.values).toEqual(expected[i].acts.map(round5));
      expect(line.qualifyingTokenIndex).toBe(at);
      expect(line.values[line.qualifyingTokenIndex]).toBe(round5(value));
      expect(line.maxValue).toBe(Math.max(...line.values));
      expect(line.maxValueTokenIndex).toBe(line.values.indexOf(line.maxValue));
      expect(line.minValue).toBe(Math.min(...line.values));
      if (interval === -1)
        expect([line.binMin, line.binMax, line.binContains]).toEqual([-1, round5(max), -1]);
      else {
        expect(value).toBeGreaterThan(line.binMin - 1e-5);
        expect(value).toBeLessThan(line.binMax + 1e-5);
        const inBin = all.filter((act) => Math.ceil((act / max) * 5) - 1 === interval);
        expect(line.binContains).toBe(inBin.length / TINY.nTokens);
        expect(line.binContains).toBeGreaterThan(0);
      }
      seen.add(line.id);
    });
    expect(seen.size).toBe(activations.length);
  });

  it("the same bytes again, in another folder, and after being killed between any two files", async () => {
    const whole = await filesOf(dir);
    expect(await filesOf((await exportTo("again")).dir)).toEqual(whole);
    const stop = new AbortController();
    const interrupted = exportTo("interrupted", { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(interrupted).rejects.toThrow(/abort/i);
    const parent = join(root, "interrupted/v1/tiny-model-it");
    const [partial, ...others] = await readdir(parent);
    expect(others).toEqual([]);
    expect(partial).toMatch(/^\.4-my-set__k-32\.[0-9a-f]{16}\.partial$/);
    // killed before the last file of a batch, and within one
    await rm(join(parent, partial, "features/batch-0.jsonl.gz"));
    const again = await exportTo("interrupted");
    expect(again.nResumed).toBe(0);
    expect(await filesOf(again.dir)).toEqual(whole);
    expect(await readdir(parent)).toEqual(["4-my-set__k-32"]);
  });

  it("goes on with what is whole, and drops what was begun with other options", async () => {
    const stopAt = (done: number) => {
      const stop = new AbortController();
      return { signal: stop.signal, onProgress: (n: number) => (n >= done ? stop.abort() : undefined) };
    };
    await expect(exportTo("resumed", stopAt(512))).rejects.toThrow(/abort/i);
    const other = { stamp: { ...STAMP, creatorId: "c1" } };
    await expect(exportTo("resumed", { ...stopAt(256), ...other })).rejects.toThrow(/abort/i);
    const parent = join(root, "resumed/v1/tiny-model-it");
    expect((await readdir(parent)).length).toBe(1);
    expect((await exportTo("resumed", other)).nResumed).toBe(1);
    await expect(exportTo("resumed", other)).rejects.toThrow(/is there already/);
  });

  it("of a wide SAE has no more files than the importer lists", () => {
    for (const dSae of [1, 600, 65_536, 131_072, 262_144, 1_048_576]) {
      expect(featuresPerFile(dSae)).toBeGreaterThanOrEqual(256);
      expect(Math.ceil(dSae / featuresPerFile(dSae))).toBeLessThanOrEqual(1000);
    }
  });
});

describe("SAEDashboard's batches", () => {
  it("128 latents a file, of the schema, the same facts as the export", async () => {
    const folder = join(root, "batches");
    const options = { folder, place: PLACE, dataset: "held-out", decoder: null };
    expect(await writeDashboardBatches(index, options)).toEqual({ dir: folder, nBatches: 5, nResumed: 0 });
    expect((await readdir(folder)).sort()).toEqual([0, 1, 2, 3, 4].map((i) => `batch-${i}.json`));
    const { dir } = await exportTo("twin", { decoder: null });
    const lines = await linesOf<FeatureLine>(join(dir, "features/batch-0.jsonl.gz"));
    const acts = await linesOf<ActivationLine>(join(dir, "activations/batch-0.jsonl.gz"));
    const text = await readFile(join(folder, "batch-0.json"), "utf8");
    const batch = dashboardBatch.parse(JSON.parse(text.replaceAll("\\u0000", " ")));
    expect(batch).toMatchObject({
      model_id: "tiny-model-it",
      layer: 4,
      sae_set: "my-set",
      sae_id_suffix: "k-32",
    });
    expect(batch.features.map(({ feature_index }) => feature_index)).toEqual([...Array(128).keys()]);
    batch.features.forEach((feature, i) => {
      for (const key of Object.keys(feature) as (keyof typeof feature)[])
        if (key in lines[i]) expect(lines[i][key as keyof FeatureLine], key).toEqual(feature[key]);
      const own = acts.filter((line) => line.index === String(i));
      expect(feature.activations).toEqual(
        own.map((line) => ({
          bin_min: line.binMin,
          bin_max: line.binMax,
          bin_contains: line.binContains,
          tokens: line.tokens,
          values: line.values,
          qualifying_token_index: line.qualifyingTokenIndex,
        })),
      );
      expect([feature.n_prompts_total, feature.n_tokens_in_prompt]).toEqual([40, 125]);
      expect(feature.neuron_alignment_indices).toEqual([]);
    });
    const again = await writeDashboardBatches(index, { ...options, folder: join(root, "batches-again") });
    expect(await filesOf(again.dir)).toEqual(await filesOf(folder));
  });
});

describe("names and rows", () => {
  it("names that cannot stand on Neuronpedia are refused, with one that can", async () => {
    expect(sourceIdOf({ ...PLACE, suffix: null })).toBe("4-my-set");
    expect(() => sourceIdOf({ ...PLACE, modelId: "Gemma-4-E4B" })).toThrow(/modelId "Gemma-4-E4B"/);
    expect(() => sourceIdOf({ ...PLACE, setName: "my__set" })).toThrow(/"_" between/);
    expect(() => sourceIdOf({ ...PLACE, setName: "my_" })).toThrow(/"_" between/);
    expect(() => sourceIdOf({ ...PLACE, setName: "../x" })).toThrow(/setName/);
    await expect(exportTo("misnamed", { release: { ...RELEASE, name: "My Release" } })).rejects.toThrow(
      /release "My Release"/,
    );
    expect(() => sourceIdOf({ ...PLACE, layer: 1.5 })).toThrow(/whole number/);
  });

  it("hook names are in TransformerLens' words", () => {
    const hookNames = ["model.layers.4", "blocks.4.hook_mlp_out", "blocks.4.attn.hook_z", "elsewhere", null];
    expect(hookNames.map((hookName) => hookNameOf({ sae: { ...tiny.manifest.sae, hookName } }))).toEqual([
      "blocks.4.hook_resid_post",
      "blocks.4.hook_mlp_out",
      "blocks.4.attn.hook_z",
      "elsewhere",
      null,
    ]);
  });

  it("any range of latents reads as it does among all; a decoder of another SAE is refused", async () => {
    const all = [];
    for await (const record of readLatents(index)) all.push(record);
    const some = [];
    for await (const record of readLatents(index, { from: 250, to: 270 })) some.push(record);
    expect(some).toEqual(all.slice(250, 270));
    expect(all.length).toBe(TINY.dSae);
    expect(all.slice(...SILENT).every(({ examples }) => examples.length === 0)).toBe(true);
    const wrong = readLatents(index, { decoder: { dIn: 4, wDec: tiny.wDec } });
    await expect(wrong.next()).rejects.toThrow(/not those of the indexed SAE/);
  });
});

it("explanations are in the export where there are some: by the schema, in the latent's batch, and new where they changed", async () => {
  const explained = await explainedIndex("explained");
  const options = {
    folder: join(root, "explained-export"),
    place: PLACE,
    release: RELEASE,
    stamp: STAMP,
    decoder: null,
  };
  const { dir } = await exportNeuronpedia(explained, options);
  explained.close();
  expect((await readdir(join(dir, "explanations"))).sort()).toEqual(["batch-0.jsonl.gz", "batch-1.jsonl.gz"]);
  const lines = await linesOf<ExplanationLine>(join(dir, "explanations/batch-0.jsonl.gz"));
  expect(lines).toEqual([
    {
      id: expect.stringMatching(/^c[0-9a-f]{24}$/),
      modelId: "tiny-model-it",
      layer: "4-my-set__k-32",
      index: "8",
      description: "one \\u{0} thing",
      authorId: "c0",
      triggeredByUserId: null,
      notes: "by m, shown examples; balanced accuracy: detection 0.875",
      typeName: null,
      explanationModelName: null,
      createdAt: "2026-01-02T03:04:05.000Z",
    },
  ]);
  const [other] = await linesOf<ExplanationLine>(join(dir, "explanations/batch-1.jsonl.gz"));
  expect(other).toMatchObject({ index: "300", description: "another", notes: "by m, shown examples" });
  for (const line of [...lines, other]) explanationLine.parse(line);
  expect(Object.keys(other)).toEqual(Object.keys(lines[0]));
  const again = await explainedIndex("explained again");
  expect(await explanationsPrint(again)).not.toBe(await explanationsPrint(index));
  again.close();
});
