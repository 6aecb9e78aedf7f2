/**
 * Publishing against a small hub on this machine that fails in every way it can: each time all files are there with the
 * hashes they have here, or the repository is as it was.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HubServer } from "../../test/hub-server.ts";
import type { Fault } from "../../test/hub-uploads.ts";
import { LapidaryError } from "../errors.ts";
import { pull } from "./pull.ts";
import { isLargeFile, missingFiles, type OutgoingFile, outgoingFile, pushFiles } from "./push.ts";
import type { Repository } from "./repository.ts";
import { type HubSettings, hubSettings } from "./settings.ts";
import { findTarget, makeTarget } from "./target.ts";

const TOKEN = "hf_secretsecretsecret";
const NAME = "o/saes";
const weights = (seed: number, length: number) =>
  Buffer.from(Array.from({ length }, (_unused, i) => (i * seed) % 251));
const CONTENT: Record<string, string | Buffer> = {
  "README.md": "# Card\n",
  "layer-2/cfg.json": "{}\n",
  "layer-2/sae_weights.safetensors": weights(7919, 30_000),
  "layer-4/cfg.json": '{"layer": 4}\n',
  "layer-4/sae_weights.safetensors": weights(104_729, 90_000), // in parts
  "train/layer-4/events.jsonl": "",
};

let server: HubServer;
let folder: string;
let settings: HubSettings;
let files: OutgoingFile[];

beforeEach(async () => {
  server = await HubServer.start();
  server.uploads.token = TOKEN;
  folder = await mkdtemp(join(tmpdir(), "lapidary-push-"));
  settings = settingsWith(TOKEN);
  for (const [path, content] of Object.entries(CONTENT)) {
    await mkdir(dirname(join(folder, "out", path)), { recursive: true });
    await writeFile(join(folder, "out", path), content);
  }
  files = await filesOnDisk();
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

function settingsWith(token: string): HubSettings {
  return hubSettings(
    { retryDelayMs: 1, attempts: 3, stallMs: 2000 },
    { HF_ENDPOINT: server.url, LAPIDARY_CACHE: join(folder, "cache"), HF_TOKEN: token },
  );
}

const filesOnDisk = () =>
  Promise.all(Object.keys(CONTENT).map((path) => outgoingFile(path, join(folder, "out", path))));

async function target(options: { branch?: string; isPrivate?: boolean } = {}): Promise<Repository> {
  return makeTarget(await findTarget(NAME, options.branch ?? "main", settings), settings, options);
}

const push = async (repository?: Repository) =>
  pushFiles(repository ?? (await target()), files, { title: "SAEs" });

/** What the hub holds under the published paths: path → sha-256. */
const published = (revision = "main") =>
  Object.fromEntries(
    (server.revision(NAME, revision)?.files ?? [])
      .filter(({ path }) => path in CONTENT)
      .map(({ path, sha256 }) => [path, sha256]),
  );
const wanted = () => Object.fromEntries(files.map(({ path, sha256 }) => [path, sha256]));
const sent = (pattern: RegExp) =>
  server.requests.filter(({ method, url }) => pattern.test(`${method} ${url.split("?")[0]}`));

