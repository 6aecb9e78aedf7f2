/**
 * The native engine: C++ through N-API, all work off the event loop. This file alone loads the addon and holds a typed
 * mirror of everything it exports; what people pass is checked here, C++ checks only what memory safety needs.
 *
 * Numerics: fp32 in one fixed order of sums, so the bits depend neither on threads nor on the instruction set
 * (`docs/decisions/001-order-of-sums.md`).
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { EngineError, ShapeError } from "../errors.ts";
import {
  checkActs,
  checkConfig,
  checkScreenable,
  checkScreening,
  checkSelection,
  checkStep,
  checkWeights,
  tokensIn,
} from "./arguments.ts";
import type {
  Engine,
  EngineConfig,
  EngineTensor,
  Screening,
  Selection,
  SparseActs,
  TrainStepOptions,
  TrainStepResult,
  Weights,
} from "./kernels.ts";

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

/** Where the last training step or encode spent its time, in seconds, and what its search cost. */
export interface StepProfile {
  /** search and selection, all of it */
  readonly encode: number;
  /** thereof: requantising encoder rows that had changed */
  readonly quantise: number;
  /** thereof: integer products, mean of the workers */
  readonly screen: number;
  /** thereof: exact products of candidates, mean of the workers */
  readonly refine: number;
  /** entries that the screen could not rule out */
  readonly candidates: number;
  /** 1, and one more for each guess of the cut that was too high */
  readonly searches: number;
  readonly reconstruct: number;
  readonly aux: number;
  readonly gradients: number;
  readonly update: number;
}

/** Beyond the engine interface: what tests and benches want to see. */
export interface NativeEngine extends Engine {
  profile(): StepProfile;
}

export interface NativeOptions {
  /** Default: the environment variable LAPIDARY_ISA, else the best this machine has. */
  readonly isa?: Isa;
}

// ---- the mirror of native/src/addon.cc and engine_object.cc ----

const INTERFACE = 2;

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
  ) => EngineHandle;
}

interface EngineHandle {
  encode(x: Float32Array, kind: number, count: number, thresholds: Float32Array | null): Promise<CsrArrays>;
  decode(
    offsets: Uint32Array,
    latents: Uint32Array,
    values: Float32Array,
    width: number,
  ): Promise<Float32Array>;
  trainStep(
    x: Float32Array,
    kind: number,
    count: number,
    numbers: Float64Array,
    dead: Uint8Array | null,
    audited: Uint32Array | null,
  ): Promise<TrainStepResult>;
  norms(): Float32Array;
  read(owner: number, tensor: number, from: number, to: number): Promise<Float32Array>;
  write(owner: number, tensor: number, from: number, rows: Float32Array): Promise<void>;
  setSearch(mode: number, sigmas: number): void;
  profile(): StepProfile;
  dispose(): void;
}

type CsrArrays = Pick<SparseActs, "offsets" | "latents" | "values">;

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
const MARGIN_CODE = { none: 0, rigorous: 1, statistical: 2 } as const;
const KIND_CODE = { "batch-topk": 0, topk: 1, threshold: 2 } as const;

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

