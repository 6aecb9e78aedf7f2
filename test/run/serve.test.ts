/** A small run, served: its site, what is compared, what is live, and the site as files. */
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Database, quoted } from "../../src/dashboard/database.ts";
import type { Encoded } from "../../src/dashboard/live.ts";
import type { Overview } from "../../src/dashboard/overview.ts";
import { startServer } from "../../src/dashboard/server/server.ts";
import { MATCH_COLUMNS } from "../../src/dashboard/site.ts";
import type { RunEvent } from "../../src/pipeline/context.ts";
import { exportSite } from "../../src/pipeline/serving/export-site.ts";
import { type OpenedSite, openSite } from "../../src/pipeline/serving/site.ts";
import { loadSae } from "../../src/sae/load.ts";
import { hashFile } from "../../src/storage/hash.ts";
import { commandLine } from "./command-line.ts";
import { ROOT, smallRecipe, smallRun, startCli } from "./small-recipe.ts";

const HOOK = "blocks.4.hook_resid_post";

let folder: string;
let page: string;

vi.setConfig({ testTimeout: 600_000 }); // other tests may have the cores

beforeAll(async () => {
  const { baseModel: _none, ...recipe } = smallRecipe(ROOT);
  const train = { ...(recipe.train as object), epochs: 1, checkpointEverySteps: 1000, resampling: null };
  const made = await smallRun({ train, baseModel: null, polish: { when: "never" } });
  folder = made.folder;
  page = join(folder, "page");
  await mkdir(join(page, "assets"), { recursive: true });
  await writeFile(join(page, "index.html"), "<!doctype html>");
  await writeFile(join(page, "assets/app.js"), "");
  const small = ["corpus.tokens=3000", "eval.tokens=500", "eval.splice=null"];
  const run = await commandLine(folder, "run", made.recipe, ...small.flatMap((value) => ["--set", value]));
  expect(run.stderr).not.toContain("lapidary:");
}, 600_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

const runAt = (name = "small") => join(folder, "runs", name);

async function opened(names: readonly string[], options: Parameters<typeof openSite>[1] = {}) {
  const events: RunEvent[] = [];
  const site = await openSite(names.map(runAt), { page, onEvent: (event) => events.push(event), ...options });
  return { ...site, events };
}

function json<T>({ files }: OpenedSite, path: string): T {
  const file = files.find((each) => each.path === path);
  if (file?.source.kind !== "memory") throw new Error(`no ${path}`);
  return JSON.parse(new TextDecoder().decode(file.source.content)) as T;
}

it("before anything is indexed: what was measured, and nothing made where none is to be", async () => {
  const made = await opened(["small"], { index: false });
  expect(made.site).toMatchObject({
    title: "small",
    runs: ["small"],
    indexes: [],
    comparisons: [],
    live: null,
  });
  expect(made.site.notLive).toMatch(/no run is shown/);
  expect(existsSync(join(runAt(), "index"))).toBe(false);
  const { runs } = json<Overview>(made, "data/overview.json");
  expect(runs.map(({ run }) => run)).toEqual(["small"]);
  const [{ layers, sets, provenance, headline, definitions }] = runs;
  expect(sets.map(({ name }) => name)).toEqual(["prose", "chat", "code"]);
  expect(headline).toMatch(/SAE/);
  const recorded = JSON.parse(await readFile(join(runAt(), `evals/${HOOK}.after.json`), "utf8")) as {
    results: { set: string; result: { metrics: { ve: { value: number; interval: { low: number } } } } }[];
  };
  for (const { set, result } of recorded.results) {
    const shown = layers[0].measurements.find((each) => each.phase === "after" && each.set === set);
    expect(shown?.metrics.ve).toMatchObject({
      value: result.metrics.ve.value,
      low: result.metrics.ve.interval?.low ?? null,
    });
  }
  expect(definitions.ve).toMatch(/Variance explained/);
  const [{ curves, nSteps, isFinished }] = layers[0].trainings;
  expect(isFinished).toBe(true);
  expect(curves.step.at(-1)).toBe(nSteps);
  expect(new Set(Object.values(curves).map((curve) => curve.length)).size).toBe(1);
  expect(JSON.stringify(provenance)).not.toContain(folder);
});

describe("with indexes", () => {
  let first: Awaited<ReturnType<typeof opened>>;
  beforeAll(async () => {
    first = await opened(["small"]);
  }, 600_000);
  afterAll(() => first?.model?.close());

  it("makes them, says so, and finds them the next time", async () => {
    const begun = (events: readonly RunEvent[]) =>
      events.flatMap((event) => (event.kind === "begin" ? [event.unit] : []));
    expect(begun(first.events)).toHaveLength(3); // both indexes, and their matches
    expect(first.site.indexes).toMatchObject([
      {
        id: "layer-4",
        title: "layer 4, adapted",
        layer: 4,
        phase: "after",
        base: "layer-4-before",
        run: "small",
      },
      { id: "layer-4-before", title: "layer 4, source", layer: 4, phase: "before", base: null },
    ]);
    const again = await opened(["small"], { notLive: "not now" });
    expect(begun(again.events)).toEqual([]);
    expect(again.site).toEqual({ ...first.site, live: null, notLive: "not now" });
    const paths = first.files.map(({ path }) => path);
    expect(new Set(paths).size).toBe(paths.length);
    expect(paths).toContain("data/layer-4/examples.parquet");
    expect(paths.filter((path) => path.startsWith("data/layer-4/"))).toHaveLength(7);
  });

  it("matches are the cosines of the rows, and the nearest row of all", async () => {
    const [{ a, b, path }] = first.site.comparisons;
    expect([a, b]).toEqual(["layer-4-before", "layer-4"]);
    const matches = join(runAt(), "index", path);
    const database = await Database.open({ folder: join(matches, ".."), memoryBytes: 2 ** 27 });
    const rows = await database.rows(`SELECT * FROM read_parquet(${quoted(matches)})`);
    database.close();
    expect(Object.keys(rows[0])).toEqual(MATCH_COLUMNS.map(({ name }) => name));
    const before = (await loadSae(join(ROOT, "assets/tiny-gemma/sae-base/layer_4"))).weights;
    const [id] = (await readdir(join(runAt(), "sae"))).filter((name) => name.startsWith("btk"));
    const after = (await loadSae(join(runAt(), "sae", id))).weights;
    expect(rows.length).toBe(before.dSae);
    const row = (matrix: Float32Array, i: number) => matrix.subarray(i * 256, (i + 1) * 256);
    const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, j) => sum + value * y[j], 0);
    const cosine = (x: Float32Array, y: Float32Array) => dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
    for (const latent of [0, 17, 1000]) {
      const all = Array.from({ length: after.dSae }, (_, i) =>
        cosine(row(before.wDec, latent), row(after.wDec, i)),
      ).map((value) => (Number.isNaN(value) ? -2 : value));
      const found = rows[latent] as Record<string, number>;
      expect(found.latent).toBe(latent);
      expect(found.decoder_cosine).toBeCloseTo(all[latent], 5);
      expect(found.encoder_cosine).toBeCloseTo(cosine(row(before.wEnc, latent), row(after.wEnc, latent)), 5);
      expect(found.nearest_cosine).toBeCloseTo(Math.max(...all), 5);
      expect(all[found.nearest]).toBeCloseTo(Math.max(...all), 5);
    }
  });

  it("served: the page's files, an index by ranges, and the run's own model", async () => {
    const { files, model, site } = first;
    expect(site.live).toMatchObject({
      indexes: ["layer-4", "layer-4-before"],
      model: "tiny-gemma/it",
      chat: true,
      contextSize: 128,
    });
    const server = await startServer({ files, live: model, notLive: null, port: 0 });
    try {
      const get = (path: string, headers = {}) => fetch(new URL(path, server.url), { headers });
      expect(await (await get("data/site.json")).json()).toEqual(site);
      const magic = await get("data/layer-4/latents.parquet", { Range: "bytes=0-3" });
      expect([magic.status, await magic.text()]).toEqual([206, "PAR1"]);
      const answer = await fetch(new URL("api/encode", server.url), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ index: "layer-4", input: { kind: "text", text: "a stone" } }),
      });
      expect(answer.status).toBe(200);
      const { tokens } = (await answer.json()) as Encoded;
      expect(tokens.map(({ kept }) => kept)).toEqual([false, ...Array(tokens.length - 1).fill(true)]);
      expect(tokens.slice(1).some(({ latents }) => latents.length > 0)).toBe(true);
    } finally {
      await server.close();
    }
  });

  it("two runs, and an index by itself: names of their own, equal layers matched", async () => {
    await cp(runAt(), runAt("Other.run"), { recursive: true });
    const alone = join(runAt(), "index", `${HOOK}.after`);
    const { site, files } = await openSite([runAt(), runAt("Other.run"), alone], { page, notLive: "no" });
    expect(site.runs).toEqual(["small", "Other.run", `${HOOK}.after`]);
    expect(site.indexes.map(({ id }) => id)).toEqual([
      "small-layer-4",
      "small-layer-4-before",
      "other-run-layer-4",
      "other-run-layer-4-before",
      "blocks-4-hook_resid_post-after",
    ]);
    expect(site.comparisons.map(({ a, b }) => [a, b])).toEqual([
      ["small-layer-4-before", "small-layer-4"],
      ["small-layer-4", "other-run-layer-4"],
      ["other-run-layer-4-before", "other-run-layer-4"],
    ]);
    for (const { path } of site.comparisons)
      expect(files.filter((file) => file.path === `data/${path}`)).toHaveLength(1);
    expect(json<Overview>({ files } as OpenedSite, "data/overview.json").runs).toHaveLength(2);
  });

  it("an SAE that is not the one that was indexed is not run, and not matched", async () => {
    const other = runAt("changed");
    await cp(runAt(), other, { recursive: true });
    const [id] = (await readdir(join(other, "sae"))).filter((name) => name.startsWith("btk"));
    const weights = join(other, "sae", id, "sae_weights.safetensors");
    const bytes = await readFile(weights);
    bytes[bytes.length - 3] ^= 1;
    await writeFile(weights, bytes);
    await rm(join(other, "index/matches"), { recursive: true });
    const told = await opened(["changed"], { notLive: "no" });
    expect(told.site.comparisons).toEqual([]);
    expect(told.events.at(-1)).toEqual({
      kind: "note",
      message: expect.stringMatching(
        /not compared: the final SAE of layer 4 is not the one that was indexed/,
      ),
    });
    const { model, site } = await opened(["changed"], { index: false });
    expect(site.comparisons).toEqual([]);
    const text = { kind: "text", text: "a" } as const;
    const encode = model?.encode({ index: "layer-4", input: text }, new AbortController().signal);
    await expect(encode).rejects.toThrow(/not the one that was indexed/);
    await model?.close();
  });

  it("as files: the same bytes, whole or absent, never over what is there", async () => {
    const { files } = await opened(["small"], { notLive: "files" });
    const to = join(folder, "site");
    const { nFiles } = await exportSite(files, to);
    expect(nFiles).toBe(files.length);
    for (const { path, source } of files)
      if (source.kind === "file") expect(await hashFile(join(to, path))).toBe(await hashFile(source.file));
    expect(JSON.parse(await readFile(join(to, "data/site.json"), "utf8"))).toMatchObject({
      live: null,
      notLive: "files",
    });
    await expect(exportSite(files, to)).rejects.toThrow(/is there already/);
    const damaged = files.map((file) =>
      file.source.kind === "file" && file.source.sha256 !== null
        ? { ...file, source: { ...file.source, sha256: "0".repeat(64) } }
        : file,
    );
    const names = (await readdir(folder)).sort();
    await expect(exportSite(damaged, join(folder, "half"))).rejects.toThrow(/its index says 0000/);
    const controller = new AbortController();
    controller.abort();
    await expect(exportSite(files, join(folder, "half"), { signal: controller.signal })).rejects.toThrow(
      /abort/,
    );
    expect((await readdir(folder)).sort()).toEqual(names);
  });
});

