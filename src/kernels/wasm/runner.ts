/** Who runs the calls of a WebAssembly instance: this thread, or another. Safe in a browser. */
import { WasmInstance, type WasmModule } from "./instance.ts";

/** What can be asked of an instance. */
export type WasmCall =
  | "create"
  | "setSearch"
  | "encode"
  | "decode"
  | "trainStep"
  | "profile"
  | "norms"
  | "read"
  | "write"
  | "memoryBytes";

/** One instance of the module, wherever it is. */
export interface WasmRunner {
  /** Arrays may be handed over as views; they stay the caller's. What comes back is the caller's. */
  call<C extends WasmCall>(
    call: C,
    ...values: Parameters<WasmInstance[C]>
  ): Promise<ReturnType<WasmInstance[C]>>;
  /** Frees the instance. Calls that still run are rejected. */
  close(): Promise<void>;
}

/** Runs a call by its name. */
export function runCall(instance: WasmInstance, call: WasmCall, values: readonly unknown[]): unknown {
  return Reflect.apply(instance[call], instance, values);
}

/** On this thread, which is busy meanwhile: for a page's own worker, and for tests. */
export class InlineRunner implements WasmRunner {
  #instance: WasmInstance | null;

  constructor(module: WasmModule) {
    this.#instance = new WasmInstance(module);
  }

  async call<C extends WasmCall>(
    call: C,
    ...values: Parameters<WasmInstance[C]>
  ): Promise<ReturnType<WasmInstance[C]>> {
    if (this.#instance === null) throw new Error("closed");
    return runCall(this.#instance, call, values) as ReturnType<WasmInstance[C]>;
  }

  async close(): Promise<void> {
    this.#instance = null;
  }
}
