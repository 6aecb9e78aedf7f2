/**
 * How much memory training takes, before it takes it. On top of the engine's own plan (`kernels/memory.ts`): the batches
 * in hand and read ahead, the store's shuffle pools, and the process itself. Loading and checkpoints pass through in
 * pieces; what resampling holds, three rows a newcomer, is not counted.
 */
import { readerBytes } from "../activations/plan.ts";
import type { EngineConfig } from "../kernels/kernels.ts";
import { type EngineWork, type MemoryPlan, memoryPlan, planOf } from "../kernels/memory.ts";
import { heldOutChunk } from "./held-out.ts";

/** Latents that may be dead at once, as a share, where AuxK needs room for them. */
const DEAD_SHARE = 0.05;
/** Node with everything loaded, before it has done anything. */
const PROCESS_BYTES = 88e6;
/** What V8 lets lie of arrays that nobody holds: pieces of files that have passed through. */
const PASSING_BYTES = 64 * 1024 * 1024;

export interface TrainingWork extends Omit<EngineWork, "nDead"> {
  /** is there an auxiliary loss? Of dense architectures it takes no memory. */
  readonly aux: boolean;
  /** the store that is trained on */
  readonly nRows: number;
  readonly dtype: "bf16" | "f32";
  /** what the process holds before it trains; default: a fresh one's */
  readonly processBytes?: number;
}

/** Peak memory of a process that trains with the native engine. */
export function trainingMemory(config: Omit<EngineConfig, "training">, work: TrainingWork): MemoryPlan {
  const { batchTokens, k, aux, nRows, dtype, processBytes = PROCESS_BYTES } = work;
  const { dIn, dSae } = config;
  const engineWork =
    config.architecture === undefined
      ? { batchTokens, k, nDead: aux ? Math.ceil(DEAD_SHARE * dSae) : 0 }
      : { batchTokens, k: (heldOutChunk("own", dSae, batchTokens) * dSae) / batchTokens };
  return planOf([
    ...memoryPlan({ ...config, training: true }, engineWork).parts,
    { name: "activations read", bytes: readerBytes({ nRows, dIn, dtype, batchTokens }) },
    { name: "process", bytes: processBytes + PASSING_BYTES },
  ]);
}
