/**
 * Memory that a training step of a standard, gated or jumprelu SAE takes in C++, beside weights and moments: the mirror
 * of native/src/dense_step.cc. Letters as in the equations: F latents, d dimensions, B tokens. Safe in a browser.
 */
import type { EngineConfig } from "./kernels.ts";

/** A matrix [slab, B] takes at most so much, if that holds one range of latents. */
const SLAB_BYTES = 128 << 20;
const LATENTS_PER_RANGE = 48;
const LANES = 16;
const TILE = 6;

/** Lengths of a step's large arrays, in bytes; all 0 where latents are selected by size. */
export interface DenseStepBytes {
  /** dwDec and dwEnc, whole: [F, 2, d] */
  readonly gradients: number;
  /** h and dh of a slab of latents, [slab, B] each; a gated SAE has a third */
  readonly slabs: readonly number[];
  /** x̂ − x, [B, d]; a gated SAE has a second */
  readonly signals: readonly number[];
}

export function denseStepBytes(
  { dIn, dSae, architecture }: Pick<EngineConfig, "dIn" | "dSae" | "architecture">,
  batchTokens: number,
): DenseStepBytes {
  if (architecture === undefined) return { gradients: 0, slabs: [], signals: [] };
  const d = upTo(dIn, LANES);
  const row = 4 * upTo(batchTokens, LANES);
  const fitting = Math.floor(SLAB_BYTES / row / LATENTS_PER_RANGE) * LATENTS_PER_RANGE;
  const latents = Math.min(Math.max(fitting, LATENTS_PER_RANGE), upTo(dSae, LATENTS_PER_RANGE));
  const nReconstructions = architecture.kind === "gated" ? 2 : 1;
  return {
    gradients: 4 * upTo(dSae, TILE) * 2 * d,
    slabs: Array<number>(1 + nReconstructions).fill(latents * row),
    signals: Array<number>(nReconstructions).fill(4 * upTo(batchTokens, TILE) * d),
  };
}

function upTo(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple;
}
