/** Uploads arrive once each, whatever fails on the way, and go on after being stopped. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ClientSettings, NeuronpediaClient } from "../../src/dashboard/neuronpedia/client.ts";
import { openTables } from "../../src/dashboard/neuronpedia/open-tables.ts";
import type { IndexTables } from "../../src/dashboard/neuronpedia/records.ts";
import { type UploadOptions, uploadNeuronpedia } from "../../src/dashboard/neuronpedia/upload.ts";
import { round5 } from "../../src/dashboard/neuronpedia/values.ts";
import { writeJson } from "../../src/storage/atomic.ts";
import { NeuronpediaServer } from "./neuronpedia-server.ts";
import { TINY, type TinyIndex, writeTinyIndex } from "./tiny-index.ts";

const KEY = "sk-np-secret-0123456789";
const PLACE = { modelId: "tiny-model", layer: 4, setName: "my-set", suffix: null };

let root: string;
let tiny: TinyIndex;
let index: IndexTables & { close(): void };
let server: NeuronpediaServer;
let record: string;
let serial = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lapidary-upload-"));
  tiny = await writeTinyIndex(join(root, "index"));
  index = await openTables(tiny.dir);
});
afterAll(async () => {
  index?.close();
  await rm(root, { recursive: true, force: true });
});
beforeEach(async () => {
  server = await NeuronpediaServer.start(KEY);
  record = join(root, `record-${serial++}.json`);
});
afterEach(() => server.stop());

const client = (more: Partial<ClientSettings> = {}) =>
  new NeuronpediaClient({ endpoint: server.url, key: () => KEY, retryDelayMs: 1, ...more });
const upload = (more: Partial<UploadOptions> = {}) =>
  uploadNeuronpedia(index, { place: PLACE, client: client(), record, ...more });

const firing = () => tiny.latents.filter(({ examples }) => examples.length > 0);

/** Every latent with examples is there, once, as the index has it. */
function expectAll(): void {
  expect(server.stored.size).toBe(firing().length);
  for (const { latent, examples, acts } of firing()) {
    const found = server.stored.get(`tiny-model/4-my-set/${latent}`);
    expect(found?.times, `latent ${latent}`).toBe(1);
    expect(found?.feature.density).toBe(acts.length / TINY.nTokens);
    expect(found?.feature.activations.map(({ values }) => values)).toEqual(
      examples.map((example) => example.acts.map(round5)),
    );
    expect(found?.feature.activations[0]).toMatchObject({
      quantileMin: -1,
      quantileMax: round5(Math.max(...acts)),
      quantileFraction: null,
    });
  }
}

describe("upload", () => {
  it("sends every latent that fires, up to 128 at a time, and says which do not", async () => {
    const result = await upload();
    const nFiring = firing().length;
    expect(result).toMatchObject({
      nSent: nFiring,
      nSilent: TINY.dSae - nFiring,
      nRequests: Math.ceil(nFiring / 128),
      next: TINY.dSae,
    });
    expectAll();
    const again = await upload();
    expect(again).toMatchObject({ nSent: 0, nRequests: 0, next: TINY.dSae });
  });

  it.each([
    ["too many requests", [429, 429]],
    ["server errors", [500, 503]],
    ["the connection lost before it arrived", ["lost before"]],
    ["the connection lost after it was stored", ["lost after"]],
    ["one after the other", ["lost after", 500, "lost before", "lost after", 429]],
  ] as const)("%s: sent again, stored once", async (_name, faults) => {
    server.faults.push(...faults);
    await upload();
    expectAll();
  });

  it("stopped by a refusal, the next call goes on where it was", async () => {
    await upload({ most: 100 });
    expect(server.stored.size).toBe(100);
    server.faults.push(422);
    await expect(upload({ client: client({ attempts: 2 }) })).rejects.toThrow(/answered 422 to POST/);
    expect(server.stored.size).toBe(100);
    await upload();
    expectAll();
  });

  it("killed after a batch arrived and before that was recorded: it is asked for, not sent again", async () => {
    await upload({ most: 50 });
    const before = JSON.parse(await readFile(record, "utf8"));
    await upload({ most: 60 });
    const after = JSON.parse(await readFile(record, "utf8"));
    const pending = { first: firing()[50].latent, next: after.next, nSent: 60 };
    await writeJson(record, { ...before, pending });
    await upload();
    expectAll();
    expect(JSON.parse(await readFile(record, "utf8"))).toMatchObject({
      nSent: firing().length,
      pending: null,
    });
  });

  it("killed before it arrived: it is sent", async () => {
    await upload({ most: 50 });
    const before = JSON.parse(await readFile(record, "utf8"));
    await writeJson(record, { ...before, pending: { first: firing()[50].latent, next: 400, nSent: 60 } });
    await upload();
    expectAll();
  });

  it("a wrong key: one error that does not hold it", async () => {
    const wrong = "sk-np-wrong-key-987";
    const error = await upload({ client: client({ key: () => wrong }) }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "HUB", message: expect.stringMatching(/answered 401/) });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(wrong);
    expect(server.requests.length).toBe(1);
    expect(await readFile(record, "utf8")).not.toContain(wrong);
  });

  it("gives up after so many tries, and says what to do", async () => {
    server.faults.push(500, 500, 500);
    await expect(upload({ client: client({ attempts: 3 }) })).rejects.toMatchObject({
      message: expect.stringMatching(/answered 500 to POST/),
      hint: expect.stringMatching(/source set/),
    });
    expect(server.stored.size).toBe(0);
    await upload();
    expectAll();
  });

  it("dry: all batches are made and checked, nothing is sent or written", async () => {
    const result = await upload({ client: null });
    expect(result).toMatchObject({ nSent: firing().length, nRequests: Math.ceil(firing().length / 128) });
    expect(result.bytes).toBeGreaterThan(10_000);
    expect(server.requests).toEqual([]);
    await expect(readFile(record)).rejects.toThrow(/ENOENT/);
  });

  it("refuses the record of another upload, no key, and addresses that a key is not sent to", async () => {
    await upload({ most: 1 });
    await expect(upload({ place: { ...PLACE, layer: 5 } })).rejects.toThrow(/its source is 4-my-set/);
    await writeJson(record, { format: "other" });
    await expect(upload()).rejects.toThrow(/not a record of an upload/);
    expect(() => client({ key: () => undefined })).toThrow(/no API key of Neuronpedia/);
    expect(() => client({ endpoint: "http://example.com" })).toThrow(/may be sent to/);
    expect(() => client({ endpoint: "nowhere" })).toThrow(/may be sent to/);
  });

  it("the key goes where it should, and not after a redirect", async () => {
    await upload({ most: 1 });
    expect(new Set(server.requests.map(({ key }) => key))).toEqual(new Set([KEY]));
    server.faults.push(307);
    await expect(upload()).rejects.toThrow(/answered 307/);
  });
});
