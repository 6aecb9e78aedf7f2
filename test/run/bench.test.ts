/** `lapidary bench` as a user meets it, and the peer comparison's way of talking to another program. No speed is asserted. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { peers } from "../../bench/peers/main.ts";
import { Side } from "../../bench/peers/side.ts";
import { commandLine } from "./command-line.ts";

const SMALL = ["--d", "32", "--F", "256", "--k", "4", "--batch", "64", "--seconds", "0.05"];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bench-"));
});
afterAll(() => rm(folder, { recursive: true }));

const bench = (...args: string[]) => commandLine(folder, "bench", ...args);

describe("lapidary bench", () => {
  it.each(["auto", "reference"])(
    "%s engine: one line of JSON, with what belongs beside a rate",
    async (engine) => {
      const { code, stdout } = await bench("train", ...SMALL, "--engine", engine, "--json");
      expect(code).toBe(0);
      expect(stdout.trim().split("\n")).toHaveLength(1);
      const line = JSON.parse(stdout);
      expect(line).toMatchObject({
        kind: "result",
        bench: "train",
        batchTokens: 64,
        size: { name: "d32-F256-k4", dIn: 32, dSae: 256, k: 4, widths: [8, 64, 256] },
        machine: { cores: expect.any(Number), processor: expect.any(String) },
        versions: { node: process.versions.node },
        also: [],
      });
      expect(line.tokensPerSecond).toBeGreaterThan(0);
      expect(line.bestTokensPerSecond).toBeGreaterThanOrEqual(line.tokensPerSecond);
      expect(line.peakMemoryBytes).toBeGreaterThan(1e7);
      expect(line.checks).toHaveLength(2);
    },
  );

  it.each(["standard", "gated", "jumprelu"])(
    "steps of a %s SAE, of which about k latents fire",
    async (kind) => {
      const { code, stdout } = await bench("train", ...SMALL, "--architecture", kind, "--json");
      expect(code).toBe(0);
      const line = JSON.parse(stdout);
      expect(line).toMatchObject({
        bench: "train",
        architecture: kind,
        denseEquivalent: { products: expect.any(Number) },
      });
      expect(line.l0).toBeGreaterThan(2);
      expect(line.l0).toBeLessThan(8);
    },
  );

  it("index: what it takes beside encoding alone, once it is checked", async () => {
    const { code, stdout } = await bench("index", ...SMALL, "--tokens", "256", "--json");
    expect(code).toBe(0);
    const line = JSON.parse(stdout);
    expect(line).toMatchObject({ bench: "index", tokens: 256, size: { dSae: 256 } });
    expect(line.checks).toHaveLength(2);
    expect(line.timesEncode).toBeGreaterThan(0);
    expect(line.pageBytes.most).toBeGreaterThan(1000);
    expect(line.pageBytes.most).toBeLessThanOrEqual(line.indexBytes);
  });

  it("several at once: the last that counts tokens leads, the others follow; each is kept", async () => {
    const { code, stdout } = await bench("encode", "decode", "peaks", ...SMALL, "--json", "--save", "kept");
    expect(code).toBe(0);
    const line = JSON.parse(stdout);
    expect([line.bench, ...line.also.map((other: { bench: string }) => other.bench)]).toEqual([
      "decode",
      "encode",
      "peaks",
    ]);
    const kept = (await readdir(join(folder, "kept"))).sort();
    expect(kept.map((name) => name.replace(/-\d{4}-.*/, ""))).toEqual([
      "decode-d32-F256-k4-B64",
      "encode-d32-F256-k4-B64-threshold",
      expect.stringMatching(/^peaks-T\d+$/),
    ]);
    const stored = JSON.parse(await readFile(join(folder, "kept", kept[0]), "utf8"));
    expect(stored).toMatchObject({ bench: "decode", tokensPerSecond: line.tokensPerSecond });
  });

  it.each(["threshold", "topk", "batch-topk"])("encode by %s, for people", async (kind) => {
    const { code, stdout } = await bench("encode", ...SMALL, "--selection", kind);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^encode, d32-F256-k4 \(32 → 256, k 4\), 64 tokens a batch/);
    expect(stdout).toContain(`by ${kind}`);
  });

  it("evaluate: a whole evaluation beside encoding the same tokens", async () => {
    const { code, stdout } = await bench("evaluate", ...SMALL, "--tokens", "256", "--json");
    expect(code).toBe(0);
    const line = JSON.parse(stdout);
    expect(line).toMatchObject({ bench: "evaluate", batchTokens: 64, tokens: 256, documents: 1 });
    expect(line.checks).toHaveLength(2);
    expect(line.encodeTokensPerSecond).toBeGreaterThan(0);
    expect(line.ofEncode).toBeCloseTo(line.tokensPerSecond / line.encodeTokensPerSecond, 2);
  });

  it("dead latents get the auxiliary loss, and the result says how many", async () => {
    const { code, stdout } = await bench("train", ...SMALL, "--dead", "5", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout).deadPercent).toBe(5);
  });

  it.each([
    [["polish"], /no bench called polish/],
    [["train", "--size", "huge"], /tiny, small, reference/],
    [["train", "--dead", "100"], /0 to below 100/],
    [["encode", "--dead", "1"], /--dead belongs to bench train/],
    [["encode", "--architecture", "gated"], /--architecture belongs to bench train/],
    [["train", "--architecture", "gated", "--dead", "1"], /--dead gives AuxK/],
    [["train", "--tokens", "64"], /--tokens belongs to bench harvest and evaluate/],
    [["train", "--selection", "topk"], /--selection belongs to bench encode/],
    [["train", "--margin", "wide"], /rigorous, none, or a number/],
    [["encode", "--selection", "relu"], /threshold, topk, batch-topk/],
  ])("refuses %j", async (args, what) => {
    const { code, stderr } = await bench(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(what);
  });
});

