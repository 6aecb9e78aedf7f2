/** `lapidary bench harvest` as a user meets it: what it says beside its rate, and what it refuses. No speed is asserted. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { commandLine } from "./command-line.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bench-harvest-"));
});
afterAll(() => rm(folder, { recursive: true }));

const bench = (...args: string[]) => commandLine(folder, "bench", ...args);
const SMALL = ["--tokens", "600", "--seconds", "0.01"];

it("the embedded model: rate, share in ONNX Runtime, where the rest went, one line of JSON", async () => {
  const { code, stdout } = await bench("harvest", ...SMALL, "--layers", "1", "--json", "--save", "kept");
  expect(code).toBe(0);
  expect(stdout.trim().split("\n")).toHaveLength(1);
  const line = JSON.parse(stdout);
  expect(line).toMatchObject({
    kind: "result",
    bench: "harvest",
    model: { name: "tiny-gemma it", dIn: 256, nLayers: 8, files: [{ name: "model.onnx" }] },
    layers: [1],
    contextSize: 256,
    machine: { cores: expect.any(Number), processor: expect.any(String) },
    versions: { node: process.versions.node },
    full: { tokens: 768, paddingTokens: 0 },
  });
  expect(line.tokensPerSecond).toBe(line.full.tokensPerSecond);
  for (const { shareInRuntime, seconds, tokens, paddingTokens, check } of [line.full, line.mixed]) {
    expect(shareInRuntime).toBeGreaterThan(0);
    expect(shareInRuntime).toBeLessThan(1);
    expect(seconds.model).toBeLessThan(seconds.wall);
    expect(tokens).toBeGreaterThanOrEqual(600);
    expect(paddingTokens).toBeLessThan(tokens);
    expect(check.relativeError).toBeLessThan(2 ** -8);
    expect(check.relativeError, "the store is in bf16").toBeGreaterThan(0);
  }
  expect(await readdir(join(folder, "kept"))).toEqual([
    expect.stringMatching(/^harvest-tiny-gemma-it-layers-1-/),
  ]);
});

it("a model that is run one window at a time, for people", async () => {
  const model = resolve("assets/tiny-gemma/it-int8");
  const { code, stdout } = await bench("harvest", ...SMALL, "--layers", "0", "--model", model);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^harvest, it-int8, layers 0 of 8/);
  expect(stdout).toMatch(/mixed lengths, 0 % padding: [\d ]+ tokens\/s/);
  expect(stdout.match(/% of .* in ONNX Runtime/g)).toHaveLength(2);
});

it.each([
  [["harvest", "--layers", "8"], 1, /0 to 7/],
  [["harvest", "--tokens", "0"], 2, /positive whole number/],
  [["train", "--tokens", "100"], 2, /--tokens belongs to bench harvest/],
  [["harvest", "--model", "nowhere"], 1, /no model folder/],
])("refuses %j", async (args, expected, what) => {
  const { code, stderr } = await bench(...args);
  expect(code).toBe(expected);
  expect(stderr).toMatch(what);
});
