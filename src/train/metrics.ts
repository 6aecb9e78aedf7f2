/** A line of `metrics.jsonl`, and what of it the engine does not measure. */

import type { AuditState } from "./progress.ts";

/** One step, all of its forward pass before the update; nothing in it depends on the clock. */
export interface MetricsLine {
  /** 1-based */
  readonly step: number;
  /** rollbacks before this step was taken; after one, earlier steps appear again with a higher `attempt` */
  readonly attempt: number;
  /** mse + innerMse + aux + sparsity */
  readonly loss: number;
  /** mean over the batch of ‖x̂ − x‖² at full width */
  readonly mse: number;
  /** the same at each smaller width */
  readonly innerMse: readonly number[];
  readonly aux: number;
  /** of standard, gated and jumprelu: the sparsity loss, its coefficient included */
  readonly sparsity?: number;
  /** `1 − mean‖x−x̂‖² / mean‖x−x̄‖²` over the batch */
  readonly ve: number;
  readonly l0: number;
  /** before clipping */
  readonly gradNorm: number;
  readonly minPositive: number | null;
  /** after this step */
  readonly threshold: number;
  readonly dead: number;
  readonly learningRate: number;
  /** in the steps after a resampling: the newcomers' share of this step's selection */
  readonly newcomers?: number;
  /** with statistical screening: what its audits have come to, this step's included */
  readonly audit?: AuditState;
}

/** mean over tokens of ‖x − x̄‖², x̄ the mean of x [nTokens, dIn]; f64. */
export function batchVariance(x: Float32Array, dIn: number): number {
  const nTokens = x.length / dIn;
  const sums = new Float64Array(dIn);
  let squares = 0;
  for (let at = 0; at < x.length; ) {
    for (let j = 0; j < dIn; j++, at++) {
      const value = x[at];
      sums[j] += value;
      squares += value * value;
    }
  }
  return (squares - sums.reduce((sum, s) => sum + s * s, 0) / nTokens) / nTokens;
}
