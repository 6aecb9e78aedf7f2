/**
 * An SAE's equations in double precision, as plainly as they can be written, for a handful of inputs. Not the reference
 * engine a second time: that one rounds p and latents to f32, as all engines do, and holds all weights. A contract has to
 * say how far p is from its threshold, of weights that are read once and never held; and what it expects of every program,
 * ours too, must not be what our engines happen to give. A test holds the two against each other.
 *
 *   x' = (x − μ)·f                  normalisation of each row; μ = 0, f = 1 without one
 *   c  = x' − b_dec·[apply_b_dec_to_input]
 *   h  = c · W_enc + b_enc          p = h, or h·‖W_dec row‖ where latents are rescaled by decoder norms
 *   a  = p where p > max(θ, 0)      (topk: where p > 0 is among the row's k largest, ties to the lowest latent)
 *   x̂  = (Σ_j a_j/n_j · W_dec[j] + b_dec)·g + μ      n_j the norm if rescaled, else 1; g undoes f
 *
 * Source: SAELens 6.18 inference classes. h and p are [dSae, n]: latent by latent, the inputs side by side.
 */
import type { Sae, SaeConfig } from "../sae/sae.ts";

/** Inputs as the encoder sees them, and what gives their scale back. */
export interface PlainInputs {
  readonly n: number;
  /** c [n, dIn] */
  readonly centred: Float64Array;
  /** [n] each */
  readonly mean: Float64Array;
  readonly factorOut: Float64Array;
}

/** Activations of n inputs, compressed by row: of input t, entries offsets[t] … offsets[t + 1], latents ascending. */
export interface PlainLatents {
  /** [n + 1] */
  readonly offsets: Int32Array;
  readonly latents: Int32Array;
  readonly values: Float64Array;
}

/** x [n, dIn] → c. */
export function plainInputs(x: Float32Array, config: SaeConfig, bDec: Float32Array): PlainInputs {
  const { dIn, normalization, applyBDecToInput } = config;
  const n = x.length / dIn;
  const centred = Float64Array.from(x);
  const mean = new Float64Array(n);
  const factorOut = new Float64Array(n).fill(1);
  for (let t = 0; t < n; t++) {
    const row = centred.subarray(t * dIn, (t + 1) * dIn);
    if (normalization === "layer_norm") {
      mean[t] = row.reduce((a, b) => a + b, 0) / dIn;
      for (let i = 0; i < dIn; i++) row[i] -= mean[t];
      factorOut[t] = Math.sqrt(squares(row) / (dIn - 1));
      for (let i = 0; i < dIn; i++) row[i] /= factorOut[t] + 1e-5;
    } else if (normalization === "constant_norm_rescale") {
      factorOut[t] = Math.sqrt(squares(row) / dIn) || 1; // a row of zeros stays one
      for (let i = 0; i < dIn; i++) row[i] /= factorOut[t];
    }
    if (applyBDecToInput) for (let i = 0; i < dIn; i++) row[i] -= bDec[i];
  }
  return { n, centred, mean, factorOut };
}

/** Σ values² */
export function squares(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return sum;
}

/** What p has to exceed to be active, of input t: [dSae], or one number for all latents. */
export function plainCut(
  p: Float64Array,
  n: number,
  t: number,
  { config, threshold }: Pick<Sae, "config" | "threshold">,
): (latent: number) => number {
  if (threshold !== null) return (j) => Math.max(threshold[j], 0);
  if (config.architecture !== "topk") return () => 0;
  const { dSae } = config;
  const k = config.k ?? dSae;
  if (k >= dSae) return () => 0;
  const row = Float64Array.from({ length: dSae }, (_, j) => p[j * n + t]).sort();
  const next = Math.max(row[dSae - k - 1], 0); // the largest that stays out
  return () => next;
}

/** Which latents are active, and how much. */
export function plainLatents(
  p: Float64Array,
  n: number,
  sae: Pick<Sae, "config" | "threshold">,
): PlainLatents {
  const { architecture, dSae, k } = sae.config;
  const wanted = architecture === "topk" ? (k ?? dSae) : 0;
  const offsets = [0];
  const latents: number[] = [];
  const values: number[] = [];
  for (let t = 0; t < n; t++) {
    const cut = plainCut(p, n, t, sae);
    const active: number[] = [];
    for (let j = 0; j < dSae; j++) if (p[j * n + t] > cut(j)) active.push(j);
    if (active.length < wanted) fillTies(active, p, n, t, cut(0), wanted);
    for (const j of active) {
      latents.push(j);
      values.push(p[j * n + t]);
    }
    offsets.push(latents.length);
  }
  return {
    offsets: Int32Array.from(offsets),
    latents: Int32Array.from(latents),
    values: Float64Array.from(values),
  };
}

/** Of latents that equal a topk row's cut, the lowest are active too, until there are k. */
function fillTies(active: number[], p: Float64Array, n: number, t: number, cut: number, k: number): void {
  if (cut <= 0) return;
  for (let j = 0; active.length < k && j * n < p.length; j++) if (p[j * n + t] === cut) active.push(j);
  active.sort((a, b) => a - b);
}

/** x̂ [n, dIn] of given latents. `row` gives W_dec[j] [dIn]; the norm is the row's own. */
export async function plainReconstruction(
  { offsets, latents, values }: PlainLatents,
  { n, mean, factorOut }: PlainInputs,
  config: SaeConfig,
  bDec: Float32Array,
  row: (latent: number) => Promise<Float32Array>,
): Promise<Float64Array> {
  const { dIn, rescaleActsByDecoderNorm, normalization } = config;
  const out = new Float64Array(n * dIn);
  for (let t = 0; t < n; t++) {
    const sum = out.subarray(t * dIn, (t + 1) * dIn);
    sum.set(bDec);
    for (let e = offsets[t]; e < offsets[t + 1]; e++) {
      const decoder = await row(latents[e]);
      const norm = rescaleActsByDecoderNorm ? Math.sqrt(squares(decoder)) : 1;
      const a = norm > 0 ? values[e] / norm : 0;
      for (let i = 0; i < dIn; i++) sum[i] += a * decoder[i];
    }
    if (normalization === "layer_norm" || normalization === "constant_norm_rescale")
      for (let i = 0; i < dIn; i++) sum[i] = sum[i] * factorOut[t] + mean[t];
  }
  return out;
}