describe("a push", () => {
  it("makes the repository, sends large files as LFS and one commit, and has the hashes of this disk", async () => {
    const pushed = await push();
    expect(published()).toEqual(wanted());
    expect(pushed.commit).toBe(server.revision(NAME)?.commit);
    expect(sent(/^POST .*\/commit\//)).toHaveLength(1);
    expect(sent(/^PUT/)).toHaveLength(1 + 3); // one whole, one in three parts
    const large = server.revision(NAME)!.files.filter((file) => file.large);
    expect(large.map(({ path }) => path)).toEqual(files.filter(isLargeFile).map(({ path }) => path));
    expect(sent(/^PUT/).every(({ authorization }) => authorization === undefined)).toBe(true);
    expect(server.uploads.transfers).toEqual([["basic", "multipart"]]); // no Xet unless asked
  });

  it("offers Xet when asked to", async () => {
    await pushFiles(await target(), files, { title: "SAEs", xet: true });
    expect(server.uploads.transfers).toEqual([["basic", "multipart", "xet"]]);
    expect(published()).toEqual(wanted());
  });

  it("again sends nothing, and after a change that file alone", async () => {
    const first = await push();
    server.requests.length = 0;
    expect((await push()).commit).toBe(first.commit);
    expect(sent(/^(POST|PUT)/)).toEqual([]);
    await writeFile(join(folder, "out", "README.md"), "# Better card\n");
    files = await filesOnDisk();
    expect(missingFiles(first, files).map(({ path }) => path)).toEqual(["README.md"]);
    expect((await push()).commit).not.toBe(first.commit);
    expect(sent(/^PUT/)).toEqual([]);
    expect(published()).toEqual(wanted());
  });

  it("goes to a branch that it makes, and leaves main as it was", async () => {
    const main = (await target()).commit;
    await push(await target({ branch: "draft" }));
    expect(published("draft")).toEqual(wanted());
    expect(server.revision(NAME)?.commit).toBe(main);
  });

  it("to a private repository makes it so, and refuses a public one", async () => {
    await push(await target({ isPrivate: true }));
    expect(server.revision(NAME)?.isPrivate).toBe(true);
    server.add({ type: "model", name: NAME, files: { "README.md": "public" } });
    await expect(target({ isPrivate: true })).rejects.toThrow(/is public, and --private was asked for/);
  });

  it("and pull give the same bytes; damage and strangers' files are noticed", async () => {
    const { commit } = await push();
    const there = join(folder, "back");
    const pulled = await pull(`hf:${NAME}@${commit}`, there, { settings });
    expect(pulled).toMatchObject({ commit, nKept: 0 });
    for (const { path, sha256 } of files)
      expect((await outgoingFile(path, join(there, path))).sha256).toBe(sha256);
    expect((await pull(`hf:${NAME}`, there, { settings })).nKept).toBe(pulled.files.length);
    for (const path of ["layer-2/cfg.json", "layer-2/sae_weights.safetensors"]) {
      const before = await readFile(join(there, path));
      await writeFile(join(there, path), Buffer.from(before).fill(1, 0, 1));
      await expect(pull(`hf:${NAME}`, there, { settings })).rejects.toThrow(/not what the hub has/);
      await writeFile(join(there, path), before);
    }
  });
});

describe("whole in spite of", () => {
  const PREUPLOAD = /^POST .*\/preupload\//;
  const BATCH = /^POST .*\/lfs\/objects\/batch$/;
  const OBJECT = /^PUT \/put\/[0-9a-f]+$/;
  const PART = /^PUT \/put\/[0-9a-f]+\/00002$/;
  const COMPLETE = /^POST \/complete$/;
  const COMMIT = /^POST .*\/commit\//;
  const places = { PREUPLOAD, BATCH, OBJECT, PART, COMPLETE, COMMIT };
  const faults: Record<string, Fault> = {
    "429": { status: 429, retryAfter: "0" },
    "500": { status: 500 },
    "503": { status: 503 },
    "a connection lost midway": "cut",
    "an answer that is lost": "lose",
    "half an answer": "truncate",
  };
  const all = Object.entries(places).flatMap(([place, where]) =>
    Object.entries(faults).map(([name, fault]) => ({ name, place, where, fault })),
  );
  it.each(all)("$name at $place", async ({ where, fault }) => {
    server.uploads.disturb(where, fault, fault);
    await push();
    expect(published()).toEqual(wanted());
    expect(sent(COMMIT).length).toBeLessThanOrEqual(3);
  });

  it("a part damaged on its way to the storage", async () => {
    server.uploads.disturb(PART, "damage"); // found out when the parts are put together
    server.uploads.disturb(COMPLETE, { status: 400 });
    await push();
    expect(published()).toEqual(wanted());
  });

  it("an object damaged on its way to the storage", async () => {
    server.uploads.disturb(OBJECT, "damage");
    await push();
    expect(published()).toEqual(wanted());
  });

  it("storage addresses that expired, and sends the other objects once", async () => {
    server.uploads.disturb(PART, { status: 403 });
    await push();
    expect(published()).toEqual(wanted());
    expect(sent(OBJECT)).toHaveLength(1);
  });

  it("a wait that the hub asks for", async () => {
    server.uploads.disturb(COMMIT, { status: 429, retryAfter: "0.2" });
    const repository = await target();
    const before = performance.now();
    await push(repository);
    expect(performance.now() - before).toBeGreaterThan(200);
  });
});

describe("not at all, with one clear error:", () => {
  async function refused(name: RegExp, hint: RegExp, repository?: Repository) {
    const before = server.revision(NAME)?.commit;
    const error = await push(repository).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LapidaryError);
    const { message, hint: advice = "", stack, cause } = error as LapidaryError;
    expect(message).toMatch(name);
    expect(advice).toMatch(hint);
    expect([message, advice, stack, String((cause as Error)?.stack)].join()).not.toContain("secret");
    expect(server.revision(NAME)?.commit).toBe(before);
    return before;
  }

  it("a token that expired, before and while files are sent", async () => {
    const repository = await target();
    server.uploads.disturb(/batch$/, { status: 401 });
    await refused(/does not accept the token \(401\); nothing was published/, /may have expired/, repository);
    server.uploads.disturb(/\/commit\//, { status: 401 });
    await refused(/does not accept the token/, /may have expired/, repository);
    server.uploads.disturb(/^POST \/complete/, { status: 401 });
    server.uploads.objects.clear();
    await refused(/does not accept the token/, /may have expired/, repository);
    server.uploads.token = "hf_another";
    await refused(/does not accept the token/, /may have expired/, repository);
    await refused(/does not accept the token/, /may have expired/);
  });

  it("no token; what is there can be asked for all the same", async () => {
    const nobody = { ...settings, token: () => undefined };
    expect((await findTarget(NAME, "main", nobody)).repository).toBeNull();
    server.uploads.token = undefined;
    settings = { ...settings, token: () => undefined };
    await refused(/needs a token/, /set HF_TOKEN/);
  });

  it("a token that may only read", async () => {
    const repository = await target();
    server.uploads.disturb(/preupload/, { status: 403 });
    await refused(/may not write there \(403\)/, /needs write access/, repository);
  });

  it.each([["500"], ["429"]])("a hub that answers %s all the time", async (status) => {
    const repository = await target();
    const fault = { status: Number(status) };
    server.uploads.disturb(/\/commit\//, fault, fault, fault);
    await refused(new RegExp(`\\(${status}\\)`), /run the same command again/, repository);
  });

  it("a connection that breaks all the time, in an object and in the commit; what arrived is not sent again", async () => {
    const repository = await target();
    server.uploads.disturb(/^PUT .*\/00002$/, "cut", "cut", "cut");
    await refused(/no answer/, /check the network/, repository);
    server.uploads.disturb(/\/commit\//, "cut", "cut", "cut");
    await refused(/no answer/, /check the network/, repository);
    server.requests.length = 0;
    await push(repository);
    expect(published()).toEqual(wanted());
    expect(sent(/^PUT/)).toEqual([]);
  });

  it("bytes that are damaged on every way", async () => {
    const repository = await target();
    server.uploads.disturb(/^PUT \/put\/[0-9a-f]+$/, "damage", "damage", "damage", "damage", "damage");
    await refused(/storage answered 400/, /run the same command again/, repository);
  });

  it("a branch that moved, before the commit or while it was not known whether it was made", async () => {
    const repository = await target();
    let nOther = 0;
    const elsewhere = () =>
      server.add({ type: "model", name: NAME, files: { "other.txt": String(nOther++) } });
    server.uploads.beforeCommit = () => {
      server.uploads.beforeCommit = undefined;
      elsewhere();
    };
    const error = await push(repository).catch((thrown: unknown) => thrown as LapidaryError);
    expect(error).toMatchObject({
      message: expect.stringMatching(/main moved from [0-9a-f]{12} to [0-9a-f]{12}.*nothing was published/),
      hint: expect.stringMatching(/look at what was committed there/),
    });
    expect(published()).toEqual({});
    const again = await target();
    server.uploads.disturb(/\/commit\//, "cut");
    elsewhere();
    await expect(push(again)).rejects.toThrow(/main moved/);
    expect(published()).toEqual({});
  });
});
