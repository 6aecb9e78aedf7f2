/**
 * The latent index against its slow twin: every number of every table, whatever the budget, the chunks and the threads; the
 * files are the same bytes. A planted latent is found where it was planted.
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BuildOptions, buildIndex } from "../../src/dashboard/build.ts";
import { NO_TOKEN } from "../../src/dashboard/labels/labels.ts";
import { TriggerFinder } from "../../src/dashboard/labels/trigger-finder.ts";
import { openIndex } from "../../src/dashboard/open-index.ts";
import { TABLES } from "../../src/dashboard/tables.ts";
import { rowsSource } from "../../src/evals/token-source.ts";
import { Philox } from "../../src/random/philox.ts";
import { openInference } from "../../src/sae/inference.ts";
import type { Sae } from "../../src/sae/sae.ts";
import {
  AMPLE,
  createEngine,
  HOOK,
  type MadeUp,
  madeUpOptions,
  madeUpSae,
  madeUpTokens,
} from "./made-up-index.ts";
import { type SlowToken, slowIndex } from "./slow-index.ts";

const D_IN = 16;
const D_SAE = 60;
const WIDTHS = [8, 20, D_SAE];

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lapidary-index-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Dense activations of every token. */
async function slowTokens(sae: Sae, { activations, labels }: MadeUp): Promise<SlowToken[]> {
  const inference = await openInference(sae, createEngine);
  const { offsets, latents, values } = await inference.encode(activations);
  await inference.dispose();
  return Array.from(labels.tokenIds, (tokenId, t) => {
    const acts = new Array<number>(sae.config.dSae).fill(0);
    for (let e = offsets[t]; e < offsets[t + 1]; e++) acts[latents[e]] = values[e];
    const document = labels.document[t];
    return {
      tokenId,
      window: labels.window[t],
      position: labels.position[t],
      document,
      role: labels.role[t],
      source: document % 2 === 0 ? "even" : "odd",
      acts,
    };
  });
}

async function allRows(dir: string): Promise<Record<string, Record<string, unknown>[]>> {
  const index = await openIndex(dir);
  try {
    const tables: Record<string, Record<string, unknown>[]> = {};
    for (const name of Object.keys(TABLES)) tables[name] = await index.rows(`SELECT * FROM "${name}"`);
    return tables;
  } finally {
    index.close();
  }
}