describe("the peer comparison", () => {
  const stderr = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  afterAll(() => {
    stderr.mockRestore();
    vi.unstubAllEnvs();
  });
  const said = () => stderr.mock.calls.map(([text]) => String(text)).join("");

  it("without a Python to compare with, says what to set and ends with 2", async () => {
    vi.stubEnv("LAPIDARY_PEER_PYTHON", "");
    expect(await peers([])).toBe(2);
    expect(said()).toMatch(/LAPIDARY_PEER_PYTHON is not set[\s\S]*sae-lens/);
  });

  it.each([
    [["--size", "huge"]],
    [["decode"]],
    [["--rounds", "0"]],
    [["encode", "--dead", "1"]],
    [["--colour"]],
  ])("refuses %j", async (args) => {
    vi.stubEnv("LAPIDARY_PEER_PYTHON", "python");
    expect(await peers(args)).toBe(2);
  });

  it("asks and answers a line at a time, and says how a side ended", async () => {
    const script = join(folder, "side.mjs");
    await writeFile(
      script,
      `import { createInterface } from "node:readline";
       console.log(JSON.stringify({ ready: true }));
       for await (const line of createInterface({ input: process.stdin })) {
         const { count } = JSON.parse(line);
         if (count > 5) process.exit(3);
         console.log(JSON.stringify({ seconds: new Array(count).fill(0.5), loss: 1, l0: 2, peakMemoryBytes: null }));
       }`,
    );
    const side = new Side("the other", process.execPath, [script]);
    expect(await side.ready()).toEqual({ ready: true });
    expect((await side.ask({ count: 3 })).seconds).toEqual([0.5, 0.5, 0.5]);
    await expect(side.ask({ count: 6 })).rejects.toThrow("the other ended with code 3");
    await side.close();
    const absent = new Side("nobody", join(folder, "no-such-program"), []);
    await expect(absent.ready()).rejects.toThrow("nobody could not be started");
    await absent.close();
  });
});
