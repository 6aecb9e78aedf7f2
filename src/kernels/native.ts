/**
 * The native engine: C++ through N-API, all work off the event loop. What people pass is checked here and in
 * `engine-calls.ts`; C++ checks only what memory safety needs.
 *
 * Numerics: fp32 in one fixed order of sums, so the bits depend neither on threads nor on the instruction set
 * (`docs/decisions/001-order-of-sums.md`).
 */
import { availableParallelism } from "node:os";
import { EngineError, ShapeError } from "../errors.ts";
import { chooseIsa, type EngineHandle, firstLine, type Isa, loadBinding } from "./addon.ts";
import {
  checkActs,
  checkConfig,
  checkRows,
  checkScreenable,
  checkScreening,
  checkWeights,
  decodeWidth,
  rowsIn,
  tokensIn,
} from "./arguments.ts";
import { architectureCall, screeningCall, selectionCall, stepCall, tensorPlace } from "./engine-calls.ts";
import type {
  Engine,
  EngineConfig,
  EngineTensor,
  Screening,
  Selection,
  SparseActs,
  StepProfile,
  TrainStepOptions,
  TrainStepResult,
  Weights,
} from "./kernels.ts";
import { tensorsOf } from "./parameters.ts";
import { Turns } from "./turns.ts";

export interface NativeOptions {
  /** Default: the environment variable LAPIDARY_ISA, else the best this machine has. */
  readonly isa?: Isa;
}

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
): Promise<Engine> {
  checkConfig(config);
  checkScreenable(config, "native");
  if (weights !== null) checkWeights(config, weights);
  const engine = new AddonEngine(config, options);
  if (weights !== null) for (const [name, values] of tensorsOf(weights)) await engine.write(name, 0, values);
  return engine;
}

class AddonEngine implements Engine {
  readonly name = "native";
  readonly numericClass = "fp32-fma16";
  readonly description: string;
  readonly config: EngineConfig;
  readonly #turns = new Turns();
  #handle: EngineHandle | null;

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
        architectureCall(config.architecture),
      );
      this.#handle.setSearch(...screeningCall(config.screening ?? { margin: "rigorous" }));
    } catch (cause) {
      const matrices = config.training ? (config.architecture === undefined ? 6 : 8) : 2;
      const gigabytes = (matrices * config.dIn * config.dSae * 4) / 1e9;
      throw new EngineError(`the native engine could not be made: ${firstLine(cause)}`, {
        hint: `it needs ${gigabytes.toFixed(1)} GB for its weights${config.training ? " and their training" : ""}`,
        cause,
      });
    }
  }

  /** `x` must stay as it is until the promise settles. */
  encode(x: Float32Array, selection: Selection): Promise<SparseActs> {
    return this.#turn(async (handle) => {
      const nTokens = tokensIn(x, this.config.dIn);
      const call = selectionCall(selection, nTokens, this.config);
      return { nTokens, ...(await handle.encode(x, ...call)) };
    });
  }

  decode(acts: SparseActs, options: { width?: number } = {}): Promise<Float32Array> {
    return this.#turn((handle) => {
      const width = decodeWidth(options, this.config.dSae);
      checkActs(acts);
      return handle.decode(acts.offsets, acts.latents, acts.values, width);
    });
  }

  /** `x` must stay as it is until the promise settles. */
  trainStep(x: Float32Array, options: TrainStepOptions): Promise<TrainStepResult> {
    return this.#turn((handle) => handle.trainStep(...stepCall(this.config, x, options)));
  }

  setScreening(screening: Screening): Promise<void> {
    return this.#turn(async (handle) => {
      checkScreening(screening);
      handle.setSearch(...screeningCall(screening));
    });
  }

  decoderNorms(): Promise<Float32Array> {
    return this.#turn(async (handle) => handle.norms());
  }

  read(tensor: EngineTensor, from: number, to: number): Promise<Float32Array> {
    return this.#turn((handle) => {
      const { owner, code, rows } = tensorPlace(tensor, this.config);
      checkRows(tensor, from, to, rows);
      return handle.read(owner, code, from, to);
    });
  }

  write(tensor: EngineTensor, from: number, values: Float32Array): Promise<void> {
    return this.#turn((handle) => {
      const place = tensorPlace(tensor, this.config);
      rowsIn(values, tensor, from, place);
      return handle.write(place.owner, place.code, from, values);
    });
  }

  profile(): Promise<StepProfile> {
    return this.#turn(async (handle) => handle.profile());
  }

  dispose(): Promise<void> {
    return this.#turns.take(async () => {
      this.#handle?.dispose();
      this.#handle = null;
    });
  }

  /** What C++ throws becomes an EngineError. */
  #turn<T>(call: (handle: EngineHandle) => Promise<T>): Promise<T> {
    return this.#turns.take(async () => {
      if (this.#handle === null) throw new EngineError("the engine has been disposed");
      try {
        return await call(this.#handle);
      } catch (error) {
        if (error instanceof EngineError || error instanceof ShapeError) throw error;
        throw new EngineError(`the native engine refused: ${firstLine(error)}`, { cause: error });
      }
    });
  }
}