describe("buildIndex", () => {
  const sae = madeUpSae(D_IN, D_SAE);
  const base = madeUpSae(D_IN, D_SAE, 1);
  const baseDensity = Float64Array.from({ length: D_SAE }, (_, i) => i / 1000);
  const tokens = madeUpTokens(D_IN);
  const optionsIn = (name: string): BuildOptions => ({
    ...madeUpOptions(join(root, name), sae, tokens),
    widths: WIDTHS,
    base: { name: "base", hash: "1".repeat(64), index: null, density: baseDensity, load: async () => base },
  });

  it("gives every row of the slow twin, in its order", async () => {
    const options = optionsIn("ample");
    const manifest = await buildIndex(options);
    const slow = slowIndex(await slowTokens(sae, tokens), sae, {
      widths: WIDTHS,
      windows: tokens.windows,
      textOf: options.textOf,
      examples: options.examples,
      base,
      baseDensity: [...baseDensity],
    });
    const rows = await allRows(options.dir);
    for (const [name, expected] of Object.entries(slow)) expect(rows[name], name).toEqual(expected);
    expect(rows.logits).toEqual([]);
    for (const [name, { nRows }] of Object.entries(manifest.files))
      expect(nRows, name).toBe(rows[name].length);
    // the made-up data has something of everything
    expect(slow.latents.some(({ n_active }) => n_active === 0)).toBe(true);
    expect(slow.examples.filter(({ interval }) => interval !== -1).length).toBeGreaterThan(100);
    expect(slow.neighbours.filter(({ kind }) => kind === "firing").length).toBeGreaterThan(300);
    expect(manifest.splits.source.map(({ name }) => name).sort()).toEqual(["even", "odd"]);
    expect(manifest.splits.role.map(({ name }) => name)).toEqual(["text", "user", "assistant"]);
    const { nTokens } = manifest.data;
    for (const classes of Object.values(manifest.splits))
      expect(classes.reduce((n, each) => n + each.nTokens, 0)).toBe(nTokens);
  });

  it.each([
    [
      "entries on disk, a block a latent, many parts",
      {
        entries: { residentBytes: 0, segmentEntries: 1 },
        blockEntries: 1,
        firing: { threads: 0, sumsBytes: 1 },
        databaseBytes: AMPLE.databaseBytes,
        partValues: 1000,
      },
      64,
    ],
    [
      "a part of the entries in memory, groups of sums",
      {
        ...AMPLE,
        entries: { residentBytes: 3000, segmentEntries: 300 },
        blockEntries: 500,
        firing: { threads: 2, sumsBytes: 12 * D_SAE * 4 }, // threads are for entries in memory alone
      },
      64,
    ],
    ["another size of chunks", AMPLE, 37],
    ["worker threads", { ...AMPLE, blockEntries: 4000, firing: { threads: 2, sumsBytes: 1 } }, 64],
  ])("same bytes: %s", async (name, budget, chunkRows) => {
    const { set } = madeUpTokens(D_IN, { chunkRows });
    const manifest = await buildIndex({ ...optionsIn(name), sets: [set], budget, threads: 1 });
    expect(manifest.files).toEqual((await openedManifest("ample")).files);
    expect((await readdir(join(root, name))).sort()).toEqual(
      ["index.json", ...Object.values(TABLES).map(({ file }) => file)].sort(),
    );
  });

  async function openedManifest(name: string) {
    const index = await openIndex(join(root, name));
    index.close();
    return index.manifest;
  }

  it("without windows shows the neighbouring rows; what is not known is not made up", async () => {
    const { activations, labels } = tokens;
    const known = { activations, dIn: D_IN, set: "rows", hookName: HOOK };
    const withRows = await buildIndex({
      ...optionsIn("rows"),
      sets: [{ tokens: rowsSource({ ...known, ...labels }, {}), windows: null, sourceOf: null }],
    });
    const rows = await allRows(join(root, "rows"));
    const wanted = await allRows(join(root, "ample"));
    expect(rows.latents).toEqual(wanted.latents);
    for (const [i, { tokens: texts, at, value, acts, window, position }] of rows.examples.entries()) {
      const row = labels.window.findIndex((w, r) => w === window && labels.position[r] === position);
      expect((texts as string[])[at as number]).toBe(` t${labels.tokenIds[row]}`);
      expect((acts as number[])[at as number]).toBe(value);
      const before = (texts as string[]).slice(0, at as number);
      expect(before).toEqual(
        Array.from(labels.tokenIds.subarray(row - before.length, row), (id) => ` t${id}`),
      );
      expect(wanted.examples[i]).toMatchObject({ value, window, position });
    }
    expect(withRows.splits.source).toEqual([{ name: "unknown", nTokens: withRows.data.nTokens }]);

    const bare = await buildIndex({
      ...optionsIn("bare"),
      textOf: (id) => (id === NO_TOKEN ? "" : ` t${id}`),
      sets: [{ tokens: rowsSource(known, {}), windows: null, sourceOf: null }],
    });
    const nothing = await allRows(join(root, "bare"));
    expect(nothing.examples.every(({ tokens: texts }) => (texts as string[]).join() === "")).toBe(true);
    expect(nothing.latents.map(({ n_documents }) => n_documents)).toEqual(
      wanted.latents.map(({ n_active }) => n_active),
    );
    expect(
      Object.values(bare.splits)
        .flat()
        .every(({ name }) => name === "unknown"),
    ).toBe(true);
  });

  it("two sets are one data, their documents apart", async () => {
    const other = madeUpTokens(D_IN, { seed: 1, nWindows: 5 });
    const manifest = await buildIndex({ ...optionsIn("two"), sets: [tokens.set, other.set] });
    const [n, m] = [tokens, other].map(({ labels }) => new Set(labels.document).size);
    expect(manifest.data.nDocuments).toBe(n + m);
    expect(manifest.data.nTokens).toBe(tokens.labels.tokenIds.length + other.labels.tokenIds.length);
    expect(manifest.splits.source.map(({ name }) => name).sort()).toEqual(["made up/even", "made up/odd"]);
    const { latents } = await allRows(join(root, "two"));
    const alone = (await allRows(join(root, "ample"))).latents;
    for (const [i, { n_active }] of latents.entries())
      expect(n_active as number).toBeGreaterThanOrEqual(alone[i].n_active as number);
  });

  it("windows of other tokens are refused, and nothing is left behind", async () => {
    const read = async (from: number, to: number) => {
      const batch = await tokens.set.windows!.read(from, to);
      return { ...batch, tokenIds: batch.tokenIds.map((id) => id + 1) };
    };
    const options = { ...optionsIn("other"), sets: [{ ...tokens.set, windows: { read } }] };
    await expect(buildIndex(options)).rejects.toThrow(/is not the token that the activations were made of/);
    expect((await readdir(root)).filter((name) => name.startsWith("other"))).toEqual([]);
  });

  it("an aborted build leaves the index that was there", async () => {
    const before = await openedManifest("ample");
    const controller = new AbortController();
    const options = {
      ...optionsIn("ample"),
      signal: controller.signal,
      onProgress: ({ stage }: { stage: string }) => {
        if (stage === "latents") controller.abort();
      },
    };
    await expect(buildIndex(options)).rejects.toThrow(/abort/i);
    expect(await openedManifest("ample")).toEqual(before);
    expect((await readdir(root)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

describe("a planted latent", () => {
  it("has the examples, density, neighbours and label of what was planted", async () => {
    // latents are unit directions; a token has two of them at most: latent 5 with 9 always, 3 alone; noise of 1 %
    const [dIn, dSae, nDocuments, documentTokens] = [32, 20, 30, 20];
    const random = new Philox(3, "planted");
    const unit = (i: number) => Float32Array.from({ length: dIn }, (_, j) => (j === i ? 1 : 0));
    const wDec = new Float32Array(dSae * dIn);
    for (let i = 0; i < dSae; i++) wDec.set(unit(i), i * dIn);
    for (let j = 0; j < dIn; j++) wDec[17 * dIn + j] = 0.9 * unit(5)[j] + 0.2 * unit(20)[j];
    const sae: Sae = {
      ...madeUpSae(dIn, dSae),
      weights: {
        dIn,
        dSae,
        wDec,
        wEnc: wDec.map((value, at) => (Math.floor(at / dIn) === 17 ? 0 : value)),
        bEnc: new Float32Array(dSae),
        bDec: new Float32Array(dIn),
      },
      threshold: new Float32Array(dSae).fill(0.5),
    };
    const n = nDocuments * documentTokens;
    const isPlanted = (t: number) => t % 25 === 7;
    const strength = (t: number) => 1 + t / n;
    const activations = Float32Array.from({ length: n * dIn }, (_, i) => {
      const [t, j] = [Math.floor(i / dIn), i % dIn];
      const noise = 0.01 * random.normal(i);
      if (isPlanted(t) && (j === 5 || j === 9)) return strength(t) + noise;
      return (t % 10 === 3 && j === 3 ? 2 : 0) + noise;
    });
    const PLANTED = 77;
    const labels = {
      tokenIds: Uint32Array.from({ length: n }, (_, t) => (isPlanted(t) ? PLANTED : t % 25)),
      window: Uint32Array.from({ length: n }, (_, t) => Math.floor(t / documentTokens)),
      position: Uint32Array.from({ length: n }, (_, t) => t % documentTokens),
      document: Uint32Array.from({ length: n }, (_, t) => Math.floor(t / documentTokens)),
      role: new Uint8Array(n),
    };
    const dir = join(root, "planted");
    await buildIndex({
      ...madeUpOptions(dir, sae, madeUpTokens(dIn)),
      openLabeller: (tokens) => {
        const finder = new TriggerFinder(tokens, ([id]) => ` t${id}`);
        return ({ tokens: rows, values }) => finder.label(rows, values, null);
      },
      sets: [
        {
          tokens: rowsSource({ activations, dIn, set: "planted", hookName: HOOK, ...labels }, {}),
          windows: null,
          sourceOf: null,
        },
      ],
    });
    const index = await openIndex(dir);
    const { latent, examples, neighbours } = await index.latent(5);
    const planted = [...Array(n).keys()].filter(isPlanted);
    expect(latent.n_active).toBe(planted.length);
    expect(latent.density).toBe(planted.length / n);
    expect(latent).toMatchObject({
      label: `" t${PLANTED}"`,
      label_kind: "token",
      label_precision: 1,
      label_recall: 1,
    });
    expect(latent.max_act).toBeCloseTo(strength(planted.at(-1)!), 1);
    for (const { tokens, at, window, position } of examples) {
      expect(tokens[at]).toBe(` t${PLANTED}`);
      expect(isPlanted(window * documentTokens + position)).toBe(true);
    }
    const top = examples.filter(({ interval }) => interval === -1).map(({ document }) => document);
    const last = planted
      .map((t) => Math.floor(t / documentTokens))
      .filter((d, i, all) => all.indexOf(d) === i);
    expect(top).toEqual(last.slice(-6).reverse());
    const first = (kind: string) => neighbours.find((each) => each.kind === kind);
    expect(first("decoder")).toMatchObject({ other: 17 });
    expect(first("firing")).toMatchObject({ other: 9, n_both: planted.length, jaccard: 1 });
    expect(first("firing")!.value).toBeGreaterThan(0.99);
    expect(neighbours.some(({ kind, other }) => kind === "firing" && other === 3)).toBe(false);
    index.close();
  });
});
