/**
 * The native addon: where it lies, what it exports (a typed mirror), which instruction sets it knows, and what this
 * machine can do at best with them. `native.ts` makes engines of it.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { EngineError } from "../errors.ts";
import type { CsrArrays, SelectionCall, StepCall } from "./engine-calls.ts";
import type { StepProfile, TrainStepResult } from "./kernels.ts";

/**
 * Instruction sets with kernels or a screen of their own. All compute the same bits; `scalar` exists everywhere. The dot
 * product instructions (`avx-vnni`, `avx512-vnni`, `neon-dotprod`) serve the screen alone.
 */
export type Isa = "scalar" | "avx2" | "avx-vnni" | "avx512" | "avx512-vnni" | "neon" | "neon-dotprod";

export interface CpuFeatures {
  /** AVX2 with FMA */
  readonly avx2: boolean;
  /** with AVX2 and FMA */
  readonly avxVnni: boolean;
  /** AVX-512F, with AVX2 and FMA */
  readonly avx512: boolean;
  /** with AVX-512F */
  readonly avx512Vnni: boolean;
  /** arm64 always has it */
  readonly neon: boolean;
  /** of ARMv8.2 */
  readonly neonDotprod: boolean;
  /** the kernels chosen by default, for people */
  readonly kernels: string;
}

// ---- the mirror of native/src/addon.cc and engine_object.cc ----

const INTERFACE = 3;

interface Binding {
  readonly interface: number;
  cpuFeatures(): CpuFeatures;
  measurePeak(what: number, isa: number, threads: number, milliseconds: number): Promise<number>;
  readonly Engine: new (
    dIn: number,
    dSae: number,
    widths: Uint32Array,
    applyBDecToInput: boolean,
    rescale: boolean,
    training: boolean,
    threads: number,
    isa: number,
    bf16Moments: boolean,
    architecture: Float64Array,
  ) => EngineHandle;
}

export interface EngineHandle {
  encode(x: Float32Array, ...selection: SelectionCall): Promise<CsrArrays>;
  decode(
    offsets: Uint32Array,
    latents: Uint32Array,
    values: Float32Array,
    width: number,
  ): Promise<Float32Array>;
  trainStep(...call: StepCall): Promise<TrainStepResult>;
  norms(): Float32Array;
  read(owner: number, tensor: number, from: number, to: number): Promise<Float32Array>;
  write(owner: number, tensor: number, from: number, rows: Float32Array): Promise<void>;
  setSearch(mode: number, sigmas: number): void;
  profile(): StepProfile;
  dispose(): void;
}

const BEST_ISA = 0;
const ISAS = {
  scalar: { code: 1, name: "portable", feature: null },
  avx2: { code: 2, name: "AVX2", feature: "avx2" },
  "avx-vnni": { code: 5, name: "AVX-VNNI", feature: "avxVnni" },
  avx512: { code: 3, name: "AVX-512", feature: "avx512" },
  "avx512-vnni": { code: 6, name: "AVX-512 VNNI", feature: "avx512Vnni" },
  neon: { code: 4, name: "NEON", feature: "neon" },
  "neon-dotprod": { code: 7, name: "NEON dotprod", feature: "neonDotprod" },
} as const satisfies Record<Isa, object>;
const PEAK_CODE = { fp32: 0, int8: 1, memory: 2 } as const;

// ---- loading ----

let loaded: Binding | undefined;

/** Where the addon may lie, below the package's root. */
const PLACES = [
  "native/build/Release/lapidary.node",
  `native/prebuilds/${process.platform}-${process.arch}/lapidary.node`,
] as const;

/** The root as seen from this file: the same from src/ and from dist/. */
const ROOT = new URL("../../", import.meta.url);

/** The paths at which the addon is looked for, in order. */
export function addonCandidates(): string[] {
  return PLACES.map((place) => fileURLToPath(new URL(place, ROOT)));
}

export function loadBinding(): Binding {
  if (loaded !== undefined) return loaded;
  const require = createRequire(import.meta.url);
  const failures: string[] = [];
  for (const place of PLACES) {
    const path = fileURLToPath(new URL(place, ROOT));
    if (!existsSync(path)) {
      failures.push(`${place}: not there`);
      continue;
    }
    try {
      const binding = require(path) as Binding;
      if (binding.interface === INTERFACE) {
        loaded = binding;
        return binding;
      }
      failures.push(`${place}: built for interface ${binding.interface}, this version needs ${INTERFACE}`);
    } catch (error) {
      failures.push(`${place}: ${firstLine(error)}`);
    }
  }
  throw new EngineError(`the native addon could not be loaded (${failures.join("; ")})`, {
    hint: "install g++ and make, then npm run setup (of an installed package: node node_modules/lapidary/scripts/setup.mjs)",
  });
}

export function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split("\n")[0];
}

/** What this machine's processor offers. @throws {EngineError} no addon */
export function cpuFeatures(): CpuFeatures {
  return loadBinding().cpuFeatures();
}

/** What can be measured as a peak: fp32 FMAs (GFLOP/s), integer products of the screen (Gop/s), Adam's memory traffic (GB/s). */
export type PeakKind = "fp32" | "int8" | "memory";

/**
 * What this machine can do at best, measured: all threads at once, the best of a few runs of about `milliseconds` each.
 * Off the event loop. @throws {EngineError} no addon
 */
export function measurePeak(
  options: { kind?: PeakKind; isa?: Isa; threads?: number; milliseconds?: number } = {},
): Promise<number> {
  const { kind = "fp32", threads = availableParallelism(), milliseconds = 100 } = options;
  const binding = loadBinding();
  return binding.measurePeak(PEAK_CODE[kind], chooseIsa(options.isa, binding).code, threads, milliseconds);
}

/** Every instruction set there are kernels for, and whether this machine has it. @throws {EngineError} no addon */
export function instructionSets(): { isa: Isa; name: string; present: boolean }[] {
  const features = cpuFeatures();
  return (Object.keys(ISAS) as Isa[]).map((isa) => {
    const { name, feature } = ISAS[isa];
    return { isa, name, present: feature === null || features[feature] };
  });
}

/** Code and name of the instruction set asked for, which this machine must have; without one, of the best. */
export function chooseIsa(asked: Isa | undefined, binding: Binding): { code: number; name: string } {
  const wanted = asked ?? process.env["LAPIDARY_ISA"];
  const features = binding.cpuFeatures();
  if (wanted === undefined || wanted === "") return { code: BEST_ISA, name: features.kernels };
  if (!isIsa(wanted))
    throw new EngineError(`unknown instruction set ${wanted}`, {
      hint: `LAPIDARY_ISA may be ${Object.keys(ISAS).join(", ")}`,
    });
  const { code, name, feature } = ISAS[wanted];
  if (feature !== null && !features[feature])
    throw new EngineError(`this machine has no ${wanted}`, {
      hint: "unset LAPIDARY_ISA to use what it has",
    });
  return { code, name };
}

function isIsa(name: string): name is Isa {
  return Object.hasOwn(ISAS, name);
}
