/** Corpus sets end to end on the embedded texts: mixture, bytes, resumption, limits, held-out ranges, the hub. */
import { readFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HubServer } from "../../test/hub-server.ts";
import { hubSettings } from "../hub/settings.ts";
import { hashFile } from "../storage/hash.ts";
import { type BuildEnvironment, buildCorpusSet as build, type CorpusSetOptions } from "./build.ts";
import { checkDisjoint } from "./disjoint.ts";
import { TokenizerPool } from "./tokenizer-pool.ts";
import { openWindowSet } from "./window-set.ts";
import { locateDocument, ROLES, type WindowsManifest } from "./windows.ts";
import { windowsFromText } from "./windows-from-text.ts";

const assets = fileURLToPath(new URL("../../assets/tiny-gemma/", import.meta.url));
const fixtures = fileURLToPath(new URL("../../test/fixtures/corpus/", import.meta.url));
const tokenizerDir = `${assets}it`;
const prose = {
  name: "prose",
  kind: "text",
  location: `${assets}data/prose_train.jsonl`,
  weight: 1,
} as const;
const chat = { name: "chat", kind: "chat", location: `${assets}data/chat_train.jsonl`, weight: 1 } as const;

let dir: string;
let serial = 0;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-corpus-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function options(change: Partial<CorpusSetOptions> = {}): CorpusSetOptions {
  return {
    dir: join(dir, `set-${serial++}`),
    set: "train",
    contextSize: 64,
    tokens: 6000,
    packing: "saelens",
    prependBos: true,
    sources: [prose, chat],
    excludeSpecialTokens: true,
    tokenizerDir,
    ...change,
  };
}

/** One thread, unless a test is about threads: starting them is most of a small build. */
function buildCorpusSet(set: CorpusSetOptions, environment: BuildEnvironment = {}) {
  return build(set, { tokenizer: { workers: 1 }, ...environment });
}

const hashes = (manifest: WindowsManifest) => manifest.files.map(({ sha256 }) => sha256);

describe("the mixture", () => {
  it.each([
    [1, 1],
    [1, 3],
    [7, 2],
  ])("of %d : %d is exact to one window at every moment, and stops at the count", async (a, b) => {
    const set = options({
      sources: [
        { ...prose, weight: a },
        { ...chat, weight: b },
      ],
    });
    const manifest = await buildCorpusSet(set);
    const { nWindows, keep, document } = await (await openWindowSet(set.dir)).read(0, manifest.nWindows);
    const kept = [0, 0];
    for (let w = 0; w < nWindows; w++) {
      expect(kept[0] + kept[1]).toBeLessThan(set.tokens);
      const { source } = locateDocument(manifest.sources, document[w * 64]);
      for (let i = w * 64; i < (w + 1) * 64; i++) {
        kept[source] += keep[i];
        expect(locateDocument(manifest.sources, document[i]).source).toBe(source);
      }
      const share = (a / (a + b)) * (kept[0] + kept[1]);
      expect(Math.abs(kept[0] - share)).toBeLessThanOrEqual(64);
    }
    expect(kept).toEqual(manifest.sources.map(({ nKept }) => nKept));
    expect(kept[0] + kept[1]).toBe(manifest.nKept);
    expect(manifest.nKept).toBeGreaterThanOrEqual(set.tokens);
    expect(manifest.exhausted).toBe(false);
  });

  it("ends, and says so, where a source whose turn it is has run out", async () => {
    const few = { ...prose, toDocument: 3 };
    const manifest = await buildCorpusSet(options({ sources: [few, chat], tokens: 1_000_000 }));
    expect(manifest.exhausted).toBe(true);
    expect(manifest.sources.map(({ exhausted }) => exhausted)).toEqual([true, false]);
    expect(Math.abs(manifest.sources[0].nKept - manifest.sources[1].nKept)).toBeLessThanOrEqual(64);
    await expect(buildCorpusSet(options({ sources: [{ ...prose, fromDocument: 5000 }] }))).rejects.toThrow(
      'set "train": no token to keep in prose',
    );
  });
});

