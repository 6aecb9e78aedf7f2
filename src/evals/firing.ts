/**
 * Which latents fire, how often, and how many at a time. "Never fired" here is a fact about the evaluated tokens; "dead in
 * training" is another number, counted by the trainer, and the two are never mixed.
 */
import { ShapeError } from "../errors.ts";
import type { SparseActs } from "../kernels/kernels.ts";

/** log10 of the frequency given to a latent that never fired, as in SAELens' `sparsity.safetensors`. */
const LOG_FREQUENCY_FLOOR = -10;
const BIN_WIDTH = 0.25;
const N_BINS = -LOG_FREQUENCY_FLOOR / BIN_WIDTH;
/** Bins of the histogram of L0: at most. */
const MOST_L0_BINS = 64;
const PERCENTILES = [0, 5, 25, 50, 75, 95, 100] as const;

export const LATENTS_DEFINITION =
  "nNeverFired: latents active on none of the evaluated tokens (not the same as dead in training). ultraRare: active on " +
  "some, but on less than the share `below`: the smallest power of ten that is two tokens of this set or more. " +
  "nAbove1Percent, nAbove10Percent: active on more than 1 %, 10 % of the tokens.";
export const FREQUENCIES_DEFINITION =
  "Latents by log10 of the share of evaluated tokens on which they fire; those that never fire stand at the floor.";
export const L0_DEFINITION = "Tokens by the number of latents active on them.";

/** Latents by how often they fired. */
export interface LatentSummary {
  readonly nLatents: number;
  readonly nNeverFired: number;
  /** latents that fired, but on less than the share `below` of the tokens */
  readonly ultraRare: { readonly below: number; readonly nLatents: number };
  /** latents that fired on more than 1 %, and more than 10 %, of the tokens */
  readonly nAbove1Percent: number;
  readonly nAbove10Percent: number;
  readonly definition: string;
  readonly frequencyHistogram: FrequencyHistogram;
  readonly l0: L0Distribution;
}

/** counts[b] latents have floor + b·binWidth ≤ log10(frequency) < floor + (b+1)·binWidth; the last bin includes 0 (every token). */
export interface FrequencyHistogram {
  readonly definition: string;
  readonly floor: number;
  readonly binWidth: number;
  readonly counts: readonly number[];
}

/** Tokens by how many latents are active on them. counts[b] tokens have b·binWidth ≤ L0 < (b+1)·binWidth. */
export interface L0Distribution {
  readonly definition: string;
  /** the smallest L0 that at least so many percent of the tokens do not exceed */
  readonly quantiles: readonly { readonly percentile: number; readonly l0: number }[];
  readonly binWidth: number;
  readonly counts: readonly number[];
}

/** Counts, per latent, of the tokens on which it fired; and of the tokens by L0. Merges like a sum. */
export class FiringStats {
  /** [dSae] */
  readonly counts: Float64Array;
  /** tokens with each L0, [dSae + 1] */
  readonly #tokensByL0: Float64Array;
  #nTokens = 0;

  constructor(dSae: number) {
    this.counts = new Float64Array(dSae);
    this.#tokensByL0 = new Float64Array(dSae + 1);
  }

  /** Tokens seen. */
  get nTokens(): number {
    return this.#nTokens;
  }

  /** @throws {ShapeError} an activation names a latent beyond dSae */
  add({ nTokens, offsets, latents }: SparseActs): void {
    for (const latent of latents) {
      if (latent >= this.counts.length)
        throw new ShapeError("latent of an activation", latent, `below dSae ${this.counts.length}`);
      this.counts[latent] += 1;
    }
    for (let token = 0; token < nTokens; token++) this.#tokensByL0[offsets[token + 1] - offsets[token]] += 1;
    this.#nTokens += nTokens;
  }

  merge(other: FiringStats): void {
    if (other.counts.length !== this.counts.length)
      throw new ShapeError("dSae of the counts to merge", other.counts.length, this.counts.length);
    other.counts.forEach((count, latent) => {
      this.counts[latent] += count;
    });
    other.#tokensByL0.forEach((n, l0) => {
      this.#tokensByL0[l0] += n;
    });
    this.#nTokens += other.#nTokens;
  }

  summary(): LatentSummary {
    const n = this.#nTokens;
    const latents = (isCounted: (count: number) => boolean) =>
      this.counts.reduce((sum, count) => sum + (isCounted(count) ? 1 : 0), 0);
    const below = rareBelow(n);
    return {
      nLatents: this.counts.length,
      nNeverFired: latents((count) => count === 0),
      ultraRare: { below, nLatents: latents((count) => count > 0 && count < below * n) },
      nAbove1Percent: latents((count) => count > 0.01 * n),
      nAbove10Percent: latents((count) => count > 0.1 * n),
      definition: LATENTS_DEFINITION,
      frequencyHistogram: frequencyHistogram(log10Frequencies(this.counts, n)),
      l0: l0Distribution(this.#tokensByL0, n),
    };
  }
}

/** The smallest power of ten ≥ 2 / nTokens: a smaller share could not be told from never. */
function rareBelow(nTokens: number): number {
  let digits = 0;
  while (nTokens >= 2 * 10 ** (digits + 1)) digits++;
  return Number(`1e-${digits}`);
}

/**
 * `max(log10(count / nTokens), −10)` for each latent, [dSae] f32: what `sparsity.safetensors` holds. Over several sets,
 * add their counts and their tokens first.
 */
export function log10Frequencies(counts: ArrayLike<number>, nTokens: number): Float32Array {
  return Float32Array.from(counts, (count) =>
    count > 0 ? Math.max(LOG_FREQUENCY_FLOOR, Math.log10(count / nTokens)) : LOG_FREQUENCY_FLOOR,
  );
}

function frequencyHistogram(logs: Float32Array): FrequencyHistogram {
  const counts = new Array<number>(N_BINS).fill(0);
  for (const log of logs)
    counts[Math.min(N_BINS - 1, Math.floor((log - LOG_FREQUENCY_FLOOR) / BIN_WIDTH))] += 1;
  return {
    definition: FREQUENCIES_DEFINITION,
    floor: LOG_FREQUENCY_FLOOR,
    binWidth: BIN_WIDTH,
    counts,
  };
}

function l0Distribution(tokensByL0: Float64Array, nTokens: number): L0Distribution {
  const largest = tokensByL0.findLastIndex((n) => n > 0);
  const binWidth = Math.max(1, Math.ceil((largest + 1) / MOST_L0_BINS));
  const counts = new Array<number>(Math.ceil((largest + 1) / binWidth)).fill(0);
  tokensByL0.subarray(0, largest + 1).forEach((n, l0) => {
    counts[Math.floor(l0 / binWidth)] += n;
  });
  const reached = (share: number) => {
    let l0 = 0;
    for (let seen = tokensByL0[0]; seen < Math.max(1, share * nTokens); seen += tokensByL0[l0]) l0++;
    return l0;
  };
  return {
    definition: L0_DEFINITION,
    quantiles:
      nTokens === 0 ? [] : PERCENTILES.map((percentile) => ({ percentile, l0: reached(percentile / 100) })),
    binWidth,
    counts,
  };
}
