/**
 * The C++ engine compiled to WebAssembly, as one instance of its module: arrays in, calls, arrays out, on the thread that
 * asks. Safe in a browser. A typed mirror of native/wasm/exports.cc; what is passed has been checked (`engine.ts`).
 */
import { EngineError } from "../../errors.ts";
import { architectureCall, type CsrArrays, type SelectionCall, type StepCall } from "../engine-calls.ts";
import type { EngineConfig, StepProfile, TrainStepResult } from "../kernels.ts";

/** A compiled module, as the host holds it; may be posted to a worker. */
export type WasmModule = object & { readonly wasmModule: unique symbol };

/** The part of WebAssembly that is used here: the compiler knows it only together with a whole page. */
interface Host {
  validate(bytes: Uint8Array): boolean;
  compile(bytes: Uint8Array): Promise<WasmModule>;
  readonly Instance: new (
    module: WasmModule,
    imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ) => { readonly exports: Exports };
}

/** Pointers and sizes are unsigned 32-bit integers; those that come back are signed until `>>> 0`. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  _initialize(): void;
  interfaceVersion(): number;
  allocate(bytes: number): number;
  release(pointer: number): void;
  create(
    dIn: number,
    dSae: number,
    widths: number,
    nWidths: number,
    applyBDecToInput: number,
    rescale: number,
    training: number,
    bf16Moments: number,
    architecture: number,
  ): void;
  setSearch(mode: number, sigmas: number): void;
  encode(x: number, nTokens: number, kind: number, count: number, thresholds: number): number;
  offsets(): number;
  latents(): number;
  values(): number;
  decode(
    nTokens: number,
    nEntries: number,
    offsets: number,
    latents: number,
    values: number,
    width: number,
    out: number,
  ): void;
  trainStep(
    x: number,
    nTokens: number,
    kind: number,
    count: number,
    settings: number,
    dead: number,
    audited: number,
    nAudited: number,
  ): number;
  fired(): number;
  profile(): number;
  norms(): number;
  read(owner: number, tensor: number, first: number, n: number, out: number): void;
  write(owner: number, tensor: number, first: number, n: number, rows: number): void;
  forget(): void;
}

const INTERFACE = 2;

type Words = Float64Array | Float32Array | Uint32Array | Uint8Array;

/** @throws {EngineError} no WebAssembly here, none with SIMD, or bytes that are no module */
export async function compileWasm(bytes: Uint8Array): Promise<WasmModule> {
  const host = hostOf();
  if (!host.validate(bytes))
    throw new EngineError("WebAssembly here has no SIMD, or the module is damaged", {
      hint: "Node 20.19 or later has it, and so have browsers since 2023",
    });
  return host.compile(bytes);
}

function hostOf(): Host {
  const { WebAssembly } = globalThis as { readonly WebAssembly?: unknown };
  if (WebAssembly === undefined)
    throw new EngineError("there is no WebAssembly here", { hint: "is Node run with --jitless?" });
  return WebAssembly as Host;
}

/**
 * Memory of its own, and one engine in it once `create` was called. Whatever throws (memory that is used up, a defect)
 * leaves it unusable.
 */
export class WasmInstance {
  readonly #exports: Exports;
  #dIn = 0;
  #dSae = 0;
  #hasSparsity = false;

  /** @throws {EngineError} another interface than this version's */
  constructor(module: WasmModule) {
    const { Instance } = hostOf();
    const { exports } = new Instance(module, {
      host: {
        fail: (message: number) => {
          throw new Error(this.#text(message >>> 0));
        },
        milliseconds: () => performance.now(),
      },
    });
    this.#exports = exports;
    exports._initialize();
    const found = exports.interfaceVersion();
    if (found !== INTERFACE)
      throw new EngineError(
        `the WebAssembly module has interface ${found}, this version needs ${INTERFACE}`,
        {
          hint: "npm run wasm builds it anew",
        },
      );
  }

  create(config: EngineConfig): void {
    const { dIn, dSae, widths } = config;
    this.#dIn = dIn;
    this.#dSae = dSae;
    this.#hasSparsity = config.architecture !== undefined;
    const list = this.#put(Uint32Array.from(widths));
    const architecture = this.#put(architectureCall(config.architecture));
    this.#exports.create(
      dIn,
      dSae,
      list,
      widths.length,
      Number(config.applyBDecToInput),
      Number(config.rescaleActsByDecoderNorm),
      Number(config.training),
      Number(config.moments === "bf16"),
      architecture,
    );
    this.#exports.release(list);
    this.#exports.release(architecture);
  }

  setSearch(mode: number, sigmas: number): void {
    this.#exports.setSearch(mode, sigmas);
  }

