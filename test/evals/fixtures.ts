/** Made-up tokens for tests of evaluation, and the metrics' definitions in the plainest words: whole arrays, two passes. */
import type { RowsToEvaluate } from "../../src/evals/evaluate.ts";
import { measure } from "../../src/evals/measure.ts";
import { METRIC_NAMES, METRICS, type MetricName } from "../../src/evals/metrics.ts";
import type { Reconstructor } from "../../src/evals/token-source.ts";
import { TokenSums } from "../../src/evals/token-sums.ts";
import type { SparseActs } from "../../src/kernels/kernels.ts";
import { Philox } from "../../src/random/philox.ts";
import { plainConfig } from "../../src/sae/dialects/config.ts";
import type { Sae } from "../../src/sae/sae.ts";

export const D_IN = 5;
export const D_SAE = 8;

export function fakeSae(overrides: Partial<Sae["config"]> = {}): Sae {
  return {
    config: plainConfig({
      architecture: "jumprelu",
      dIn: D_IN,
      dSae: D_SAE,
      dtype: "float32",
      applyBDecToInput: true,
      hookName: "model.layers.4",
      modelName: "tiny",
      ...overrides,
    }),
    weights: {
      dIn: D_IN,
      dSae: D_SAE,
      wEnc: new Float32Array(D_IN * D_SAE),
      wDec: new Float32Array(D_IN * D_SAE),
      bEnc: new Float32Array(D_SAE),
      bDec: new Float32Array(D_IN),
    },
    threshold: Float32Array.of(4, 1, 2, 3, 8, 7, 6, 5),
    runnerConfig: null,
  };
}

/** Latent 0 fires on every token with 0.5, latent 3 with the token's first entry where that is positive. */
export function fakeActs(x: Float32Array): SparseActs {
  const latents: number[] = [];
  const values: number[] = [];
  const offsets = [0];
  for (let at = 0; at < x.length; at += D_IN) {
    latents.push(0, ...(x[at] > 0 ? [3] : []));
    values.push(0.5, ...(x[at] > 0 ? [x[at]] : []));
    offsets.push(latents.length);
  }
  return {
    nTokens: x.length / D_IN,
    offsets: Uint32Array.from(offsets),
    latents: Uint32Array.from(latents),
    values: Float32Array.from(values),
  };
}

/** Answers x̂ = `recon(x)`, and `fakeActs`. */
export function reconstructor(recon: (x: Float32Array) => Float32Array, sae = fakeSae()): Reconstructor {
  return { sae, reconstruct: async (x) => ({ acts: fakeActs(x), recon: recon(x) }) };
}

export function normals(n: number, purpose: string, center = 0, scale = 1): Float32Array {
  const noise = new Philox(7, purpose);
  return Float32Array.from({ length: n }, (_, i) => center + scale * noise.normal(i));
}

/** A reconstruction that errs: shorter, and off a little in each dimension. */
export const shrunk = (x: Float32Array) =>
  x.map((value, i) => value * (0.8 + 0.05 * Math.cos(i % D_IN)) + 0.1 * Math.sin(i % D_IN));

/** Rows of set "prose". */
export const rowsFor = (activations: Float32Array): RowsToEvaluate => ({
  activations,
  dIn: D_IN,
  set: "prose",
  hookName: "blocks.4.hook_resid_post",
});

/** Tokens [t …] of data [n, D_IN], in that order. */
export function pick(data: Float32Array, tokens: readonly number[]): Float32Array {
  return Float32Array.from(tokens.flatMap((t) => [...data.subarray(t * D_IN, (t + 1) * D_IN)]));
}

/** Sums of tokens about `origin`, as the first pass makes them, and with `mean` as the second does. */
export function sumsOf(
  x: Float32Array,
  recon: Float32Array,
  { origin = new Float64Array(D_IN), mean = meanOf(x) }: { origin?: Float64Array; mean?: Float64Array } = {},
): TokenSums {
  const sums = new TokenSums(origin);
  const quantities = measure({ x, recon, acts: fakeActs(x) }, origin, 0);
  for (let row = 0; row < x.length / D_IN; row++) {
    sums.addToken(x, quantities, row);
    let [sse, distance] = [0, 0];
    for (let j = 0; j < D_IN; j++) {
      sse += (x[row * D_IN + j] - recon[row * D_IN + j]) ** 2;
      distance += (x[row * D_IN + j] - mean[j]) ** 2;
    }
    if (distance > 0) {
      sums.add("tokenVe", 1 - sse / distance);
      sums.add("nTokenVe", 1);
    }
  }
  return sums;
}

export function valuesOf(sums: TokenSums): Record<MetricName, number | null> {
  return Object.fromEntries(METRIC_NAMES.map((name) => [name, METRICS[name].of(sums)])) as Record<
    MetricName,
    number | null
  >;
}

export function meanOf(x: Float32Array): Float64Array {
  const mean = new Float64Array(D_IN);
  x.forEach((value, i) => {
    mean[i % D_IN] += value;
  });
  return mean.map((sum) => (sum * D_IN) / x.length);
}

/** The definitions, nothing clever. */
export function naive(x: Float32Array, recon: Float32Array): Record<MetricName, number> {
  const n = x.length / D_IN;
  const row = (data: Float32Array, t: number) => Array.from(data.subarray(t * D_IN, (t + 1) * D_IN));
  const dot = (a: number[], b: number[]) => a.reduce((sum, value, j) => sum + value * b[j], 0);
  const minus = (a: number[], b: number[]) => a.map((value, j) => value - b[j]);
  const square = (a: number[]) => dot(a, a);
  const tokens = Array.from({ length: n }, (_, t) => ({ x: row(x, t), r: row(recon, t) }));
  const mean = Array.from(meanOf(x));
  const sum = (f: (token: (typeof tokens)[0]) => number) =>
    tokens.reduce((total, token) => total + f(token), 0);
  const { offsets, values } = fakeActs(x);
  return {
    ve: 1 - sum(({ x, r }) => square(minus(x, r))) / sum(({ x }) => square(minus(x, mean))),
    vePerToken: sum(({ x, r }) => 1 - square(minus(x, r)) / square(minus(x, mean))) / n,
    l0: offsets[n] / n,
    l1: values.reduce((total, value) => total + value, 0) / n,
    mse: sum(({ x, r }) => square(minus(x, r))) / n,
    cosine: sum(({ x, r }) => dot(x, r) / Math.sqrt(square(x) * square(r))) / n,
    l2Ratio: sum(({ x, r }) => Math.sqrt(square(r) / square(x))) / n,
    relativeReconstructionBias: sum(({ r }) => square(r)) / sum(({ x, r }) => dot(x, r)),
    normIn: sum(({ x }) => Math.sqrt(square(x))) / n,
    normOut: sum(({ r }) => Math.sqrt(square(r))) / n,
  };
}

/** Numbers under names that differ by no more than `tolerance`, relative to what is larger than 1. */
export function differencesOf(
  got: Readonly<Record<string, number | null>>,
  wanted: Readonly<Record<string, number | null>>,
  tolerance: number,
): string[] {
  return [...new Set([...Object.keys(got), ...Object.keys(wanted)])].flatMap((name) => {
    const [a, b] = [got[name], wanted[name]];
    const isSame =
      a === b ||
      (typeof a === "number" &&
        typeof b === "number" &&
        Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)));
    return isSame ? [] : [`${name}: ${a} for ${b}`];
  });
}
