/** Seeded SAEs, batches and options for the parity tests, and how results are compared. */
import { createHash } from "node:crypto";
import { type Isa, instructionSets } from "../../src/kernels/addon.ts";
import type {
  Engine,
  EngineConfig,
  EngineTensor,
  SparseActs,
  TrainStepOptions,
  Weights,
} from "../../src/kernels/kernels.ts";
import { parametersOf } from "../../src/kernels/parameters.ts";
import { Philox } from "../../src/random/philox.ts";

export interface Case {
  readonly name: string;
  readonly config: EngineConfig;
  readonly k: number;
  readonly nTokens: number;
}

/** Dimensions below, at and above one block of 128, not multiples of 16 or 64, dSae neither. */
export const cases: readonly Case[] = [
  oneCase("d 24, F 100", 24, [20, 100], 3.7, 53),
  oneCase("d 64, F 257, single width, no centring", 64, [257], 5, 64, { applyBDecToInput: false }),
  oneCase("d 256, F 512, three widths", 256, [16, 128, 512], 8, 96),
  oneCase("d 200, F 333, no rescaling", 200, [77, 333], 6.25, 41, { rescaleActsByDecoderNorm: false }),
  oneCase("d 7, F 10", 7, [3, 10], 2, 5),
  oneCase("d 8, F 400: few of the dead are chosen by AuxK", 8, [400], 3, 140),
];

function oneCase(
  name: string,
  dIn: number,
  widths: readonly number[],
  k: number,
  nTokens: number,
  rules: Partial<EngineConfig> = {},
): Case {
  const dSae = widths[widths.length - 1];
  const config = {
    dIn,
    dSae,
    widths,
    applyBDecToInput: true,
    rescaleActsByDecoderNorm: true,
    training: true,
    ...rules,
  };
  return { name, config, k, nTokens };
}

export function normals(n: number, purpose: string, scale = 1): Float32Array {
  const stream = new Philox(11, purpose);
  return Float32Array.from({ length: n }, (_, i) => stream.normal(i) * scale);
}

/** Weights with decoder norms between roughly 0.5 and 1.5. */
export function weightsFor({ dIn, dSae }: EngineConfig): Weights {
  const stream = new Philox(11, "norms");
  const wDec = normals(dIn * dSae, "wDec", 1 / Math.sqrt(dIn));
  for (let i = 0; i < dSae; i++) {
    const norm = 0.5 + stream.uniform(i);
    for (let j = 0; j < dIn; j++) wDec[i * dIn + j] *= norm;
  }
  return {
    dIn,
    dSae,
    wEnc: normals(dIn * dSae, "wEnc", 1 / Math.sqrt(dIn)),
    wDec,
    bEnc: normals(dSae, "bEnc", 0.1),
    bDec: normals(dIn, "bDec", 0.2),
  };
}

export function batchFor({ config, nTokens }: Case, step = 0): Float32Array {
  return normals(nTokens * config.dIn, `x ${step}`);
}

export function stepOptions(k: number, step: number, rest: Partial<TrainStepOptions> = {}): TrainStepOptions {
  return {
    selection: { kind: "batch-topk", k },
    learningRate: 1e-3,
    adamStep: step + 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    clipNorm: 1,
    aux: null,
    ...rest,
  };
}

/** Every third latent is dead. */
export function deadMask(dSae: number): Uint8Array {
  return Uint8Array.from({ length: dSae }, (_, i) => (i % 3 === 0 ? 1 : 0));
}

/** Parameters and moments, whole. */
export async function readAll(engine: Engine): Promise<Map<EngineTensor, Float32Array>> {
  const all = new Map<EngineTensor, Float32Array>();
  const parameters = parametersOf(engine.config.architecture);
  for (const prefix of ["", "m.", "v."] as const)
    for (const parameter of parameters) {
      const rows = parameter === "bDec" ? engine.config.dIn : engine.config.dSae;
      const name: EngineTensor = `${prefix}${parameter}`;
      all.set(name, await engine.read(name, 0, rows));
    }
  return all;
}

/** One hash over the bits of all weights and moments. */
export async function hashOf(engine: Engine): Promise<string> {
  const hash = createHash("sha256");
  for (const values of (await readAll(engine)).values()) hash.update(bytesOf(values));
  return hash.digest("hex");
}

export function bytesOf(array: Float32Array | Uint32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** ‖got − expected‖ / ‖expected‖ */
export function relativeError(got: Float32Array, expected: Float32Array): number {
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let size = 0;
  for (let i = 0; i < got.length; i++) {
    difference += (got[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  return size === 0 ? Math.sqrt(difference) : Math.sqrt(difference / size);
}

/** "token:latent" of every entry. */
export function pairs({ nTokens, offsets, latents }: SparseActs): string[] {
  const out: string[] = [];
  for (let t = 0; t < nTokens; t++)
    for (let e = offsets[t]; e < offsets[t + 1]; e++) out.push(`${t}:${latents[e]}`);
  return out;
}

/** The addon's presence; tests that need it are skipped, visibly, where it is absent. */
export function addon(): { present: boolean; missing: string; isas: Isa[]; lacking: Isa[] } {
  try {
    const sets = instructionSets();
    const isas = sets.filter(({ present }) => present).map(({ isa }) => isa);
    const lacking = sets.filter(({ present }) => !present).map(({ isa }) => isa);
    return { present: true, missing: "", isas, lacking };
  } catch (error) {
    return { present: false, missing: ` (skipped: ${String(error)})`, isas: [], lacking: [] };
  }
}
