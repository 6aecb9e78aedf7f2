/**
 * Steering: latents' activations are edited at chosen positions, and the residual stream moves by what that changes in
 * their reconstruction, so the SAE's error stays in it.
 *
 *   x' = x + s · Σ_i (a'_i − a_i) / n_i · wDec[i]
 *
 * a: activations of x. n: decoder norms, where the SAE states activations in their units, else 1. s: what the SAE's
 * normalisation of its input is undone by (the standard deviation of x, ‖x‖/√d), else 1. Sums in f64.
 */
import { ShapeError } from "../../errors.ts";
import type { SparseActs } from "../../kernels/kernels.ts";
import type { InferenceSae } from "../../sae/inference.ts";
import { normalize } from "../../sae/normalization.ts";
import type { Intervention } from "../live.ts";

/**
 * Moves `rows` of the stream [tokens, dIn], in place. Several interventions on a latent follow one another.
 * @throws {ShapeError} there is no such latent
 */
export async function steerRows(
  inference: InferenceSae,
  stream: Float32Array,
  rows: readonly number[],
  interventions: readonly Intervention[],
): Promise<void> {
  const { dIn, dSae, normalization, rescaleActsByDecoderNorm } = inference.sae.config;
  for (const { latent } of interventions)
    if (latent >= dSae) throw new ShapeError("latent to steer", latent, `0 … ${dSae - 1}`);
  if (rows.length === 0 || interventions.length === 0) return;
  const x = gatherRows(stream, rows, dIn);
  const acts = await inference.encode(x);
  const { scaleOf } = normalize(x, dIn, normalization);
  const { wDec } = inference.sae.weights;
  const latents = [...new Set(interventions.map(({ latent }) => latent))];
  const unit = latents.map((latent) => (rescaleActsByDecoderNorm ? rowNorm(wDec, latent, dIn) : 1));
  const moved = new Float64Array(dIn);
  rows.forEach((row, token) => {
    moved.fill(0);
    latents.forEach((latent, i) => {
      const before = activationOf(acts, token, latent);
      const change = edited(before, latent, interventions) - before;
      // a decoder row of zeros moves nothing, whatever its unit
      const factor = change === 0 || unit[i] === 0 ? 0 : (change / unit[i]) * scaleOf(token);
      if (factor !== 0) for (let j = 0; j < dIn; j++) moved[j] += factor * wDec[latent * dIn + j];
    });
    for (let j = 0; j < dIn; j++) stream[row * dIn + j] += moved[j];
  });
}

/** a', from a and the intervention's value. */
const EDITS: Readonly<Record<Intervention["kind"], (a: number, value: number) => number>> = {
  add: (a, value) => a + value,
  scale: (a, value) => a * value,
  clamp: (_a, value) => value,
  ablate: () => 0,
};

function edited(activation: number, latent: number, interventions: readonly Intervention[]): number {
  return interventions
    .filter((intervention) => intervention.latent === latent)
    .reduce((a, { kind, value = 0 }) => EDITS[kind](a, value), activation);
}

/** Some rows of [n, dIn], copied. */
export function gatherRows(stream: Float32Array, rows: readonly number[], dIn: number): Float32Array {
  const some = new Float32Array(rows.length * dIn);
  rows.forEach((row, i) => {
    some.set(stream.subarray(row * dIn, (row + 1) * dIn), i * dIn);
  });
  return some;
}

/** 0 where the latent is not active. */
function activationOf({ offsets, latents, values }: SparseActs, token: number, latent: number): number {
  for (let entry = offsets[token]; entry < offsets[token + 1]; entry++)
    if (latents[entry] === latent) return values[entry];
  return 0;
}

function rowNorm(rows: Float32Array, row: number, dIn: number): number {
  let squares = 0;
  for (let i = row * dIn; i < (row + 1) * dIn; i++) squares += rows[i] * rows[i];
  return Math.sqrt(squares);
}