describe("windows", () => {
  it("keep what is neither BOS nor special nor padding, and carry roles", async () => {
    const set = options({ packing: "document", sources: [chat], tokens: 400, excludeTokenIds: [232] });
    const manifest = await buildCorpusSet(set);
    expect(manifest.excludedTokenIds).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 232]);
    const batch = await (await openWindowSet(set.dir)).read(1, manifest.nWindows);
    expect(batch.first).toBe(1);
    const seen = new Set<string>();
    for (let w = 0; w < batch.nWindows; w++)
      for (let t = 0; t < 64; t++) {
        const i = w * 64 + t;
        const id = batch.tokenIds[i];
        expect(batch.keep[i]).toBe(t < batch.lengths[w] && id > 11 && id !== 232 ? 1 : 0);
        expect(id === 2).toBe(t === 0); // the template's BOS, and no other
        if (batch.keep[i]) seen.add(ROLES[batch.role[i]]);
        expect(locateDocument(manifest.sources, batch.document[i]).index).toBe(w + 1);
      }
    expect([...seen].sort()).toEqual(["assistant", "template", "user"]);
  });

  it("keep special tokens where they are not excluded", async () => {
    const set = options({ packing: "document", sources: [chat], tokens: 100, excludeSpecialTokens: false });
    await buildCorpusSet(set);
    const { keep, lengths } = await (await openWindowSet(set.dir)).read(0, 1);
    expect(Array.from(keep)).toEqual(Array.from({ length: 64 }, (_unused, t) => (t < lengths[0] ? 1 : 0)));
  });

  it("have the same bytes for any number of threads", async () => {
    const set = options();
    const one = await buildCorpusSet(set, { tokenizer: { workers: 1 } });
    const three = await buildCorpusSet({ ...set, dir: join(dir, "again") }, { tokenizer: { workers: 3 } });
    expect(three).toEqual(one);
  });

  it("that were damaged are named", async () => {
    const set = options({ tokens: 500 });
    await buildCorpusSet(set);
    const path = join(set.dir, "windows-00000.safetensors");
    const bytes = await readFile(path);
    bytes[bytes.length - 1] ^= 1;
    await writeFile(path, bytes);
    await expect((await openWindowSet(set.dir)).read(0, 1)).rejects.toThrow(
      /windows-00000\.safetensors: its bytes/,
    );
  });
});

describe("a build", () => {
  it("that is finished is left as it is, until its options or texts change", async () => {
    const location = join(dir, "texts.jsonl");
    const rows = readFileSync(prose.location, "utf8").split("\n").slice(0, 40);
    await writeFile(location, rows.join("\n"));
    const set = options({ sources: [{ ...prose, location, label: "texts.jsonl" }], tokens: 500 });
    let reported = 0;
    const again = (change: Partial<CorpusSetOptions> = {}) => {
      reported = 0;
      return buildCorpusSet({ ...set, ...change }, { onProgress: () => reported++ });
    };
    const first = await again();
    expect(reported).toBe(first.nWindows);
    expect(first.sources[0].location).toBe("texts.jsonl");
    expect(await again()).toEqual(first);
    expect(reported).toBe(0);
    await again({ contextSize: 32 });
    expect(reported).toBeGreaterThan(0);
    await again();
    await writeFile(location, rows.slice(1).join("\n"));
    expect(hashes(await again())).not.toEqual(hashes(first));
    expect(reported).toBeGreaterThan(0);
  });

  it("that was stopped leaves no set, and the next one the same bytes and no strays", async () => {
    const set = options();
    const stop = new AbortController();
    const stopped = buildCorpusSet(set, {
      signal: stop.signal,
      onProgress: ({ nWindows }) => nWindows === 20 && stop.abort(),
    });
    await expect(stopped).rejects.toThrow(/abort/i);
    await expect(openWindowSet(set.dir)).rejects.toThrow(/its build was not finished/);
    // what a kill may leave behind: whole files without a manifest, and halves under temporary names
    await mkdir(set.dir, { recursive: true });
    await writeFile(join(set.dir, "windows-00007.safetensors"), "left over");
    await writeFile(join(set.dir, "windows-00001.safetensors.123-4.tmp"), "half");
    const whole = await buildCorpusSet({ ...set, dir: join(dir, "undisturbed") });
    expect(hashes(await buildCorpusSet(set))).toEqual(hashes(whole));
    expect((await readdir(set.dir)).sort()).toEqual(["manifest.json", "windows-00000.safetensors"]);
  });

  it("does not fail by documents that it does not need", async () => {
    const location = join(dir, "late.jsonl");
    const rows = readFileSync(prose.location, "utf8").split("\n").slice(0, 3);
    await writeFile(location, [...rows, "not JSON"].join("\n"));
    const set = options({
      sources: [{ ...prose, location }],
      tokens: 1000,
      packing: "document",
      contextSize: 600,
    });
    expect((await buildCorpusSet(set)).exhausted).toBe(false);
    await expect(buildCorpusSet({ ...set, tokens: 100_000 })).rejects.toThrow("late.jsonl:4: not JSON");
  });

  it("names the document that is wrong, and leaves no manifest", async () => {
    const location = join(dir, "wrong.jsonl");
    await writeFile(
      location,
      '{"messages":[{"role":"user","content":"hi"}]}\n{"messages":[{"role":"wizard","content":"hi"}]}',
    );
    const set = options({ sources: [{ ...chat, location }], packing: "document" });
    await expect(buildCorpusSet(set)).rejects.toThrow('wrong.jsonl:2: role "wizard", expected one of user, ');
    await expect(openWindowSet(set.dir)).rejects.toThrow(/not finished/);
  });
});

