/** Chooses who computes. Engines are imported only when chosen, so that a machine without the addon never touches it. */
import { EngineError } from "../errors.ts";
import type { Engine, EngineFactory } from "./kernels.ts";

/** Which engine is wanted; "auto": the native one where it loads, else the WebAssembly one, else the reference engine. */
export type EnginePreference = "auto" | "native" | "wasm" | "reference";

/** An engine that was chosen, and why. */
export interface SelectedEngine {
  readonly name: Engine["name"];
  readonly create: EngineFactory;
  /** For people: what it is. */
  readonly description: string;
  /** For people: why this one, and what to do if another was hoped for. */
  readonly reason: string;
}

/**
 * The engine asked for; of "auto" the fastest that this machine runs, with the reason.
 * @throws {EngineError} an engine was asked for by name and does not load
 */
export async function selectEngine(preference: EnginePreference = "auto"): Promise<SelectedEngine> {
  switch (preference) {
    case "native":
      return native("asked for");
    case "wasm":
      return wasm("asked for");
    case "reference":
      return reference("asked for");
    case "auto":
      return fastest();
    default:
      throw new EngineError(`no engine called ${String(preference)}`, {
        hint: "auto, native, wasm or reference",
      });
  }
}

async function fastest(): Promise<SelectedEngine> {
  let why: string;
  try {
    return await native("the addon is built for this machine");
  } catch (error) {
    why = messageOf(error);
  }
  try {
    return await wasm(`${why}. WebAssembly computes the same to rounding, several times slower`);
  } catch (error) {
    why = `${why}; ${messageOf(error)}`;
  }
  return reference(`${why}. The reference engine computes the same to rounding, tens of times slower`);
}

/** What an engine that is absent says, with its advice; other errors are thrown. */
function messageOf(error: unknown): string {
  if (!(error instanceof EngineError)) throw error;
  return error.hint === undefined ? error.message : `${error.message}: ${error.hint}`;
}

async function native(reason: string): Promise<SelectedEngine> {
  const { cpuFeatures } = await import("./addon.ts");
  const { createNativeEngine } = await import("./native.ts");
  const { kernels } = cpuFeatures();
  return { name: "native", create: createNativeEngine, description: `native engine, ${kernels}`, reason };
}

async function wasm(reason: string): Promise<SelectedEngine> {
  const { createWasmEngine, loadWasm } = await import("./wasm.ts");
  await loadWasm();
  return {
    name: "wasm",
    create: createWasmEngine,
    description: "WebAssembly engine, SIMD, one thread",
    reason,
  };
}

async function reference(reason: string): Promise<SelectedEngine> {
  const { createReferenceEngine } = await import("./reference/engine.ts");
  return {
    name: "reference",
    create: createReferenceEngine,
    description: "reference engine, plain TypeScript",
    reason,
  };
}
