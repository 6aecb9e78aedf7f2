/**
 * The WebAssembly engine: the native engine's C++ on simd128, one thread. Safe in a browser; `../wasm.ts` starts it on
 * Node, in a worker. Arguments are checked here, memory is planned before it is taken, and what is long is cut into
 * slices, so that besides weights and a training batch little is held.
 *
 * Numerics: the native engine's order of sums, but every product is rounded before it is added, because WebAssembly has
 * no fused multiply-add. The same bits on every machine.
 */
import { EngineError, ShapeError } from "../../errors.ts";
import {
  checkActs,
  checkAnySelection,
  checkConfig,
  checkEntries,
  checkRows,
  checkScreenable,
  checkScreening,
  checkWeights,
  decodeWidth,
  rowsIn,
  tokensIn,
} from "../arguments.ts";
import { screeningCall, selectionCall, stepCall, tensorPlace } from "../engine-calls.ts";
import type {
  Engine,
  EngineConfig,
  EngineFactory,
  EngineTensor,
  Screening,
  Selection,
  SparseActs,
  StepProfile,
  TrainStepOptions,
  TrainStepResult,
  Weights,
} from "../kernels.ts";
import { tensorsOf } from "../parameters.ts";
import { joinActs } from "../sparse-acts.ts";
import { Turns } from "../turns.ts";
import { compileWasm } from "./instance.ts";
import {
  checkFits,
  encodeTokenBytes,
  engineBytes,
  mostEntries,
  SLICE_VALUES,
  stepBytes,
  WASM_LIMIT_BYTES,
} from "./memory.ts";
import { InlineRunner, type WasmRunner } from "./runner.ts";
import { slicesOfActs } from "./slices.ts";

/** Beyond the engine interface: what tests and benches want to see. */
export interface WasmEngine extends Engine {
  /** bytes of WebAssembly memory taken so far */
  memoryBytes(): Promise<number>;
}

/**
 * The engines of a module, from its bytes (`native/wasm/lapidary.wasm`), for a browser: they compute on the thread that
 * calls, so call them from a page's worker.
 * @throws {EngineError} no WebAssembly with SIMD, or bytes that are no module
 */
export async function wasmEngineFactory(bytes: Uint8Array): Promise<EngineFactory> {
  const module = await compileWasm(bytes);
  return (config, weights) => openWasmEngine(() => new InlineRunner(module), config, weights);
}

/**
 * An engine on an instance that `start` makes, with a copy of `weights` (null: zeros, to be written piece by piece).
 * @throws {EngineError} more memory is needed than there is; nothing has been started then
 * @throws {ShapeError} dimensions that do not fit
 */
export async function openWasmEngine(
  start: () => WasmRunner,
  config: EngineConfig,
  weights: Weights | null,
): Promise<WasmEngine> {
  checkConfig(config);
  checkScreenable(config, "WebAssembly");
  const { dIn, dSae, training } = config;
  const purpose = training ? "train" : "run";
  checkFits(`to ${purpose} an SAE of ${dSae} latents and ${dIn} dimensions`, engineBytes(config));
  if (weights !== null) checkWeights(config, weights);
  const engine = new SlicedEngine(start(), config);
  await engine.prepare(weights);
  return engine;
}

class SlicedEngine implements WasmEngine {
  readonly name = "wasm";
  readonly numericClass = "fp32-mul-add16";
  readonly description = "WebAssembly SIMD, 1 thread";
  readonly config: EngineConfig;
  readonly #turns = new Turns();
  readonly #runner: WasmRunner;
  #ended: EngineError | null = null;

  constructor(runner: WasmRunner, config: EngineConfig) {
    this.#runner = runner;
    this.config = { ...config, widths: [...config.widths] };
  }

  async prepare(weights: Weights | null): Promise<void> {
    await this.#turn((runner) => runner.call("create", this.config));
    if (this.config.screening !== undefined) await this.setScreening(this.config.screening);
    if (weights === null) return;
    for (const [name, values] of tensorsOf(weights)) await this.write(name, 0, values);
  }