describe("an untrusted tokenizer", () => {
  async function tokenizerWith(change: (tokenizer: { pre_tokenizer: unknown }) => void, template?: string) {
    const folder = await mkdtemp(join(dir, "tokenizer-"));
    await cp(tokenizerDir, folder, { recursive: true, filter: (path) => !path.endsWith(".onnx") });
    const tokenizer = JSON.parse(await readFile(join(folder, "tokenizer.json"), "utf8"));
    change(tokenizer);
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
    if (template !== undefined) await writeFile(join(folder, "chat_template.jinja"), template);
    return folder;
  }

  it("whose regular expression does not end is stopped, and the document named", async () => {
    const folder = await tokenizerWith((tokenizer) => {
      tokenizer.pre_tokenizer = {
        type: "Split",
        pattern: { Regex: "(a+)+$" },
        behavior: "Isolated",
        invert: false,
      };
    });
    const pool = await TokenizerPool.open(folder, { documentLimitMs: 300, workers: 1 });
    const documents = [
      { text: "fine", place: "a.jsonl:1" },
      { text: `${"a".repeat(60)}!`, place: "a.jsonl:2" },
      { text: "fine", place: "a.jsonl:3" },
    ];
    await expect(pool.encode(documents)).rejects.toThrow(/^a\.jsonl:2: tokenising took more than 0\.3 s/);
    expect(pool.isOver).toBe(true);
    await expect(pool.encode(documents)).rejects.toThrow(/a\.jsonl:2/);
    await pool.close();
  });

  it("whose template does not end is stopped", async () => {
    const folder = await tokenizerWith(
      () => undefined,
      `{% for a in range(99999) %}${"{{ messages | tojson }}".repeat(50)}{% endfor %}`,
    );
    const pool = await TokenizerPool.open(folder, { documentLimitMs: 200, workers: 1 });
    const long = { messages: [{ role: "user", content: "x".repeat(4000) }], place: "c.jsonl:1" };
    await expect(pool.encode([long])).rejects.toThrow(/^c\.jsonl:1: /);
    await pool.close();
  });
});

