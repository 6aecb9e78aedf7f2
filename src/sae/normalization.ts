/**
 * What an inference SAE does to its inputs before encoding, and undoes after decoding (SAELens 6.18
 * `normalize_activations`, spec §4). Each row remembers a mean μ and a factor s:  in: (x − μ)·f,  out: y·s + μ.
 */
import type { Normalization } from "./sae.ts";

/** Normalised inputs, and what turns reconstructions of them back. */
export interface Normalized {
  /** [nTokens, dIn] */
  readonly x: Float32Array;
  /** Undoes the normalisation of rows [nTokens, dIn] in place. */
  restore(recon: Float32Array): void;
  /** What a difference of two reconstructions of row `token` is multiplied by to be one in the input's own units. */
  scaleOf(token: number): number;
}

/** `expected_average_only_in` is the identity at run time: its factor is folded into the weights, or is the caller's. */
export function normalize(x: Float32Array, dIn: number, kind: Normalization): Normalized {
  switch (kind) {
    case "none":
    case "expected_average_only_in":
      return { x, restore: () => {}, scaleOf: () => 1 };
    case "layer_norm":
      return byRow(x, dIn, layerNorm);
    case "constant_norm_rescale":
      return byRow(x, dIn, constantNorm);
  }
}

interface RowScale {
  readonly mean: number;
  readonly factorIn: number;
  readonly factorOut: number;
}

/** μ = mean, s = standard deviation with N − 1; in: (x − μ)/(s + 10⁻⁵); out: y·s + μ. */
function layerNorm(x: Float32Array, at: number, dIn: number): RowScale {
  let sum = 0;
  for (let j = at; j < at + dIn; j++) sum += x[j];
  const mean = sum / dIn;
  let squares = 0;
  for (let j = at; j < at + dIn; j++) squares += (x[j] - mean) ** 2;
  const deviation = Math.sqrt(squares / (dIn - 1));
  return { mean, factorIn: 1 / (deviation + 1e-5), factorOut: deviation };
}

/** in: x·√d/‖x‖, out: y·‖x‖/√d. A row of zeros stays as it is (SAELens: 0/0, NaN). */
function constantNorm(x: Float32Array, at: number, dIn: number): RowScale {
  let squares = 0;
  for (let j = at; j < at + dIn; j++) squares += x[j] * x[j];
  const factor = squares === 0 ? 1 : Math.sqrt(dIn / squares);
  return { mean: 0, factorIn: factor, factorOut: 1 / factor };
}

function byRow(
  x: Float32Array,
  dIn: number,
  scaleOf: (x: Float32Array, at: number, dIn: number) => RowScale,
): Normalized {
  const scales: RowScale[] = [];
  const out = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += dIn) {
    const scale = scaleOf(x, at, dIn);
    for (let j = at; j < at + dIn; j++) out[j] = (x[j] - scale.mean) * scale.factorIn;
    scales.push(scale);
  }
  return {
    x: out,
    restore(recon) {
      scales.forEach(({ mean, factorOut }, t) => {
        for (let j = t * dIn; j < (t + 1) * dIn; j++) recon[j] = recon[j] * factorOut + mean;
      });
    },
    scaleOf: (token) => scales[token].factorOut,
  };
}