describe("the command", () => {
  it("refuses what is no run, options that mean nothing together, and a page that is not there", async () => {
    const last = async (...args: string[]) => {
      const { code, stderr } = await commandLine(folder, "serve", ...args);
      return [code, stderr.trim().split("\n").slice(-2)] as const;
    };
    const [code, lines] = await last("runs/small", "--static", "x", "--port", "1");
    expect(code).toBe(2);
    expect(lines[0]).toMatch(/--static writes files/);
    const present = await last("runs/small", "--static", "runs");
    expect([present[0], present[1][0]]).toEqual([1, expect.stringMatching(/runs is there already/)]);
    await expect(openSite([runAt()], { page: folder })).rejects.toThrow(/page is not built/);
    await expect(openSite([folder], { page })).rejects.toThrow(/neither a run nor a latent index/);
  });

  it.skipIf(!existsSync(join(ROOT, "web/dist/index.html")))(
    "serves until it is interrupted, then ends well",
    async () => {
      const { child, finished } = startCli(folder, [
        "serve",
        "runs/small",
        "--port",
        "0",
        "--json",
        "--no-live",
      ]);
      let printed = "";
      const url = await new Promise<string>((resolve, reject) => {
        finished.then(({ stderr }) => reject(new Error(stderr)), reject);
        child.stdout?.on("data", (data) => {
          printed += data;
          const found = /"url":"([^"]*)"/.exec(printed);
          if (found !== null) resolve(found[1]);
        });
      });
      expect((await fetch(url)).status).toBe(200);
      const api = await fetch(`${url}api/encode`, { method: "POST", body: "{}" });
      expect([api.status, ((await api.json()) as { message: string }).message]).toEqual([
        404,
        expect.stringMatching(/--no-live/),
      ]);
      child.kill("SIGINT");
      const { code } = await finished;
      expect(code).toBe(0);
      await expect(fetch(url)).rejects.toThrow();
    },
  );
});