  /** x [nTokens, dIn] */
  encode(x: Float32Array, ...[kind, count, thresholds]: SelectionCall): CsrArrays {
    const exports = this.#exports;
    const nTokens = x.length / this.#dIn;
    const rows = this.#put(x);
    const floors = this.#putMaybe(thresholds);
    const n = exports.encode(rows, nTokens, kind, count, floors) >>> 0;
    const acts = {
      offsets: this.#take(Uint32Array, exports.offsets(), nTokens + 1),
      latents: this.#take(Uint32Array, exports.latents(), n),
      values: this.#take(Float32Array, exports.values(), n),
    };
    exports.forget();
    exports.release(rows);
    exports.release(floors);
    return acts;
  }

  /** → [nTokens, dIn] */
  decode(offsets: Uint32Array, latents: Uint32Array, values: Float32Array, width: number): Float32Array {
    const exports = this.#exports;
    const nTokens = offsets.length - 1;
    const n = nTokens * this.#dIn;
    const inputs = [this.#put(offsets), this.#put(latents), this.#put(values)];
    const out = this.#allocate(n * 4);
    exports.decode(nTokens, latents.length, inputs[0], inputs[1], inputs[2], width, out);
    const recon = this.#take(Float32Array, out, n);
    for (const pointer of [...inputs, out]) exports.release(pointer);
    return recon;
  }

  trainStep(...[x, kind, count, settings, dead, audited]: StepCall): TrainStepResult {
    const exports = this.#exports;
    const inputs = [this.#put(x), this.#put(settings), this.#putMaybe(dead), this.#putMaybe(audited)];
    const numbers = exports.trainStep(
      inputs[0],
      x.length / this.#dIn,
      kind,
      count,
      inputs[1],
      inputs[2],
      inputs[3],
      audited?.length ?? 0,
    );
    const [loss, mse, aux, sparsity, l0, gradNorm, minPositive, entries, missed, nInner] = this.#take(
      Float64Array,
      numbers,
      10,
    );
    const result = {
      loss,
      mse,
      innerMse: [...this.#take(Float64Array, numbers + 10 * 8, nInner)],
      aux,
      ...(this.#hasSparsity && { sparsity }),
      l0,
      gradNorm,
      minPositive: minPositive > 0 ? minPositive : null,
      fired: this.#take(Uint32Array, exports.fired(), this.#dSae),
      audit: audited === null ? null : { entries, missed },
    };
    exports.forget();
    for (const pointer of inputs) exports.release(pointer);
    return result;
  }

  profile(): StepProfile {
    const [encode, quantise, screen, refine, candidates, searches, reconstruct, aux, gradients, update] =
      this.#take(Float64Array, this.#exports.profile(), 10);
    return { encode, quantise, screen, refine, candidates, searches, reconstruct, aux, gradients, update };
  }

  /** [dSae] */
  norms(): Float32Array {
    return this.#take(Float32Array, this.#exports.norms(), this.#dSae);
  }

  /** `n` rows of `width` values from row `first` on. */
  read(owner: number, tensor: number, first: number, n: number, width: number): Float32Array {
    const out = this.#allocate(n * width * 4);
    this.#exports.read(owner, tensor, first, n, out);
    const rows = this.#take(Float32Array, out, n * width);
    this.#exports.release(out);
    return rows;
  }

  write(owner: number, tensor: number, first: number, n: number, rows: Float32Array): void {
    const pointer = this.#put(rows);
    this.#exports.write(owner, tensor, first, n, pointer);
    this.#exports.release(pointer);
  }

  /** Bytes this instance has taken from the system; they never become fewer. */
  memoryBytes(): number {
    return this.#exports.memory.buffer.byteLength;
  }

  /** A pointer to `bytes` of memory. Views of the memory made before may be detached. */
  #allocate(bytes: number): number {
    const pointer = this.#exports.allocate(bytes) >>> 0;
    if (pointer === 0) throw new Error("out of memory");
    return pointer;
  }

  #put(array: Words): number {
    const pointer = this.#allocate(array.byteLength);
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    new Uint8Array(this.#exports.memory.buffer, pointer, array.byteLength).set(bytes);
    return pointer;
  }

  #putMaybe(array: Words | null): number {
    return array === null ? 0 : this.#put(array);
  }

  /** A copy of `n` elements. */
  #take<T extends Words>(
    Kind: new (buffer: ArrayBuffer, offset: number, n: number) => T,
    at: number,
    n: number,
  ): T {
    return new Kind(this.#exports.memory.buffer, at >>> 0, n).slice() as T;
  }

  #text(at: number): string {
    const bytes = new Uint8Array(this.#exports.memory.buffer, at);
    return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
  }
}
