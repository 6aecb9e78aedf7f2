/**
 * The WebAssembly engine on Node: reads the module that ships with the package and runs each engine in a worker of its
 * own, so that the event loop stays free. The engine itself is `wasm/engine.ts`.
 */
import { readFile } from "node:fs/promises";
import type { Worker } from "node:worker_threads";
import { EngineError } from "../errors.ts";
import { spawnWorker } from "../worker-thread.ts";
import type { EngineConfig, Weights } from "./kernels.ts";
import { openWasmEngine, type WasmEngine } from "./wasm/engine.ts";
import { compileWasm, WasmInstance, type WasmModule } from "./wasm/instance.ts";
import type { WasmCall, WasmRunner } from "./wasm/runner.ts";
import type { WasmAnswer, WasmRequest } from "./wasm/worker.ts";

const PLACE = "native/wasm/lapidary.wasm";

/** From src/ and from dist/ alike. */
const FILE = new URL(`../../${PLACE}`, import.meta.url);

let loaded: Promise<WasmModule> | undefined;

/** The module, compiled once. @throws {EngineError} not there, damaged, or no WebAssembly with SIMD */
export function loadWasm(): Promise<WasmModule> {
  loaded ??= load().catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function load(): Promise<WasmModule> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(FILE);
  } catch (cause) {
    throw new EngineError(`the WebAssembly engine could not be loaded (${PLACE}: not there)`, {
      hint: "install the package again, or build it: npm run wasm",
      cause,
    });
  }
  try {
    const module = await compileWasm(bytes);
    new WasmInstance(module); // of the right interface
    return module;
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EngineError(`the WebAssembly engine could not be loaded: ${reason}`, { cause });
  }
}

/**
 * An engine with a copy of `weights` (null: zeros, to be written piece by piece), in a worker of its own. `threads` means
 * nothing to it: it has one.
 * @throws {EngineError} no module, or more memory is needed than the 3.5 GB there are
 * @throws {ShapeError} dimensions that do not fit
 */
export async function createWasmEngine(config: EngineConfig, weights: Weights | null): Promise<WasmEngine> {
  const module = await loadWasm();
  return openWasmEngine(() => new ThreadRunner(module), config, weights);
}

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

class ThreadRunner implements WasmRunner {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #ended: Error | null = null;

  constructor(module: WasmModule) {
    this.#worker = spawnWorker(new URL("./wasm/worker.ts", import.meta.url), { workerData: { module } });
    this.#worker.unref();
    this.#worker.on("message", (answer: WasmAnswer) => this.#settle(answer));
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", () => this.#end(new Error("its thread has ended")));
  }

  call<C extends WasmCall>(
    call: C,
    ...values: Parameters<WasmInstance[C]>
  ): Promise<ReturnType<WasmInstance[C]>> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    // Views are copied: posting one would post all of the buffer behind it, and what is handed over is gone here.
    const transfer: ArrayBuffer[] = [];
    const own = values.map((value: unknown) => {
      if (!ArrayBuffer.isView(value)) return value;
      const copy = (value as Float32Array).slice();
      transfer.push(copy.buffer);
      return copy;
    });
    const id = this.#nextId++;
    this.#worker.ref();
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as Pending["resolve"], reject });
      this.#worker.postMessage({ id, call, values: own } satisfies WasmRequest, transfer);
    });
  }

  async close(): Promise<void> {
    this.#end(new Error("closed"));
    await this.#worker.terminate();
  }

  #settle(answer: WasmAnswer): void {
    const waiting = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    if (this.#pending.size === 0) this.#worker.unref();
    if ("failure" in answer) waiting?.reject(new Error(answer.failure));
    else waiting?.resolve(answer.result);
  }

  #end(cause: Error): void {
    this.#ended ??= cause;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}
