/** `lapidary neuronpedia` from the command line: what it writes, what it refuses, and that it names what is missing. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { commandLine } from "../run/command-line.ts";
import { NeuronpediaServer } from "./neuronpedia-server.ts";
import { TINY, writeTinyIndex } from "./tiny-index.ts";

let root: string;
let run: string;
let nFiring: number;
const names = ["--model-id", "tiny-model", "--set", "my-set"];

const lapidary = (...args: readonly string[]) => commandLine(root, ...args);

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lapidary-np-cli-"));
  run = join(root, "run");
  await mkdir(join(run, "index"), { recursive: true });
  const tiny = await writeTinyIndex(join(run, "index/blocks.4.hook_resid_post.after"));
  nFiring = tiny.latents.filter(({ examples }) => examples.length > 0).length;
});
afterAll(() => rm(root, { recursive: true, force: true }));
afterEach(() => {
  delete process.env.NEURONPEDIA_API_KEY;
});

it("writes both folders of a run's only index, at the layer of its hook name", async () => {
  const [exports, batches] = [join(root, "exports"), join(root, "batches")];
  const folders = ["--export", exports, "--batches", batches, "--creator", "Me"];
  const { code, stdout } = await lapidary("neuronpedia", run, ...names, ...folders);
  expect({ code, stdout }).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/export of 600 latents, 3 batches/),
  });
  expect(await readdir(join(exports, "v1/tiny-model"))).toEqual(["4-my-set"]);
  expect((await readdir(batches)).length).toBe(5);
  const again = await lapidary("neuronpedia", run, ...names, ...folders);
  expect(again.code).toBe(1);
  expect(again.stderr).toMatch(/4-my-set is there already/);
});

it("uploads dry without a key, and not without one otherwise", async () => {
  const dry = await lapidary("neuronpedia", run, ...names, "--upload", "--dry-run", "--json");
  expect(dry.code).toBe(0);
  const last = JSON.parse(dry.stdout.trim().split("\n").at(-1) as string);
  expect(last.result).toMatchObject({ kind: "upload", address: null, nSent: nFiring, next: TINY.dSae });
  const { code, stderr } = await lapidary("neuronpedia", run, ...names, "--upload");
  expect(code).toBe(1);
  expect(stderr).toMatch(/no API key of Neuronpedia in NEURONPEDIA_API_KEY/);
});

it("uploads some, then the rest, with its record beside the index", async () => {
  const server = await NeuronpediaServer.start("sk-np-1");
  process.env.NEURONPEDIA_API_KEY = "sk-np-1";
  try {
    const upload = ["--upload", "--endpoint", server.url];
    const some = await lapidary("neuronpedia", run, ...names, ...upload, "--most", "10");
    expect(some.code).toBe(0);
    expect(some.stdout).toMatch(/Sent 10 latents.* to go: run it again/);
    expect((await lapidary("neuronpedia", run, ...names, ...upload)).code).toBe(0);
    expect(server.stored.size).toBe(nFiring);
    expect([...server.stored.values()].every(({ times }) => times === 1)).toBe(true);
    const record = "blocks.4.hook_resid_post.after.neuronpedia-4-my-set.json";
    expect(existsSync(join(run, "index", record))).toBe(true);
    expect(await readdir(join(run, "index/blocks.4.hook_resid_post.after"))).not.toContain(record);
  } finally {
    await server.stop();
  }
});

it.each([
  [["--export", "x"], 2, /an export says who made the SAEs/],
  [[], 2, /nothing to write/],
  [["--batches", "x", "--most", "3"], 2, /--most belongs to --upload/],
  [["--upload", "--dry-run", "--record", "r.json"], 2, /--record belongs to --upload without --dry-run/],
  [["--upload", "--created-at", "2026-01-01"], 2, /--created-at belongs to --export/],
  [["--export", "x", "--creator", "Me", "--created-at", "soon"], 2, /an ISO time is wanted/],
  [["--batches", "x", "--set", "My Set"], 2, /setName "My Set"/],
] as const)("%j is refused", async (args, code, message) => {
  const result = await lapidary("neuronpedia", run, ...names, ...args);
  expect(result.code).toBe(code);
  expect(result.stderr).toMatch(message);
});

it("refuses the weights of another SAE than was indexed", async () => {
  const sae = resolve("assets/tiny-gemma/sae-base/layer_4");
  const { code, stderr } = await lapidary("neuronpedia", run, ...names, "--batches", "other", "--sae", sae);
  expect(code).toBe(1);
  expect(stderr).toMatch(/is not the SAE that was indexed \([0-9a-f]{12}, the index has 111111111111\)/);
  expect(existsSync(join(root, "other"))).toBe(false);
});

it("takes the layer of an index by itself from --layer, which of a run chooses", async () => {
  const dry = ["--upload", "--dry-run", "--most", "1", "--layer", "9"];
  expect((await lapidary("neuronpedia", run, ...names, ...dry)).stderr).toMatch(/holds no such latent index/);
  const index = join(run, "index/blocks.4.hook_resid_post.after");
  expect((await lapidary("neuronpedia", index, ...names, ...dry)).code).toBe(0);
});
