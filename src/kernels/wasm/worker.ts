/** The thread that a WebAssembly instance lives in, because its calls block the thread that makes them. Started by `../wasm.ts`. */
import { parentPort, workerData } from "node:worker_threads";
import { WasmInstance, type WasmModule } from "./instance.ts";
import { runCall, type WasmCall } from "./runner.ts";

/** A call, as it is posted; `id` comes back with the answer. */
export interface WasmRequest {
  readonly id: number;
  readonly call: WasmCall;
  readonly values: readonly unknown[];
}

/** What came of it, or why nothing did. */
export type WasmAnswer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failure: string };

const port = parentPort;
let instance: WasmInstance | undefined;

port?.on("message", ({ id, call, values }: WasmRequest) => {
  try {
    instance ??= new WasmInstance((workerData as { readonly module: WasmModule }).module);
    const result = runCall(instance, call, values);
    port.postMessage({ id, result } satisfies WasmAnswer, arraysIn(result));
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    port.postMessage({ id, failure } satisfies WasmAnswer);
  }
});

/** The buffers of arrays in a result, which are handed over rather than copied. */
function arraysIn(result: unknown): ArrayBuffer[] {
  if (ArrayBuffer.isView(result)) return [result.buffer as ArrayBuffer];
  if (typeof result !== "object" || result === null) return [];
  return Object.values(result)
    .filter(ArrayBuffer.isView)
    .map(({ buffer }) => buffer as ArrayBuffer);
}
