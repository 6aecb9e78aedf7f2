/** What is kept of a latent's logits: range, moments, histogram, the largest and the smallest. */
import { HISTOGRAM_BINS } from "../tables.ts";
import type { LatentLogits, RankedTokens } from "./logits.ts";

/**
 * Summary of one row of logits, in double precision. A logit v lies in bin `⌊(v − min) / (max − min) · bins⌋`, the largest in
 * the last; if all are equal, all in the last.
 *
 * Shapes   logits [vocabulary] f32
 * Numerics mean first, then Σ(v − mean)², each summed by ascending id; ties: lowest id
 */
export function summarizeLogits(logits: Float32Array, top: number): LatentLogits {
  const n = logits.length;
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  for (let id = 0; id < n; id++) {
    const value = logits[id];
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
  }
  const mean = sum / n;
  const histogram = new Uint32Array(HISTOGRAM_BINS);
  const last = HISTOGRAM_BINS - 1;
  const width = max - min;
  const largest = new Ranking(Math.min(top, n), 1);
  const smallest = new Ranking(Math.min(top, n), -1);
  let squares = 0;
  for (let id = 0; id < n; id++) {
    const value = logits[id];
    const from = value - mean;
    squares += from * from;
    const bin = Math.floor(((value - min) / width) * HISTOGRAM_BINS);
    histogram[bin < last ? bin : last]++; // all are equal: 0 / 0, which is below nothing
    if (value > largest.bar) largest.add(id, value);
    if (value < -smallest.bar) smallest.add(id, value);
  }
  return {
    min,
    max,
    mean,
    std: Math.sqrt(squares / n),
    histogram,
    top: largest.ranked(),
    bottom: smallest.ranked(),
  };
}

/** The k furthest values of one sign, ids coming in ascending order. */
class Ranking {
  /** `sign` · value must be above this to be among them */
  bar = Number.NEGATIVE_INFINITY;
  readonly #sign: 1 | -1;
  readonly #ids: Uint32Array;
  readonly #values: Float32Array;
  #count = 0;

  constructor(k: number, sign: 1 | -1) {
    this.#sign = sign;
    this.#ids = new Uint32Array(k);
    this.#values = new Float32Array(k);
    if (k === 0) this.bar = Number.POSITIVE_INFINITY;
  }

  add(id: number, value: number): void {
    const k = this.#ids.length;
    let at = this.#count < k ? this.#count++ : k - 1;
    for (; at > 0 && this.#sign * this.#values[at - 1] < this.#sign * value; at--) {
      this.#values[at] = this.#values[at - 1];
      this.#ids[at] = this.#ids[at - 1];
    }
    this.#values[at] = value;
    this.#ids[at] = id;
    if (this.#count === k) this.bar = this.#sign * this.#values[k - 1];
  }

  ranked(): RankedTokens {
    return { ids: this.#ids, values: this.#values };
  }
}