  /** `x` must stay as it is until the promise settles. */
  encode(x: Float32Array, selection: Selection): Promise<SparseActs> {
    return this.#turn(async (runner) => {
      const { dIn } = this.config;
      const nTokens = tokensIn(x, dIn);
      checkAnySelection(selection, this.config);
      const step = this.#tokensAtOnce(nTokens, selection);
      const parts: SparseActs[] = [];
      for (let first = 0; first < nTokens; first += step) {
        const rows = x.subarray(first * dIn, (first + step) * dIn);
        const n = rows.length / dIn;
        parts.push({
          nTokens: n,
          ...(await runner.call("encode", rows, ...selectionCall(selection, n, this.config))),
        });
      }
      return parts.length === 1 ? parts[0] : joinActs(parts);
    });
  }

  decode(acts: SparseActs, options: { width?: number } = {}): Promise<Float32Array> {
    return this.#turn(async (runner) => {
      const { dIn, dSae } = this.config;
      const width = decodeWidth(options, dSae);
      checkActs(acts);
      checkEntries(acts, dSae);
      const out = new Float32Array(acts.nTokens * dIn);
      for (const { first, offsets, latents, values } of slicesOfActs(acts, dIn))
        out.set(await runner.call("decode", offsets, latents, values, width), first * dIn);
      return out;
    });
  }

  /** `x` must stay as it is until the promise settles. */
  trainStep(x: Float32Array, options: TrainStepOptions): Promise<TrainStepResult> {
    return this.#turn((runner) => {
      const call = stepCall(this.config, x, options);
      const { selection, aux } = options;
      const nTokens = x.length / this.config.dIn;
      const nDead = aux === null ? 0 : aux.dead.reduce((n, dead) => n + (dead === 0 ? 0 : 1), 0);
      checkFits(
        `a training step of ${nTokens} tokens`,
        engineBytes(this.config) + stepBytes(this.config, nTokens, selection, nDead),
        "train with smaller batches, or with the native engine, which has no such limit",
      );
      return runner.call("trainStep", ...call);
    });
  }

  setScreening(screening: Screening): Promise<void> {
    return this.#turn((runner) => {
      checkScreening(screening);
      return runner.call("setSearch", ...screeningCall(screening));
    });
  }

  decoderNorms(): Promise<Float32Array> {
    return this.#turn((runner) => runner.call("norms"));
  }

  read(tensor: EngineTensor, from: number, to: number): Promise<Float32Array> {
    return this.#turn(async (runner) => {
      const { owner, code, rows, width } = tensorPlace(tensor, this.config);
      checkRows(tensor, from, to, rows);
      const out = new Float32Array((to - from) * width);
      const step = rowsAtOnce(width);
      for (let row = from; row < to; row += step) {
        const n = Math.min(step, to - row);
        out.set(await runner.call("read", owner, code, row, n, width), (row - from) * width);
      }
      return out;
    });
  }

  write(tensor: EngineTensor, from: number, values: Float32Array): Promise<void> {
    return this.#turn(async (runner) => {
      const place = tensorPlace(tensor, this.config);
      const { owner, code, width } = place;
      const total = rowsIn(values, tensor, from, place);
      const step = rowsAtOnce(width);
      for (let row = 0; row < total; row += step) {
        const n = Math.min(step, total - row);
        await runner.call(
          "write",
          owner,
          code,
          from + row,
          n,
          values.subarray(row * width, (row + n) * width),
        );
      }
    });
  }

  profile(): Promise<StepProfile> {
    return this.#turn((runner) => runner.call("profile"));
  }

  memoryBytes(): Promise<number> {
    return this.#turn((runner) => runner.call("memoryBytes"));
  }

  dispose(): Promise<void> {
    return this.#turns.take(() => {
      this.#ended = new EngineError("the engine has been disposed");
      return this.#runner.close();
    });
  }

  /** One call at a time. Errors of ours pass; after any other the instance cannot be trusted any more. */
  #turn<T>(call: (runner: WasmRunner) => Promise<T>): Promise<T> {
    return this.#turns.take(async () => {
      if (this.#ended !== null) throw this.#ended;
      try {
        return await call(this.#runner);
      } catch (error) {
        if (error instanceof EngineError || error instanceof ShapeError) throw error;
        const reason = error instanceof Error ? error.message : String(error);
        this.#ended = new EngineError(`the WebAssembly engine has stopped: ${reason}`, {
          hint: "its weights are lost; if memory was short, smaller batches need less",
          cause: error,
        });
        await this.#runner.close();
        throw this.#ended;
      }
    });
  }

  /**
   * Tokens to encode in one call. A batch's top-k sees all of them; the other selections look at one token at a time, so
   * that as many are taken as have room if all the activations come that can come.
   */
  #tokensAtOnce(nTokens: number, selection: Selection): number {
    const fixed = engineBytes(this.config);
    const each = encodeTokenBytes(this.config, mostEntries(selection, this.config.dSae));
    if (selection.kind === "batch-topk") {
      const hint = "encode fewer tokens at once, or use the native engine";
      checkFits(`the batch top-k of ${nTokens} tokens`, fixed + nTokens * each, hint);
      return nTokens;
    }
    const fitting = Math.floor((WASM_LIMIT_BYTES - fixed) / each);
    return Math.max(1, Math.min(fitting, rowsAtOnce(this.config.dIn)));
  }
}

function rowsAtOnce(width: number): number {
  return Math.max(1, Math.floor(SLICE_VALUES / width));
}