describe("train and held-out", () => {
  it("are disjoint by their document ranges, which the manifest shows", async () => {
    const train = await buildCorpusSet(options({ sources: [{ ...prose, toDocument: 20 }], tokens: 2000 }));
    const used = train.sources[0].documents;
    expect(train.sources[0].files).toMatchObject([{ name: "prose_train.jsonl", documents: used }]);
    const held = (fromDocument: number) =>
      buildCorpusSet(options({ set: "held", sources: [{ ...prose, fromDocument }], tokens: 500 }));
    const after = await held(used[1]);
    expect(after.sources[0].documents[0]).toBe(used[1]);
    expect(() => checkDisjoint([train, after])).not.toThrow();
    const overlapping = await held(used[1] - 1);
    expect(() => checkDisjoint([after, train, overlapping])).toThrow(
      /sets "held" and "held" both use documents/,
    );
    expect(() => checkDisjoint([train, overlapping])).toThrow(
      `sets "train" and "held" both use documents ${used[1] - 1} to ${used[1] - 1} of`,
    );
  });

  it("are told to overlap also where the file was copied under another name", async () => {
    const location = join(dir, "copy.jsonl");
    await cp(prose.location, location);
    const train = await buildCorpusSet(options({ sources: [prose], tokens: 500 }));
    const copy = await buildCorpusSet(
      options({ set: "held", sources: [{ ...prose, location }], tokens: 500 }),
    );
    expect(() => checkDisjoint([train, copy])).toThrow(/copy\.jsonl|prose_train\.jsonl/);
  });

  it("tell the byte at which the held-out text begins", async () => {
    const { sources } = await buildCorpusSet(options({ sources: [prose], tokens: 500 }));
    const [{ documents, endOffset }] = sources[0].files!;
    const bytes = await readFile(prose.location);
    expect(bytes.subarray(0, endOffset!).toString().split("\n")).toHaveLength(documents[1] + 1);
  });
});

describe("a data set on the hub", () => {
  it("is read as far as needed, cached, and gives what the same local file gives", async () => {
    const server = await HubServer.start();
    try {
      const cacheDir = join(dir, "cache");
      const settings = hubSettings(
        { retryDelayMs: 1 },
        { HF_ENDPOINT: server.url, LAPIDARY_CACHE: cacheDir },
      );
      const read = (name: string) => readFileSync(join(fixtures, name));
      server.add({
        type: "dataset",
        name: "o/mix",
        files: {
          "train/00.jsonl.zst": read("docs.jsonl.zst"),
          "train/01.jsonl.zst": "never touched".repeat(100),
          "chats/test-0.parquet": read("chats.parquet"),
        },
        largeBytes: 500,
      });
      const set = (hub: boolean) =>
        options({
          packing: "document",
          tokens: 900,
          sources: [
            hub
              ? { ...prose, location: "hf:o/mix", split: "train" }
              : { ...prose, location: `${fixtures}docs.jsonl.zst` },
            hub
              ? { ...chat, location: "hf:o/mix", config: "chats", split: "test" }
              : { ...chat, location: `${fixtures}chats.parquet` },
          ],
        });
      server.breakAfter("train/00.jsonl.zst", 100);
      const remote = await buildCorpusSet(set(true), { settings });
      expect(hashes(remote)).toEqual(hashes(await buildCorpusSet(set(false))));
      const digest = await hashFile(join(fixtures, "docs.jsonl.zst"));
      expect(remote.sources[0]).toMatchObject({
        format: "jsonl.zst",
        split: "train",
        commit: expect.stringMatching(/^[0-9a-f]{40}$/),
      });
      expect(remote.sources[0].files).toMatchObject([
        { name: "train/00.jsonl.zst", identity: `sha256:${digest}` },
      ]);
      expect(server.contentRequests().some(({ url }) => url.includes("01.jsonl.zst"))).toBe(false);
      server.requests.length = 0;
      expect(hashes(await buildCorpusSet(set(true), { settings }))).toEqual(hashes(remote));
      expect(server.contentRequests()).toEqual([]);
      expect(hashes(await buildCorpusSet(set(true), { settings: { ...settings, offline: true } }))).toEqual(
        hashes(remote),
      );
    } finally {
      await server.close();
    }
  });
});

describe("a text in memory", () => {
  it("becomes windows that hold all of it", async () => {
    const pool = await TokenizerPool.open(tokenizerDir);
    const text = "It was the best of times, it was the worst of times. ".repeat(12);
    const [{ tokenIds }] = await pool.encode([{ text, place: "text" }]);
    const batch = await windowsFromText(text, pool, 50);
    const body: number[] = [];
    for (let w = 0; w < batch.nWindows; w++) {
      expect(batch.tokenIds[w * 50]).toBe(2);
      body.push(...batch.tokenIds.slice(w * 50 + 1, w * 50 + batch.lengths[w]));
    }
    expect(body).toEqual(Array.from(tokenIds));
    expect(batch.keep.reduce((sum, kept) => sum + kept, 0)).toBe(body.length);
    await expect(windowsFromText("", pool, 50)).rejects.toThrow(/no token to keep/);
    await pool.close();
  });
});
