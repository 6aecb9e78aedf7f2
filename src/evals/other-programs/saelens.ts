/**
 * The numbers that SAELens 6.18's `run_evals` would report, under names that say so: to compare with published ones, not
 * to judge by. Several are means over batches, so they depend on how tokens are divided into batches; two are defective,
 * as their definitions say. Lapidary's own metrics are in `metrics.ts`.
 * Source: sae_lens/evals.py, get_sparsity_and_variance_metrics; spec §5. Checked against the real one (test/golden).
 */
import { DataError, ShapeError } from "../../errors.ts";
import type { SparseActs, Weights } from "../../kernels/kernels.ts";
import { rowCosines } from "../latents/cosines.ts";
import type { Metric } from "../metrics.ts";
import { INDEX, N_QUANTITIES } from "../token-sums.ts";

/** By SAELens' own names. `perBatch`: depends on how tokens are divided into batches. */
export const SAELENS_METRICS = {
  explained_variance: {
    definition:
      "1 − R / (S − (S/d)²). Defective: meant as variance explained, it subtracts the square of a mean square instead of the squared mean. So it is not about the mean: for small activations it is close to 1 − Σ‖x−x̂‖² / Σ‖x‖²; it changes when activations are rescaled, and where S > d² it exceeds 1. S, R: means over batches of mean ‖x‖² and mean ‖x−x̂‖²; d: dIn.",
    unit: "1",
    perBatch: true,
  },
  explained_variance_legacy: {
    definition:
      "Mean over tokens of 1 − ‖x−x̂‖² / ‖x−x̄‖², x̄ the mean of the token's batch. Tokens near the mean weigh most. Null where a token is its batch's mean.",
    unit: "1",
    perBatch: true,
  },
  mse: {
    definition:
      "Mean over tokens of ‖x−x̂‖² / T, T the tokens of the token's batch. Defective: divided by the number of tokens twice, it falls as batches grow.",
    unit: "squared activation units per token, over tokens of a batch",
    perBatch: true,
  },
  cossim: {
    definition: "Mean over tokens of the cosine between x and x̂; null if either is zero on any token.",
    unit: "1",
    perBatch: false,
  },
  l2_norm_in: { definition: "Mean over tokens of ‖x‖.", unit: "activation units", perBatch: false },
  l2_norm_out: { definition: "Mean over tokens of ‖x̂‖.", unit: "activation units", perBatch: false },
  l2_ratio: {
    definition: "Mean over tokens of ‖x̂‖ / ‖x‖; where ‖x‖ < 0.0001, of ‖x̂‖.",
    unit: "1",
    perBatch: false,
  },
  relative_reconstruction_bias: {
    definition: "Mean over batches of (mean ‖x̂‖² / mean ⟨x, x̂⟩).",
    unit: "1",
    perBatch: true,
  },
  l0: {
    definition: "Mean over tokens of the number of active latents.",
    unit: "latents per token",
    perBatch: false,
  },
  l1: {
    definition: "Mean over tokens of the sum of activations.",
    unit: "activation units of the latents",
    perBatch: false,
  },
} as const satisfies Record<string, { definition: string; unit: string; perBatch: boolean }>;

export type SaelensMetricName = keyof typeof SAELENS_METRICS;

/** Values without their definitions; null where SAELens gets NaN. */
export type SaelensValues = Readonly<Record<SaelensMetricName, number | null>>;

/** Every metric with its definition, under the name of the program that would report it. */
export type SaelensMetrics = Readonly<Record<`saelens618.${SaelensMetricName}`, Metric<number | null>>>;

/** Tokens a batch, unless told otherwise. */
const DEFAULT_BATCH_TOKENS = 4096;
/** A window no token is of. */
const NO_WINDOW = 0xffffffff;

/**
 * Takes tokens in the order of the store, in chunks of any size, and divides them into batches itself: the chunks
 * change no bit of any result, the batches do. Only kept tokens are added: SAELens leaves out excluded ones before it
 * counts. Partial results do not merge. Sums are fp64, where SAELens has f32. Memory: the x of one batch.
 *
 * What fills no batch at the end is left out of the metrics that depend on batches, where a short batch would weigh as
 * much as a full one; the others count it. If there is no full batch, it is the batch.
 */
export class SaelensStats {
  readonly dIn: number;
  readonly batchTokens: number;
  /** [dSae] tokens on which each latent was active */
  readonly activeTokens: Float64Array;
  readonly #activeWindows: Float64Array;
  readonly #lastWindow: Uint32Array;
  #hasWindows = true;
  /** tokens seen, and those of them in batches that have ended */
  #nTokens = 0;
  #nBatched = 0;
  readonly #sums = { legacy: 0, mse: 0, cossim: 0, normIn: 0, normOut: 0, ratio: 0, l0: 0, l1: 0 };
  #nBatches = 0;
  /** sums of means over a batch */
  readonly #batchMeans = { energy: 0, sse: 0, bias: 0 };
  /** the batch being filled */
  readonly #x: Float32Array;
  readonly #sse: Float64Array;
  #filled = 0;
  #energyIn = 0;
  #energyOut = 0;
  #inner = 0;

