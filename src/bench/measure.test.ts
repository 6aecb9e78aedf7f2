/** Sums of timings, what counts as a turn, and the names and bytes of what is kept. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { arithmeticOf, phasesOf } from "./arithmetic.ts";
import { median, peakMemoryBytes, timeTurns } from "./measure.ts";
import { saveFigures } from "./provenance.ts";
import { chooseSize, SIZES } from "./sizes.ts";

it("takes the middle of an odd number, and the mean of the middle two of an even one", () => {
  expect(median([5, 1, 9])).toBe(5);
  expect(median([8, 1, 2, 4])).toBe(3);
});

it("numbers turns on from the untimed ones, and times three at least", async () => {
  const seen: number[] = [];
  let behind = 0;
  const timing = await timeTurns(async (i) => seen.push(i), {
    warmUp: 2,
    seconds: 1e-9,
    after: async () => {
      behind++;
    },
  });
  expect(seen).toEqual([0, 1, 2, 3, 4]);
  expect(timing.turns).toHaveLength(3);
  expect(behind).toBe(3);
  expect(timing.bestSeconds).toBeLessThanOrEqual(timing.medianSeconds);
});

it("goes on until the seconds are over", async () => {
  const { turns } = await timeTurns(() => new Promise((done) => setTimeout(done, 5)), {
    warmUp: 0,
    seconds: 0.05,
  });
  expect(turns.reduce((sum, turn) => sum + turn)).toBeGreaterThanOrEqual(0.05);
  expect(turns.length).toBeGreaterThan(3);
});

it("knows the most memory this process has held", () => {
  const before = peakMemoryBytes();
  const block = new Uint8Array(80e6).fill(1);
  expect(peakMemoryBytes()).toBeGreaterThanOrEqual(Math.max(before, block.length));
});

it("counts a dense step as six products, against the peak", () => {
  const { figures } = arithmeticOf("step", SIZES.tiny, 1000, 2, { fp32: 3, int8: 1, memory: 1 });
  const gflops = (6 * 2 * 1000 * 256 * 4096) / 2 / 1e9;
  expect(figures).toEqual({
    denseEquivalent: { products: 6, gflops: 6.291, ofFp32Peak: Number((gflops / 3).toPrecision(4)) },
  });
});

it("credits the screen with every search it made, and no engine with what it does not say", () => {
  const profile = {
    ...{ encode: 2, quantise: 0.1, screen: 1, refine: 0.5, candidates: 5000, searches: 2 },
    ...{ reconstruct: 0.2, aux: 0, gradients: 0.3, update: 0.4 },
  };
  const product = (2 * 1000 * 256 * 4096) / 1e9;
  const { figures } = phasesOf([profile], SIZES.tiny, 1000, { fp32: 1, int8: 10, memory: 1 });
  expect(figures.screen).toEqual({
    gops: Number((2 * product).toPrecision(4)),
    ofInt8Peak: Number(((2 * product) / 10).toPrecision(4)),
    candidatesPerToken: 5,
    meanSearches: 2,
  });
  expect(figures.phaseSeconds).not.toHaveProperty("aux");
  expect(phasesOf([], SIZES.tiny, 1000, null)).toEqual({ figures: {}, lines: [] });
});

it("completes a size of one's own, and refuses one that makes no SAE", () => {
  expect(chooseSize("small")).toBe(SIZES.small);
  expect(chooseSize("small", { dIn: 768 })).toBe(SIZES.small);
  expect(chooseSize("tiny", { dIn: 32, dSae: 96, k: 4 })).toEqual({
    name: "d32-F96-k4",
    dIn: 32,
    dSae: 96,
    k: 4,
    widths: [3, 24, 96],
  });
  expect(() => chooseSize("tiny", { dSae: 16 })).toThrow("at most F = 16");
});

it("keeps figures under a name that says what, how large, when and where", async () => {
  const folder = await mkdtemp(join(tmpdir(), "bench-"));
  const stored = {
    date: "2030-01-02T03:04:05.000Z",
    machine: { processor: "Some CPU (TM) 5", cores: 2, memoryBytes: 8, platform: "linux-x64" },
    commit: null,
    versions: {},
    bench: "train",
    tokensPerSecond: 12,
  };
  const path = await saveFigures(join(folder, "results"), "tiny-B1024", stored);
  expect(await readdir(join(folder, "results"))).toEqual(["train-tiny-B1024-2030-01-02-some-cpu-tm-5.json"]);
  expect(JSON.parse(await readFile(path, "utf8"))).toEqual(stored);
  await rm(folder, { recursive: true });
});
