/** The hub's side, against a small hub on this machine: what is asked, what is cached, what is refused. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HubServer } from "../../test/hub-server.ts";
import { findDatasetFiles } from "./dataset-files.ts";
import { downloadFile, downloadFiles } from "./download.ts";
import { NetworkError } from "./hub-fetch.ts";
import { openRemoteFile } from "./remote-file.ts";
import { openRepository } from "./repository.ts";
import { isSafePath } from "./safe-path.ts";
import { type HubSettings, hubSettings } from "./settings.ts";
import { parseSource, resolveSource } from "./source.ts";

const TOKEN = "hf_secretsecretsecret";

let server: HubServer;
let cacheDir: string;
let settings: HubSettings;
beforeEach(async () => {
  server = await HubServer.start();
  cacheDir = await mkdtemp(join(tmpdir(), "lapidary-hub-"));
  settings = hubSettings(
    { retryDelayMs: 1, attempts: 3 },
    { HF_ENDPOINT: `${server.url}/`, LAPIDARY_CACHE: cacheDir, HF_TOKEN: TOKEN },
  );
});
afterEach(async () => {
  await server.close();
  await rm(cacheDir, { recursive: true, force: true });
});

const big = Buffer.from(Array.from({ length: 50_000 }, (_unused, i) => (i * 7919) % 251));

describe("a source's spelling", () => {
  it("is a path, or hf:owner/name with folder and revision", () => {
    expect(parseSource("./some/folder")).toEqual({ kind: "path", path: "./some/folder" });
    expect(parseSource("hf:o/n/sub/dir@refs/pr/1")).toEqual({
      kind: "hub",
      name: "o/n",
      subPath: "sub/dir",
      revision: "refs/pr/1",
    });
    for (const wrong of ["hf:", "hf:../x", "hf:o/n/../../etc", "hf:o/n@", "hf:o n/x"])
      expect(() => parseSource(wrong)).toThrow(/cannot read/);
  });
});

describe("a model or SAE on the hub", () => {
  beforeEach(() => {
    server.add({
      type: "model",
      name: "o/sae",
      files: { "README.md": "# hi", "a/cfg.json": "{}", "a/w.safetensors": big, "b/cfg.json": "{}" },
    });
  });

  it("is downloaded once, only what is under the sub path, and found in the cache afterwards", async () => {
    const folder = await resolveSource("hf:o/sae/a", { settings });
    expect((await readdir(folder)).sort()).toEqual(["cfg.json", "w.safetensors"]);
    expect(await readFile(join(folder, "w.safetensors"))).toEqual(big);
    server.requests.length = 0;
    expect(
      await resolveSource("o/sae@main", {
        settings,
        choose: (paths) => paths.filter((path) => path.startsWith("a/")),
      }),
    ).toBe(join(folder, ".."));
    expect(server.contentRequests()).toEqual([]);
    expect(server.requests.map(({ url }) => url.split("?")[0])).toEqual(["/api/models/o/sae/revision/main"]);
  });

  it("is found in the cache without any network", async () => {
    const folder = await resolveSource("hf:o/sae/b", { settings });
    expect(await resolveSource("hf:o/sae/b", { settings: { ...settings, offline: true } })).toBe(folder);
    await expect(resolveSource("hf:o/sae/a", { settings: { ...settings, offline: true } })).rejects.toThrow(
      NetworkError,
    );
  });

  it("that is absent gives the reason and what to do", async () => {
    await expect(resolveSource("hf:o/none", { settings })).rejects.toMatchObject({
      message: "o/none at main: the hub answered 404",
      hint: expect.stringContaining("check the spelling"),
    });
    await expect(resolveSource("hf:o/sae/zzz", { settings })).rejects.toThrow('o/sae has nothing at "zzz"');
    await expect(resolveSource("./zzz", { settings })).rejects.toThrow("./zzz: no such folder");
    server.failWith("a/cfg.json", 403);
    await expect(resolveSource("hf:o/sae/a", { settings })).rejects.toMatchObject({
      hint: expect.stringContaining("set HF_TOKEN"),
    });
  });

  it("gets the token, and the host it redirects to does not", async () => {
    await resolveSource("hf:o/sae/a", { settings });
    const on = (name: "hub" | "cdn") => server.requests.filter((request) => request.server === name);
    expect(on("hub").every(({ authorization }) => authorization === `Bearer ${TOKEN}`)).toBe(true);
    expect(on("cdn").map(({ authorization }) => authorization)).toEqual([undefined]);
    const names = await readdir(cacheDir, { recursive: true, withFileTypes: true });
    for (const entry of names.filter((each) => each.isFile()))
      expect(await readFile(join(entry.parentPath, entry.name), "latin1")).not.toContain(TOKEN);
  });
});

describe("a download", () => {
  async function target() {
    server.add({ type: "model", name: "o/m", files: { "w.bin": big } });
    const repository = await openRepository("model", "o/m", { settings });
    return { repository, file: repository.files[0] };
  }

  it("whose connection breaks goes on from the byte where it broke", async () => {
    const { repository, file } = await target();
    server.breakAfter("w.bin", 10_000, 20_000);
    const path = await downloadFile(repository, file);
    expect(await readFile(path)).toEqual(big);
    const ranges = server.requests.filter((request) => request.server === "cdn").map(({ range }) => range);
    expect(ranges).toHaveLength(3);
    expect(ranges[0]).toBeUndefined();
    for (const range of ranges.slice(1)) expect(Number(/^bytes=(\d+)-/.exec(range!)![1])).toBeGreaterThan(0);
  });

  it("that was given up goes on the next time, and has no name until it is whole", async () => {
    const { repository, file } = await target();
    server.breakAfter("w.bin", 10_000, 0, 0, 0);
    await expect(downloadFile(repository, file)).rejects.toMatchObject({
      hint: expect.stringContaining("it goes on from what has arrived"),
    });
    await expect(stat(join(repository.dir, repository.commit, "w.bin"))).rejects.toThrow();
    server.breakAfter("w.bin");
    server.requests.length = 0;
    expect(await readFile(await downloadFile(repository, file))).toEqual(big);
    const [{ range }] = server.requests.filter((request) => request.server === "cdn");
    expect(Number(/^bytes=(\d+)-49999$/.exec(range!)![1])).toBeGreaterThan(0);
  });

  it("with a damaged beginning is noticed by its hash and fetched anew", async () => {
    const { repository, file } = await target();
    server.breakAfter("w.bin", 10_000, 0, 0, 0);
    await expect(downloadFile(repository, file)).rejects.toThrow(NetworkError);
    const [partial] = await readdir(join(repository.dir, "partial"));
    const path = join(repository.dir, "partial", partial);
    const bytes = await readFile(path);
    bytes[0] ^= 1;
    await writeFile(path, bytes);
    server.breakAfter("w.bin");
    expect(await readFile(await downloadFile(repository, file))).toEqual(big);
  });

  it("whose token expires on the way goes on with a new one", async () => {
    const { repository, file } = await target();
    server.breakAfter("w.bin", 20_000, 0, 0, 0);
    await expect(downloadFile(repository, file)).rejects.toThrow(NetworkError);
    server.breakAfter("w.bin");
    server.failWith("w.bin", 401);
    const error = await downloadFile(repository, file).catch((thrown: unknown) => thrown as Error);
    expect(error).toMatchObject({
      message: expect.stringContaining("answered 401"),
      hint: expect.stringContaining("HF_TOKEN"),
    });
    expect(`${(error as Error).stack}`).not.toContain("secret");
    expect(await readFile(await downloadFile(repository, file))).toEqual(big);
    expect(server.contentRequests().at(-1)?.range).toBe("bytes=20000-49999");
  });

  it("of other bytes than the hub listed is refused", async () => {
    const { repository, file } = await target();
    const lie = { ...file, identity: `sha256:${"0".repeat(64)}` };
    server.add({ type: "model", name: "o/m", files: { "w.bin": big } });
    await expect(downloadFile(repository, lie)).rejects.toThrow(/does not have the hub's hash/);
    expect(await readdir(join(repository.dir, "partial"))).toEqual([]);
  });

  it("is tried again when the server fails, and can be stopped", async () => {
    const { repository, file } = await target();
    server.failWith("w.bin", 503, 429);
    const progress: number[] = [];
    await downloadFiles(repository, [file], { onProgress: ({ doneBytes }) => progress.push(doneBytes) });
    expect(progress.at(-1)).toBe(big.length);
    await rm(repository.dir, { recursive: true });
    await expect(downloadFile(repository, file, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  });
});

describe("an answer about a repository", () => {
  const ask = (fresh = false) => openRepository("model", "o/m", { settings, fresh });
  beforeEach(() => {
    server.add({ type: "model", name: "o/m", files: { a: "1", b: "2", c: "3", d: "4" } });
  });

  it.each(["revision", "tree"])("that fails or breaks off is asked for again: %s", async (route) => {
    const where = new RegExp(`/${route}/`);
    server.uploads.disturb(where, { status: 500 }, "truncate");
    expect((await ask()).files.map(({ path }) => path)).toEqual(["a", "b", "c", "d"]);
    await rm(cacheDir, { recursive: true });
    server.uploads.disturb(where, { status: 429 }, "truncate");
    expect((await ask()).files).toHaveLength(4);
    await rm(cacheDir, { recursive: true });
    server.uploads.disturb(where, "truncate", "truncate", "truncate");
    await expect(ask()).rejects.toThrow(NetworkError);
  });

  it("that is no JSON, or a refusal, is one clear error", async () => {
    server.uploads.disturb(/revision/, "damage");
    await expect(ask()).rejects.toThrow(/o\/m at main: the hub's answer is not JSON/);
    server.uploads.disturb(/tree/, { status: 401 });
    await expect(ask()).rejects.toThrow(/the hub answered 401/);
  });

  it("about where a branch stands is remembered for when the network is gone, unless it must be fresh", async () => {
    const { commit } = await ask();
    const gone = ["truncate", "truncate", "truncate"] as const;
    server.uploads.disturb(/revision/, ...gone);
    expect((await ask()).commit).toBe(commit);
    server.uploads.disturb(/revision/, ...gone);
    await expect(ask(true)).rejects.toThrow(NetworkError);
  });
});

describe("names that others chose", () => {
  it("do not leave their folder", async () => {
    for (const path of [
      "../x",
      "/etc/passwd",
      "a/../../x",
      "C:/x",
      "a\\..\\x",
      "a/./b",
      "a//b",
      "",
      "a/b.",
      "x\u0000",
    ])
      expect(isSafePath(path), path).toBe(false);
    expect(isSafePath("onnx/model_q4.onnx_data")).toBe(true);
    for (const path of ["../evil.bin", "a/../../evil.bin", "c:\\evil.bin"]) {
      server.add({ type: "model", name: "o/evil", files: { "ok.txt": "ok", [path]: "evil" } });
      await expect(resolveSource("hf:o/evil", { settings })).rejects.toThrow(/would leave its folder/);
    }
    const written = await readdir(cacheDir, { recursive: true });
    expect(written.filter((name) => /evil\.bin/.test(name))).toEqual([]);
  });
});

describe("a file read in parts", () => {
  async function open(blockBytes: number) {
    server.add({ type: "dataset", name: "o/d", files: { "data.bin": big } });
    const repository = await openRepository("dataset", "o/d", { settings });
    return { repository, file: await openRemoteFile(repository, repository.files[0], { blockBytes }) };
  }
  const ranges = () => server.requests.filter(({ server }) => server === "cdn").map(({ range }) => range);

  it("fetches only the blocks that are touched, and those once", async () => {
    const { repository, file } = await open(1000);
    expect(Buffer.from(await file.read(49_990, 50_000))).toEqual(big.subarray(49_990));
    expect(Buffer.from(await file.read(1500, 3500))).toEqual(big.subarray(1500, 3500));
    expect(ranges()).toEqual(["bytes=49000-49999", "bytes=1000-3999"]);
    const again = await openRemoteFile(repository, repository.files[0], { blockBytes: 1000 });
    expect(Buffer.from(await again.read(1000, 4000))).toEqual(big.subarray(1000, 4000));
    expect(ranges()).toHaveLength(2);
  });

  it("streams as far as it is read, and goes on where a connection broke", async () => {
    const { file } = await open(8192);
    server.breakAfter("data.bin", 5000);
    let read = 0;
    for await (const bytes of file.stream()) {
      expect(Buffer.from(bytes)).toEqual(big.subarray(read, read + bytes.length));
      read += bytes.length;
      if (read >= 16_384) break;
    }
    expect(ranges()[0]).toBe("bytes=0-8191");
    expect(ranges().at(-1)).toBe("bytes=8192-16383");
    expect(ranges()).toHaveLength(3);
  });

  it("fetches a block anew that the disk has damaged", async () => {
    const { repository, file } = await open(8192);
    await file.read(0, 10);
    const folder = join(repository.dir, "blocks", (await readdir(join(repository.dir, "blocks")))[0]);
    const [name] = await readdir(folder);
    await writeFile(join(folder, name), Buffer.alloc(8192));
    expect(Buffer.from(await file.read(0, 10))).toEqual(big.subarray(0, 10));
    expect(ranges()).toHaveLength(2);
  });
});

describe("the files of a data set's split", () => {
  async function find(files: Record<string, string>, options: { config?: string; split?: string } = {}) {
    server.add({ type: "dataset", name: "o/d", files });
    const found = await findDatasetFiles(await openRepository("dataset", "o/d", { settings }), options);
    return [found.foundBy, ...found.files.map(({ path }) => path)];
  }
  const card = [
    "---",
    "configs:",
    "- config_name: default",
    "  data_files:",
    "  - split: train_sft",
    "    path: data/train_sft-*",
    "  - split: test_sft",
    '    path: ["data/test_sft-*"]',
    "- config_name: other",
    "  data_files: other/**/*.jsonl",
    "---",
    "# Card",
  ].join("\n");
  const chats = {
    "README.md": card,
    "data/train_sft-00000-of-00002.parquet": "x",
    "data/train_sft-00001-of-00002.parquet": "y",
    "data/test_sft-00000-of-00001.parquet": "z",
    "other/deep/er/a.jsonl": "{}",
    "other/b.jsonl": "{}",
  };

  it("are those that the card names", async () => {
    expect(await find(chats, { split: "train_sft" })).toEqual([
      "card",
      "data/train_sft-00000-of-00002.parquet",
      "data/train_sft-00001-of-00002.parquet",
    ]);
    expect(await find(chats, { config: "other" })).toEqual([
      "card",
      "other/b.jsonl",
      "other/deep/er/a.jsonl",
    ]);
    await expect(find(chats)).rejects.toThrow('has no split "train", it has "train_sft", "test_sft"');
    await expect(find(chats, { config: "x" })).rejects.toThrow('no config "x", it has "default", "other"');
  });

  it("are else those whose names say so", async () => {
    const pile = {
      "README.md": "no header",
      "train/00.jsonl.zst": "a",
      "train/01.jsonl.zst": "b",
      "val.jsonl.zst": "c",
      "test.jsonl.zst": "d",
    };
    expect(await find(pile)).toEqual(["names", "train/00.jsonl.zst", "train/01.jsonl.zst"]);
    expect(await find(pile, { split: "validation" })).toEqual(["names", "val.jsonl.zst"]);
    expect(await find({ "en/train-1.parquet": "a", "de/train-1.parquet": "b" }, { config: "de" })).toEqual([
      "names",
      "de/train-1.parquet",
    ]);
    expect(await find({ "rows.jsonl": "a", "requirements.txt": "b" })).toEqual(["names", "rows.jsonl"]);
  });

  it("are else those of the hub's conversion", async () => {
    server.add({
      type: "dataset",
      name: "o/d",
      revision: "refs/convert/parquet",
      files: { "default/train/0000.parquet": "a", "default/partial-test/0000.parquet": "b" },
    });
    expect(await find({ "archive.tar": "x" })).toEqual(["conversion", "default/train/0000.parquet"]);
    expect(await find({ "archive.tar": "x" }, { split: "test" })).toEqual([
      "conversion",
      "default/partial-test/0000.parquet",
    ]);
    await expect(find({ "archive.tar": "x" }, { split: "dev" })).rejects.toMatchObject({
      message: 'o/d: found no files for split "dev"',
      hint: expect.stringContaining('"archive.tar"'),
    });
  });
});