  constructor(dIn: number, dSae: number, { batchTokens = DEFAULT_BATCH_TOKENS } = {}) {
    if (!(Number.isInteger(batchTokens) && batchTokens > 0))
      throw new ShapeError("tokens of a batch", batchTokens, "a positive integer");
    this.dIn = dIn;
    this.batchTokens = batchTokens;
    this.activeTokens = new Float64Array(dSae);
    this.#activeWindows = new Float64Array(dSae);
    this.#lastWindow = new Uint32Array(dSae).fill(NO_WINDOW);
    this.#x = new Float32Array(batchTokens * dIn);
    this.#sse = new Float64Array(batchTokens);
  }

  /**
   * Adds tokens: x and recon [n, dIn], both unscaled, and their activations. `window` [n]: the window of each token, in
   * the order of windows; without it there is no `consistent_activation_heuristic`. `measured`: what `measure` made of
   * these tokens, where somebody has measured them already.
   * @throws {ShapeError} lengths that do not fit each other
   */
  add(
    x: Float32Array,
    recon: Float32Array,
    acts: SparseActs,
    window: Uint32Array | null = null,
    measured: Float64Array | null = null,
  ): void {
    const n = acts.nTokens;
    if (x.length !== n * this.dIn) throw new ShapeError("activations", x.length, [n, this.dIn]);
    if (recon.length !== x.length) throw new ShapeError("reconstructions", recon.length, x.length);
    if (window !== null && window.length !== n) throw new ShapeError("windows of tokens", window.length, n);
    if (window === null && n > 0) this.#hasWindows = false;
    for (let t = 0; t < n; t++) {
      this.#addActs(acts, t, window === null ? NO_WINDOW : window[t]);
      const start = t * this.dIn;
      const energies = measured === null ? energiesOf(x, recon, start, this.dIn) : energiesIn(measured, t);
      this.#addToken(x.subarray(start, start + this.dIn), energies);
      if (this.#filled === this.batchTokens) this.endBatch();
    }
  }

  /**
   * Ends the batch before it is full, where SAELens' own ends: its batches are prompts, less the tokens left out. An
   * empty batch is none.
   */
  endBatch(): void {
    const n = this.#filled;
    if (n === 0) return;
    const { dIn } = this;
    const mean = new Float64Array(dIn);
    for (let i = 0, j = 0; i < n * dIn; i++, j = j + 1 === dIn ? 0 : j + 1) mean[j] += this.#x[i];
    for (let j = 0; j < dIn; j++) mean[j] /= n;
    let batchSse = 0;
    for (let t = 0; t < n; t++) {
      let fromMean = 0;
      for (let j = 0; j < dIn; j++) fromMean += (this.#x[t * dIn + j] - mean[j]) ** 2;
      this.#sums.legacy += 1 - this.#sse[t] / fromMean;
      this.#sums.mse += this.#sse[t] / n;
      batchSse += this.#sse[t];
    }
    this.#batchMeans.energy += this.#energyIn / n;
    this.#batchMeans.sse += batchSse / n;
    this.#batchMeans.bias += this.#energyOut / this.#inner;
    this.#nBatches += 1;
    this.#nBatched += n;
    this.#filled = this.#energyIn = this.#energyOut = this.#inner = 0;
  }

  /** @throws {DataError} no tokens */
  values(): SaelensValues {
    const n = this.#nTokens;
    if (n === 0) throw new DataError("no tokens to evaluate on");
    const totalVariance = this.totalVariance();
    const { legacy, mse, cossim, normIn, normOut, ratio, l0, l1 } = this.#sums;
    return {
      explained_variance: finite(1 - this.#batchMeans.sse / this.#nBatches / totalVariance),
      explained_variance_legacy: finite(legacy / this.#nBatched),
      mse: mse / this.#nBatched,
      cossim: finite(cossim / n),
      l2_norm_in: normIn / n,
      l2_norm_out: normOut / n,
      l2_ratio: ratio / n,
      relative_reconstruction_bias: finite(this.#batchMeans.bias / this.#nBatches),
      l0: l0 / n,
      l1: l1 / n,
    };
  }

  /** What SAELens takes for the total variance: S − (S/d)². May be negative. */
  totalVariance(): number {
    if (this.#nBatches === 0) this.endBatch();
    const energy = this.#batchMeans.energy / this.#nBatches;
    return energy - (energy / this.dIn) ** 2;
  }

  /** The values as metrics, each with its definition. @throws {DataError} no tokens */
  metrics(): SaelensMetrics {
    const named = Object.entries(this.values()).map(([name, value]) => [
      `saelens618.${name}`,
      this.metric(name as SaelensMetricName, value),
    ]);
    return Object.fromEntries(named) as SaelensMetrics;
  }

  /** `value` with the definition of metric `name`, and with the batches if it depends on them. */
  metric(name: SaelensMetricName, value: number | null): Metric<number | null> {
    const { definition, unit, perBatch } = SAELENS_METRICS[name];
    const n = perBatch ? this.#nBatched : this.#nTokens;
    const said = perBatch ? `${definition} ${this.#batches}` : definition;
    return { value, definition: said, unit, n, interval: null };
  }

  get #batches(): string {
    return `Here: ${this.#nBatches} ${this.#nBatches === 1 ? "batch" : "batches"} of at most ${this.batchTokens} tokens.`;
  }

  /** `feature_density` [dSae]: the share of tokens on which each latent was active. */
  featureDensity(): Float64Array {
    return this.activeTokens.map((count) => count / this.#nTokens);
  }

  /**
   * `consistent_activation_heuristic` [dSae]: tokens on which a latent was active, over windows in which it was; NaN for
   * one that never was. Null: the windows are not known.
   */
  consistentActivationHeuristic(): Float64Array | null {
    if (!this.#hasWindows) return null;
    return this.activeTokens.map((count, latent) => count / this.#activeWindows[latent]);
  }

  #addActs({ offsets, latents, values }: SparseActs, token: number, window: number): void {
    let l1 = 0;
    for (let e = offsets[token]; e < offsets[token + 1]; e++) {
      const latent = latents[e];
      if (latent >= this.activeTokens.length)
        throw new ShapeError("latent of an activation", latent, `below dSae ${this.activeTokens.length}`);
      l1 += values[e];
      this.activeTokens[latent] += 1;
      if (this.#lastWindow[latent] !== window) this.#activeWindows[latent] += 1;
      this.#lastWindow[latent] = window;
    }
    this.#sums.l0 += offsets[token + 1] - offsets[token];
    this.#sums.l1 += l1;
  }

  #addToken(x: Float32Array, { sse, xx, rr, xr }: Energies): void {
    if (!Number.isFinite(sse)) throw new DataError(`evaluated token ${this.#nTokens} is not finite`);
    const [normIn, normOut] = [Math.sqrt(xx), Math.sqrt(rr)];
    this.#sums.normIn += normIn;
    this.#sums.normOut += normOut;
    this.#sums.ratio += normOut / (normIn < 1e-4 ? 1 : normIn);
    this.#sums.cossim += xr / (normIn * normOut);
    this.#energyIn += xx;
    this.#energyOut += rr;
    this.#inner += xr;
    this.#x.set(x, this.#filled * this.dIn);
    this.#sse[this.#filled] = sse;
    this.#filled += 1;
    this.#nTokens += 1;
  }
}

/** ‖x−x̂‖², ‖x‖², ‖x̂‖² and ⟨x, x̂⟩ of a token. */
interface Energies {
  readonly sse: number;
  readonly xx: number;
  readonly rr: number;
  readonly xr: number;
}

function energiesOf(x: Float32Array, recon: Float32Array, start: number, dIn: number): Energies {
  let [sse, xx, rr, xr] = [0, 0, 0, 0];
  for (let i = start; i < start + dIn; i++) {
    sse += (x[i] - recon[i]) ** 2;
    xx += x[i] * x[i];
    rr += recon[i] * recon[i];
    xr += x[i] * recon[i];
  }
  return { sse, xx, rr, xr };
}

function energiesIn(measured: Float64Array, token: number): Energies {
  const at = token * N_QUANTITIES;
  const norm = measured[at + INDEX.norm];
  return {
    sse: measured[at + INDEX.sse],
    xx: norm * norm,
    rr: measured[at + INDEX.rr],
    xr: measured[at + INDEX.xr],
  };
}

/** Per latent, of the weights alone, [dSae] each: `encoder_norm`, `encoder_bias`, `encoder_decoder_cosine_sim`. */
export function saelensWeightMetrics({ wEnc, wDec, bEnc, dIn, dSae }: Weights): {
  readonly encoderNorm: Float64Array;
  readonly encoderBias: Float32Array;
  readonly encoderDecoderCosineSim: Float64Array;
} {
  const encoderNorm = new Float64Array(dSae);
  for (let i = 0; i < wEnc.length; i++) encoderNorm[Math.floor(i / dIn)] += wEnc[i] * wEnc[i];
  return {
    encoderNorm: encoderNorm.map(Math.sqrt),
    encoderBias: bEnc,
    encoderDecoderCosineSim: rowCosines(wEnc, wDec, dIn),
  };
}

/** JSON knows no NaN and no infinity. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
