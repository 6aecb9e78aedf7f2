/**
 * How near is near enough, in one place. Goldens were computed by torch in float32; every manifest's `fp32_vs_fp64` says
 * how far that run is from itself in float64. Nobody can be asked to be nearer to it than it is to the truth, so each
 * tolerance is the larger of a stated floor and a stated multiple of that deviation.
 */
import { expect } from "vitest";
import type { TrainingManifest } from "./cases.ts";

/** Relative, on losses, gradient norms and thresholds. */
const LOSS_FLOOR = 1e-5;
/** Absolute, on weights: a single step moves a weight by up to lr = 1e-3. */
const WEIGHT_FLOOR = 3e-5;
const MULTIPLE = 4;
/** Error of one clipped gradient entry in float32: some 1e-7 of terms whose norm is clipped to 1, summed over a batch. */
const GRADIENT_ERROR = 2e-9;

export function lossTolerance({ fp32_vs_fp64 }: TrainingManifest): number {
  return Math.max(LOSS_FLOOR, MULTIPLE * numberAt(fp32_vs_fp64, "loss_rel_per_step_max"));
}

export function weightTolerance({ fp32_vs_fp64 }: TrainingManifest, step: number, tensor: string): number {
  const deviations = (fp32_vs_fp64[`weights_after_step_${step}`] ?? {}) as Record<string, unknown>;
  return Math.max(WEIGHT_FLOOR, MULTIPLE * numberAt(deviations, tensor));
}

/** Absolute, on the threshold. */
export function thresholdTolerance({ fp32_vs_fp64 }: TrainingManifest): number {
  return MULTIPLE * numberAt(fp32_vs_fp64, "threshold_max_diff") + 1e-9;
}

/** Absolute, on the smallest activation of a batch: its error enters the threshold times the rate of the EMA. */
export function cutTolerance(manifest: TrainingManifest): number {
  return thresholdTolerance(manifest) / (manifest.sae_config.topk_threshold_lr ?? 1);
}

/** Absolute, on the smallest activation of latents that no cut selects: the rounding of a pre-activation near 0. */
export const ownCutTolerance = 1e-6;

/**
 * What Adam makes of a gradient's rounding: each step moves a weight by lr·m̂/(√v̂ + ε), so an error δ in the gradient
 * moves it by lr·δ/(√v̂ + ε). Where gradients have been of the order of ε = 1e-8 (a latent hit once, in a direction it
 * hardly sees), rounding decides the weight's path, sign included, in SAELens as here: two float32 runs differ there.
 * `v` is Adam's second moment after `steps` steps. Nothing is allowed where it is 0: that weight had no gradient.
 */
export function adamTolerance(v: number, steps: number, lr: number, beta2: number, epsilon: number): number {
  if (v === 0) return 0;
  const rms = Math.sqrt(v / (1 - beta2 ** steps));
  return steps * lr * Math.min(1, GRADIENT_ERROR / (rms + epsilon));
}

function numberAt(record: Readonly<Record<string, unknown>>, key: string): number {
  const value = record[key];
  return typeof value === "number" ? value : 0;
}

/** |got − wanted| ≤ relative·|wanted| + absolute */
export function expectNear(
  got: number,
  wanted: number,
  relative: number,
  what: string,
  absolute = 1e-9,
): void {
  const distance = Math.abs(got - wanted);
  expect(distance <= relative * Math.abs(wanted) + absolute, `${what}: got ${got}, golden ${wanted}`).toBe(
    true,
  );
}

/** Every entry within `tolerance(i)`; the failure names the worst entry. */
export function expectAllNear(
  got: ArrayLike<number>,
  wanted: ArrayLike<number>,
  tolerance: number | ((i: number) => number),
  what: string,
): void {
  expect(got.length, `${what}: length`).toBe(wanted.length);
  let worst = 0;
  let at = -1;
  for (let i = 0; i < wanted.length; i++) {
    const allowed = typeof tolerance === "number" ? tolerance : tolerance(i);
    const excess = Math.abs(got[i] - wanted[i]) / allowed;
    if (!(excess <= worst)) {
      worst = excess;
      at = i;
    }
  }
  expect(
    worst <= 1,
    `${what}[${at}]: got ${got[at]}, golden ${wanted[at]}, ${worst.toFixed(2)} times what is allowed`,
  ).toBe(true);
}

/** Largest magnitude of a tensor. */
export function largest(values: ArrayLike<number>): number {
  let max = 0;
  for (let i = 0; i < values.length; i++) max = Math.max(max, Math.abs(values[i]));
  return max;
}
