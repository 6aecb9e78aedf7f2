/**
 * The threshold that batch-topk learns while it trains, and that becomes the JumpReLU threshold of the inference form.
 * It is in units of p, the pre-activations that selection sees.
 */
import type { SparseActs } from "../kernels/kernels.ts";

/**
 * One step of the moving average, in f64: `T ← (1 − lr)·T + lr·min{a : a > 0}`; T stays when nothing was positive.
 * No bias correction: from T = 0 it is low by the factor `1 − (1 − lr)^t` (lr 0.01: 37 % low after 100 steps).
 * Source: SAELens 6.18 `BatchTopKTrainingSAE.update_topk_threshold`.
 */
export function nextThreshold(threshold: number, lr: number, minPositive: number | null): number {
  return minPositive === null ? threshold : (1 - lr) * threshold + lr * minPositive;
}

/** The cut of a selection: its smallest activation, or null if it is empty. */
export function cutOf(acts: SparseActs): number | null {
  let cut = Number.POSITIVE_INFINITY;
  for (const value of acts.values) if (value < cut) cut = value;
  return acts.values.length === 0 ? null : cut;
}