function loadBinding(): Binding {
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

function firstLine(error: unknown): string {
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
function chooseIsa(asked: Isa | undefined, binding: Binding): { code: number; name: string } {
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

// ---- the engine ----

/**
 * An engine with a copy of `weights` (null: zeros, to be written piece by piece); an `EngineFactory`, with an
 * instruction set to force as a third argument.
 * @throws {EngineError} no addon, unknown instruction set, not enough memory
 * @throws {ShapeError} dimensions that do not fit
 */
export async function createNativeEngine(
  config: EngineConfig,
  weights: Weights | null,
  options: NativeOptions = {},
): Promise<NativeEngine> {
  checkConfig(config);
  checkScreenable(config, "native");
  if (weights !== null) checkWeights(config, weights);
  const engine = new AddonEngine(config, options);
  if (weights === null) return engine;
  for (const name of ["wEnc", "wDec", "bEnc", "bDec"] as const) await engine.write(name, 0, weights[name]);
  return engine;
}

class AddonEngine implements NativeEngine {
  readonly name = "native";
  readonly numericClass = "fp32-fma16";
  readonly description: string;
  readonly config: EngineConfig;
  #handle: EngineHandle | null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(config: EngineConfig, { isa }: NativeOptions) {
    const binding = loadBinding();
    const threads = config.threads ?? availableParallelism();
    const { code, name } = chooseIsa(isa, binding);
    this.config = { ...config, widths: [...config.widths] };
    this.description = `${name}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
    try {
      this.#handle = new binding.Engine(
        config.dIn,
        config.dSae,
        Uint32Array.from(config.widths),
        config.applyBDecToInput,
        config.rescaleActsByDecoderNorm,
        config.training,
        threads,
        code,
        config.moments === "bf16",
      );
      setSearch(this.#handle, config.screening ?? { margin: "rigorous" });
    } catch (cause) {
      const matrices = config.training ? 6 : 2;
      const gigabytes = (matrices * config.dIn * config.dSae * 4) / 1e9;
      throw new EngineError(`the native engine could not be made: ${firstLine(cause)}`, {
        hint: `it needs ${gigabytes.toFixed(1)} GB for its weights`,
        cause,
      });
    }
  }

  /** `x` must stay as it is until the promise settles. */
  encode(x: Float32Array, selection: Selection): Promise<SparseActs> {
    return this.#turn(async (handle) => {
      const nTokens = tokensIn(x, this.config.dIn);
      checkSelection(selection, this.config.dSae);
      const thresholds = selection.kind === "threshold" ? selection.thresholds : null;
      const count = selectionCount(selection, nTokens);
      return { nTokens, ...(await handle.encode(x, KIND_CODE[selection.kind], count, thresholds)) };
    });
  }

  decode(acts: SparseActs, options: { width?: number } = {}): Promise<Float32Array> {
    return this.#turn((handle) => {
      const { dSae } = this.config;
      const width = options.width ?? dSae;
      if (!Number.isInteger(width) || width < 1 || width > dSae)
        throw new ShapeError("decode width", width, `an integer from 1 to ${dSae}`);
      checkActs(acts);
      return handle.decode(acts.offsets, acts.latents, acts.values, width);
    });
  }

  /** `x` must stay as it is until the promise settles. */
  trainStep(x: Float32Array, options: TrainStepOptions): Promise<TrainStepResult> {
    return this.#turn((handle) => {
      if (!this.config.training)
        throw new EngineError("trainStep on an engine made for inference", {
          hint: "create the engine with `training: true`",
        });
      const nTokens = tokensIn(x, this.config.dIn);
      if (nTokens === 0) throw new ShapeError("training batch", 0, "at least one token");
      checkStep(options, this.config.dSae, nTokens);
      const { selection, learningRate, adamStep, beta1, beta2, epsilon, clipNorm, aux, audit } = options;
      return handle.trainStep(
        x,
        KIND_CODE[selection.kind],
        selectionCount(selection, nTokens),
        Float64Array.of(
          learningRate,
          adamStep,
          beta1,
          beta2,
          epsilon,
          clipNorm ?? Number.POSITIVE_INFINITY,
          aux?.coefficient ?? 0,
        ),
        aux?.dead ?? null,
        audit?.tokens ?? null,
      );
    });
  }

  setScreening(screening: Screening): Promise<void> {
    return this.#turn(async (handle) => {
      checkScreening(screening);
      setSearch(handle, screening);
    });
  }

  decoderNorms(): Promise<Float32Array> {
    return this.#turn(async (handle) => handle.norms());
  }

  read(tensor: EngineTensor, from: number, to: number): Promise<Float32Array> {
    return this.#turn((handle) => {
      const { owner, code, rows } = this.#tensor(tensor);
      if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > rows)
        throw new ShapeError(`rows of ${tensor}`, [from, to], `a range within 0 … ${rows}`);
      return handle.read(owner, code, from, to);
    });
  }

  write(tensor: EngineTensor, from: number, values: Float32Array): Promise<void> {
    return this.#turn((handle) => {
      const { owner, code, rows, width } = this.#tensor(tensor);
      const n = values.length / width;
      if (!Number.isInteger(n) || !Number.isInteger(from) || from < 0 || from + n > rows)
        throw new ShapeError(
          `values for ${tensor} from row ${from}`,
          values.length,
          `whole rows of ${width} within ${rows} rows`,
        );
      return handle.write(owner, code, from, values);
    });
  }

  profile(): StepProfile {
    if (this.#handle === null) throw disposed();
    return this.#handle.profile();
  }

  dispose(): Promise<void> {
    const end = this.#last.then(() => {
      this.#handle?.dispose();
      this.#handle = null;
    });
    this.#last = end;
    return end;
  }

  /** One call at a time, in the order in which they were made; a failed one does not stop the next. */
  #turn<T>(call: (handle: EngineHandle) => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      if (this.#handle === null) throw disposed();
      try {
        return await call(this.#handle);
      } catch (error) {
        if (error instanceof EngineError || error instanceof ShapeError) throw error;
        throw new EngineError(`the native engine refused: ${firstLine(error)}`, { cause: error });
      }
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  #tensor(name: EngineTensor): { owner: number; code: number; rows: number; width: number } {
    const place = TENSORS[name];
    if (place === undefined) throw new EngineError(`no tensor called ${name}`);
    const { owner, code } = place;
    if (owner > 0 && !this.config.training)
      throw new EngineError(`no ${name} in an engine made for inference`, {
        hint: "create the engine with `training: true`",
      });
    const { dIn, dSae } = this.config;
    return { owner, code, rows: code === 3 ? dIn : dSae, width: code < 2 ? dIn : 1 };
  }
}

/** Owners: 0 weights, 1 first moments, 2 second moments. Codes: 0 wEnc, 1 wDec, 2 bEnc, 3 bDec. */
const TENSORS: Readonly<Record<EngineTensor, { owner: number; code: number }>> = {
  wEnc: { owner: 0, code: 0 },
  wDec: { owner: 0, code: 1 },
  bEnc: { owner: 0, code: 2 },
  bDec: { owner: 0, code: 3 },
  "m.wEnc": { owner: 1, code: 0 },
  "m.wDec": { owner: 1, code: 1 },
  "m.bEnc": { owner: 1, code: 2 },
  "m.bDec": { owner: 1, code: 3 },
  "v.wEnc": { owner: 2, code: 0 },
  "v.wDec": { owner: 2, code: 1 },
  "v.bEnc": { owner: 2, code: 2 },
  "v.bDec": { owner: 2, code: 3 },
};

function setSearch(handle: EngineHandle, screening: Screening): void {
  const sigmas = screening.margin === "statistical" ? screening.sigmas : 0;
  handle.setSearch(MARGIN_CODE[screening.margin], sigmas);
}

/** Entries of the whole batch (batch-topk: ⌊k·B⌋) or of a token (topk). */
function selectionCount(selection: Selection, nTokens: number): number {
  if (selection.kind === "threshold") return 0;
  return selection.kind === "topk" ? selection.k : Math.floor(selection.k * nTokens);
}

function disposed(): EngineError {
  return new EngineError("the engine has been disposed");
}
