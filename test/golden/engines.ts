/** The engines that golden tests run on: the reference and the WebAssembly one always, the native one where its addon is built. */
import { readFileSync } from "node:fs";
import { it } from "vitest";
import type { Engine, EngineFactory } from "../../src/kernels/kernels.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { wasmEngineFactory } from "../../src/kernels/wasm/engine.ts";

const WASM = new URL("../../native/wasm/lapidary.wasm", import.meta.url);

export interface TestEngine {
  readonly name: Engine["name"];
  readonly create: EngineFactory;
}

export async function availableEngines(): Promise<TestEngine[]> {
  const engines: TestEngine[] = [
    { name: "reference", create: createReferenceEngine },
    { name: "wasm", create: await wasmEngineFactory(readFileSync(WASM)) },
  ];
  const native = await nativeFactory();
  if (native !== null) engines.push({ name: "native", create: native });
  return engines;
}

/** Says in the count of skipped tests that the native engine was not there. */
export function countAbsentEngines(engines: readonly TestEngine[]): void {
  if (!engines.some(({ name }) => name === "native"))
    it.skip("absent: the native engine is not built", () => {});
}

/** Tries the addon on the smallest SAE there is. */
async function nativeFactory(): Promise<EngineFactory | null> {
  try {
    const { createNativeEngine } = await import("../../src/kernels/native.ts");
    const one = Float32Array.of(1);
    const engine = await createNativeEngine(
      {
        dIn: 1,
        dSae: 1,
        widths: [1],
        applyBDecToInput: true,
        rescaleActsByDecoderNorm: false,
        training: false,
        threads: 1,
      },
      { dIn: 1, dSae: 1, wEnc: one, wDec: one, bEnc: one, bDec: one },
    );
    await engine.dispose();
    return createNativeEngine;
  } catch {
    return null;
  }
}
