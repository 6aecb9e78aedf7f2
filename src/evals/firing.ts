/**
 * Which latents fire, and how often. "Never fired" here is a fact about the evaluated tokens; "dead in training" is
 * another number, counted by the trainer, and the two are never mixed.
 */
import { ShapeError } from "../errors.ts";
import type { SparseActs } from "../kernels/kernels.ts";
import { type Metric, metric } from "./metrics.ts";

/** log10 of the frequency given to a latent that never fired, as in SAELens' `sparsity.safetensors`. */
export const LOG_FREQUENCY_FLOOR = -10;
const BIN_WIDTH = 0.25;
const N_BINS = -LOG_FREQUENCY_FLOOR / BIN_WIDTH;

/** Latents by how often they fired. */
export interface LatentSummary {
  readonly nLatents: number;
  readonly nNeverFired: number;
  readonly definition: string;
  readonly frequencyHistogram: FrequencyHistogram;
}

/** counts[b] latents have floor + b·binWidth ≤ log10(frequency) < floor + (b+1)·binWidth; the last bin includes 0 (every token). */
export interface FrequencyHistogram {
  readonly definition: string;
  readonly floor: number;
  readonly binWidth: number;
  readonly counts: readonly number[];
}

/** Counts, per latent, of the tokens on which it fired. Merges like a sum. */
export class FiringStats {
  /** [dSae] */
  readonly counts: Float64Array;
  #nTokens = 0;
  #nActive = 0;

  constructor(dSae: number) {
    this.counts = new Float64Array(dSae);
  }

  /** @throws {ShapeError} an activation names a latent beyond dSae */
  add(acts: SparseActs): void {
    for (const latent of acts.latents) {
      if (latent >= this.counts.length)
        throw new ShapeError("latent of an activation", latent, `below dSae ${this.counts.length}`);
      this.counts[latent] += 1;
    }
    this.#nTokens += acts.nTokens;
    this.#nActive += acts.latents.length;
  }

  merge(other: FiringStats): void {
    if (other.counts.length !== this.counts.length)
      throw new ShapeError("dSae of the counts to merge", other.counts.length, this.counts.length);
    other.counts.forEach((count, latent) => {
      this.counts[latent] += count;
    });
    this.#nTokens += other.#nTokens;
    this.#nActive += other.#nActive;
  }

  get l0(): Metric {
    return metric("l0", this.#nActive / this.#nTokens, this.#nTokens);
  }

  summary(): LatentSummary {
    return {
      nLatents: this.counts.length,
      nNeverFired: this.counts.reduce((n, count) => n + (count === 0 ? 1 : 0), 0),
      definition:
        "nNeverFired: latents active on none of the evaluated tokens (not the same as dead in training).",
      frequencyHistogram: histogram(log10Frequencies(this.counts, this.#nTokens)),
    };
  }
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

function histogram(logs: Float32Array): FrequencyHistogram {
  const counts = new Array<number>(N_BINS).fill(0);
  for (const log of logs)
    counts[Math.min(N_BINS - 1, Math.floor((log - LOG_FREQUENCY_FLOOR) / BIN_WIDTH))] += 1;
  return {
    definition:
      "Latents by log10 of the share of evaluated tokens on which they fire; those that never fire stand at the floor.",
    floor: LOG_FREQUENCY_FLOOR,
    binWidth: BIN_WIDTH,
    counts,
  };
}
