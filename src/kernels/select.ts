/** Chooses who computes. Engines are imported only when chosen, so that a machine without the addon never touches it. */
import { EngineError } from "../errors.ts";
import type { EngineFactory } from "./kernels.ts";

/** Which engine is wanted; "auto": the native one where it loads. */
export type EnginePreference = "auto" | "native" | "reference";

/** An engine that was chosen, and why. */
export interface SelectedEngine {
  readonly name: "native" | "reference";
  readonly create: EngineFactory;
  /** For people: what it is. */
  readonly description: string;
  /** For people: why this one, and what to do if another was hoped for. */
  readonly reason: string;
}

/**
 * The native engine if it loads, else the reference engine, with the reason.
 * @throws {EngineError} "native" was asked for and does not load
 */
export async function selectEngine(preference: EnginePreference = "auto"): Promise<SelectedEngine> {
  switch (preference) {
    case "native":
      return native("asked for");
    case "reference":
      return reference("asked for");
    case "auto":
      try {
        return await native("the addon is built for this machine");
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        const advice = error.hint === undefined ? "" : `; ${error.hint}`;
        return reference(
          `${error.message}; the reference engine computes the same to rounding, tens of times slower${advice}`,
        );
      }
    default:
      throw new EngineError(`no engine called ${String(preference)}`, { hint: "auto, native or reference" });
  }
}

async function native(reason: string): Promise<SelectedEngine> {
  const { cpuFeatures, createNativeEngine } = await import("./native.ts");
  const { kernels } = cpuFeatures();
  return { name: "native", create: createNativeEngine, description: `native engine, ${kernels}`, reason };
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
