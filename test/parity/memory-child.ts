/**
 * A native engine in a process of its own, for `memory.test.ts`: makes it, trains (or encodes and decodes) and prints by how
 * much the process has grown at its peak, beside what was planned. Argument: a `MemoryCase` as JSON. Needs --expose-gc.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { EngineConfig, TrainStepOptions } from "../../src/kernels/kernels.ts";
import { memoryPlan } from "../../src/kernels/memory.ts";
import { createNativeEngine } from "../../src/kernels/native.ts";
import { Philox } from "../../src/random/philox.ts";

export interface MemoryCase {
  readonly config: EngineConfig;
  readonly batchTokens: number;
  readonly k: number;
  /** how many latents are dead, and get AuxK; 0: no auxiliary loss */
  readonly nDead: number;
}

export interface MemoryReading {
  readonly planned: number;
  /** resident memory at its peak, less what was resident before the engine was made */
  readonly grown: number;
}

const status = (field: string) =>
  1024 *
  Number(new RegExp(`^${field}:\\s*(\\d+) kB`, "m").exec(readFileSync("/proc/self/status", "latin1"))?.[1]);

const { config, batchTokens, k, nDead }: MemoryCase = JSON.parse(process.argv[2]);
const { dIn, dSae } = config;
const draw = new Philox(7, "memory");
const noise = Float32Array.from({ length: 65_521 }, (_, i) => draw.normal(i)); // a prime: rows differ
const fill = (to: Float32Array, from: number, scale: number) =>
  to.forEach((_, i) => {
    to[i] = noise[(from + i) % noise.length] * scale;
  });

const piece = new Float32Array(256 * dIn);
const x = new Float32Array(batchTokens * dIn);
fill(x, 0, 1);
globalThis.gc?.();
writeFileSync("/proc/self/clear_refs", "5"); // the peak is counted from here
const before = status("VmRSS");

const engine = await createNativeEngine(config, null);
for (const name of ["wEnc", "wDec"] as const)
  for (let from = 0; from < dSae; from += 256) {
    fill(piece, from * dIn, 1 / Math.sqrt(dIn));
    await engine.write(name, from, piece.subarray(0, Math.min(256, dSae - from) * dIn));
  }
const isDense = config.architecture !== undefined;
const selection = isDense ? ({ kind: "own" } as const) : ({ kind: "batch-topk", k } as const);
if (isDense) await engine.write("bEnc", 0, new Float32Array(dSae).fill(-2)); // few fire when it encodes
if (config.training) {
  const dead = Uint8Array.from({ length: dSae }, (_, i) => (i < nDead ? 1 : 0));
  const options: Omit<TrainStepOptions, "adamStep"> = {
    selection,
    learningRate: 1e-4,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    clipNorm: 1,
    aux: nDead > 0 ? { coefficient: 1, dead } : null,
    ...(isDense && { sparsity: 1 }),
  };
  for (let step = 1; step <= 2; step++) await engine.trainStep(x, { ...options, adamStep: step });
}
await engine.encode(x, selection);
const reading: MemoryReading = {
  planned: memoryPlan(config, { batchTokens, k, nDead }).total,
  grown: status("VmHWM") - before,
};
console.log(JSON.stringify(reading));
await engine.dispose();
