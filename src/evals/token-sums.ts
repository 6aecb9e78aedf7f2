/**
 * Sums over tokens: the one thing that every metric is a function of. The whole set, a slice, a document, what remains
 * without outliers, a bootstrap replicate are all sums of tokens, added and weighted. Sums add up in any order and
 * grouping to the same numbers, to about 1e-13: scalars are compensated, and the mean is kept as Σ(x−μ₀) about an origin
 * near it, so that the variance of activations far from zero does not drown in their square.
 */
import { ShapeError } from "../errors.ts";

/** What is summed. Of a token: x its activation, x̂ the reconstruction, a its latents' activations, y = x − μ₀. */
export const QUANTITIES = [
  /** 1 */
  "n",
  /** ‖y‖² */
  "yy",
  /** ‖x − x̂‖² */
  "sse",
  /** latents active */
  "active",
  /** Σ|a| */
  "absActs",
  /** ‖x̂‖² */
  "rr",
  /** ⟨x, x̂⟩ */
  "xr",
  /** ⟨x, x̂⟩ / ‖x‖‖x̂‖, and 1 where that is defined */
  "cosine",
  "nCosine",
  /** ‖x̂‖ / ‖x‖, and 1 where that is defined */
  "normRatio",
  "nNormRatio",
  /** ‖x‖ */
  "norm",
  /** ‖x̂‖ */
  "reconNorm",
  /** 1 − ‖x − x̂‖² / ‖x − x̄‖², x̄ the set's mean, and 1 where that is defined */
  "tokenVe",
  "nTokenVe",
] as const;
export type Quantity = (typeof QUANTITIES)[number];

/** Entries of one token in a table of quantities: one of each, in the order of QUANTITIES. */
export const N_QUANTITIES = QUANTITIES.length;

/** Where each quantity stands among a token's. */
export const INDEX = Object.fromEntries(QUANTITIES.map((name, i) => [name, i])) as Readonly<
  Record<Quantity, number>
>;

/** Below this share of Σ‖y‖² a scatter is rounding: the tokens do not vary. */
const ROUNDING = 1e-13;

export class TokenSums {
  /** μ₀, [dIn] */
  readonly origin: Float64Array;
  /** Σy, [dIn] */
  readonly y: Float64Array;
  readonly #sums = new Float64Array(N_QUANTITIES);
  /** what the sums lost to rounding (Neumaier 1974) */
  readonly #lost = new Float64Array(N_QUANTITIES);

  constructor(origin: Float64Array) {
    this.origin = origin;
    this.y = new Float64Array(origin.length);
  }

  /** Sums that were taken apart: Σy and the sums in the order of QUANTITIES. */
  static of(origin: Float64Array, y: Float64Array, sums: Float64Array): TokenSums {
    if (y.length !== origin.length) throw new ShapeError("Σy", y.length, origin.length);
    if (sums.length !== N_QUANTITIES) throw new ShapeError("sums of tokens", sums.length, N_QUANTITIES);
    const whole = new TokenSums(origin);
    whole.y.set(y);
    whole.#sums.set(sums);
    return whole;
  }

  get(quantity: Quantity): number {
    const i = INDEX[quantity];
    return this.#sums[i] + this.#lost[i];
  }

  get n(): number {
    return this.get("n");
  }

  /** Adds token `row` of x [n, dIn], with its quantities from a table [n, N_QUANTITIES]. */
  addToken(x: Float32Array, quantities: Float64Array, row: number): void {
    const { origin, y } = this;
    const start = row * y.length;
    for (let j = 0; j < y.length; j++) y[j] += x[start + j] - origin[j];
    for (let i = 0; i < N_QUANTITIES; i++) this.#add(i, quantities[row * N_QUANTITIES + i]);
  }

  /** Adds to one sum alone: to tokens that are counted already. */
  add(quantity: Quantity, term: number): void {
    this.#add(INDEX[quantity], term);
  }

  /** Adds what `other` holds, `weight` times; it may have another origin, and stays as it is. */
  merge(other: TokenSums, weight = 1): void {
    const { origin, y } = this;
    if (other.y.length !== y.length)
      throw new ShapeError("dIn of the sums to merge", other.y.length, y.length);
    for (let j = 0; j < y.length; j++) y[j] += weight * other.y[j];
    this.#mergeScalars(other, weight);
    if (other.origin === origin) return;
    // y = x − μ₀ = (x − μ₁) + s with s = μ₁ − μ₀: Σy and Σ‖y‖² move with the origin
    const n = weight * other.n;
    let [inner, square] = [0, 0];
    for (let j = 0; j < y.length; j++) {
      const shift = other.origin[j] - origin[j];
      inner += other.y[j] * shift;
      square += shift * shift;
      y[j] += n * shift;
    }
    this.#add(INDEX.yy, 2 * weight * inner);
    this.#add(INDEX.yy, n * square);
  }

  /** Merges each part `weights[i]` times: four at a time where they share this origin, which is twice as fast. */
  mergeAll(parts: readonly TokenSums[], weights: ArrayLike<number>): void {
    const { y } = this;
    const wanted = parts
      .map((part, i) => ({ part, weight: weights[i] }))
      .filter(({ weight }) => weight !== 0);
    const isAlike = wanted.every(({ part }) => part.origin === this.origin);
    const nFours = isAlike ? wanted.length - (wanted.length % 4) : 0;
    for (let i = 0; i < nFours; i += 4) {
      const [p, q, r, s] = wanted.slice(i, i + 4);
      const [a, b, c, d] = [p.part.y, q.part.y, r.part.y, s.part.y];
      for (let j = 0; j < y.length; j++)
        y[j] += p.weight * a[j] + q.weight * b[j] + (r.weight * c[j] + s.weight * d[j]);
    }
    wanted.forEach(({ part, weight }, i) => {
      if (i < nFours) this.#mergeScalars(part, weight);
      else this.merge(part, weight);
    });
  }

  /** x̄, [dIn] */
  get mean(): Float64Array {
    const { n } = this;
    return this.y.map((sum, j) => this.origin[j] + sum / n);
  }

  /** Σ‖x − x̄‖² = Σ‖y‖² − ‖Σy‖² / n; 0 where that is nothing but rounding */
  get scatter(): number {
    const yy = this.get("yy");
    let square = 0;
    for (let j = 0; j < this.y.length; j++) square += this.y[j] * this.y[j];
    const scatter = yy - square / this.n;
    return scatter > ROUNDING * yy ? scatter : 0;
  }

  /** The sums in the order of QUANTITIES; Σy is `y`. */
  toArray(): Float64Array {
    return this.#sums.map((sum, i) => sum + this.#lost[i]);
  }

  #mergeScalars(other: TokenSums, weight: number): void {
    for (let i = 0; i < N_QUANTITIES; i++) {
      this.#add(i, weight * other.#sums[i]);
      this.#add(i, weight * other.#lost[i]);
    }
  }

  #add(i: number, term: number): void {
    const sum = this.#sums[i];
    const next = sum + term;
    this.#lost[i] += Math.abs(sum) >= Math.abs(term) ? sum - next + term : term - next + sum;
    this.#sums[i] = next;
  }
}

/** All of them together. */
export function total(parts: Iterable<TokenSums>, origin: Float64Array): TokenSums {
  const sums = new TokenSums(origin);
  for (const part of parts) sums.merge(part);
  return sums;
}
