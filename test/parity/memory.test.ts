/** The memory plan against a process: what is planned is what is taken, so that neither can drift from the other. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { EngineConfig } from "../../src/kernels/kernels.ts";
import { memoryPlan } from "../../src/kernels/memory.ts";
import { addon } from "./cases.ts";
import type { MemoryCase, MemoryReading } from "./memory-child.ts";

/** Beyond the plan: the odd page, and what JavaScript took meanwhile. */
const SLACK_BYTES = 8e6;
/** The plan counts its parts' peaks as if they came together, and two bytes where some processors need one. */
const LEAST_SHARE = 0.7;

const training: EngineConfig = {
  dIn: 512,
  dSae: 8192,
  widths: [1024, 8192],
  applyBDecToInput: true,
  rescaleActsByDecoderNorm: true,
  training: true,
  threads: 2,
};
const inference = { ...training, widths: [8192], training: false };

const dense = { ...inference, rescaleActsByDecoderNorm: false, training: true };

const kinds: [name: string, MemoryCase][] = [
  ["training", { config: training, batchTokens: 2048, k: 32, nDead: 0 }],
  [
    "training with AuxK on a tenth of the latents",
    { config: training, batchTokens: 2048, k: 32, nDead: 819 },
  ],
  [
    "training a gated SAE, in one slab",
    {
      config: { ...dense, dSae: 4096, widths: [4096], architecture: { kind: "gated" } },
      ...{ batchTokens: 1024, k: 200, nDead: 0 },
    },
  ],
  [
    "training a standard SAE, in several slabs",
    {
      config: {
        ...dense,
        dIn: 64,
        dSae: 17_000,
        widths: [17_000],
        architecture: { kind: "standard", lpNorm: 1 },
      },
      ...{ batchTokens: 2048, k: 500, nDead: 0 },
    },
  ],
  ["encoding", { config: inference, batchTokens: 2048, k: 32, nDead: 0 }],
];

const { present, missing } = addon();

describe.skipIf(!present || process.platform !== "linux")(
  `resident memory of the native engine${missing}`,
  () => {
    it.each(kinds)("%s grows a process by what the plan says", (_, kind) => {
      const { planned, grown } = measure(kind);
      expect(grown).toBeLessThan(planned + SLACK_BYTES);
      expect(grown).toBeGreaterThan(LEAST_SHARE * planned);
    });
  },
);

function measure(kind: MemoryCase): MemoryReading {
  const script = fileURLToPath(new URL("memory-child.ts", import.meta.url));
  const args = ["--expose-gc", "--import", import.meta.resolve("tsx"), script, JSON.stringify(kind)];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as MemoryReading;
}

describe("the plan", () => {
  const reference = { ...training, dIn: 2560, dSae: 65_536, widths: [2048, 16_384, 65_536] };
  const work = { batchTokens: 4096, k: 100 };
  const bytesOf = (name: string, nDead = 0) =>
    memoryPlan(reference, { ...work, nDead }).parts.find((part) => part.name === name)?.bytes ?? 0;

  it("at reference size is under 5.2 GB, and most of it is weights and moments", () => {
    const matrices = 4 * 2 * 2560 * 65_536;
    expect(memoryPlan(reference, work).total).toBeLessThan(5.2e9);
    expect(memoryPlan(reference, { ...work, nDead: 0.05 * 65_536 }).total).toBeLessThan(5.2e9);
    expect(bytesOf("weights") / matrices).toBeCloseTo(1, 2);
    expect(bytesOf("moments") / matrices).toBeCloseTo(2, 2);
    expect(bytesOf("int8 copy")).toBeGreaterThan(2560 * 65_536);
  });

  it("of a gated SAE holds gradients whole, and pre-activations a slab at a time", () => {
    const config = {
      ...dense,
      dIn: 2560,
      dSae: 65_536,
      widths: [65_536],
      architecture: { kind: "gated" } as const,
    };
    const { parts } = memoryPlan(config, work);
    const bytes = (name: string) => parts.find((part) => part.name === name)?.bytes ?? 0;
    expect(bytes("gradients") / (4 * 2 * 2560 * 65_536)).toBeCloseTo(1, 1);
    expect(bytes("slabs of pre-activations")).toBeLessThan(3 * 2 ** 27 + 1);
    expect(bytes("slabs of pre-activations")).toBeLessThan(4 * 65_536 * work.batchTokens);
    expect(bytes("signals") / (4 * 2 * work.batchTokens * 2560)).toBeCloseTo(1, 0);
  });

  it("leaves out what an engine has not, and adds up", () => {
    const { parts, total } = memoryPlan({ ...reference, training: false }, work);
    expect(parts.map(({ name }) => name)).toEqual(["weights", "int8 copy", "batch", "entries", "threads"]);
    expect(total).toBe(parts.reduce((sum, { bytes }) => sum + bytes, 0));
    expect([bytesOf("AuxK"), bytesOf("AuxK", 100) > 0]).toEqual([0, true]);
  });
});
