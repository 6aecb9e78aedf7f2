/**
 * Cross-entropy and KL from logits, a token at a time, in double precision.
 *
 *   ce = log Σ_v exp(l_v) − l_next        KL(p ‖ q) = Σ_v p_v (l_v − m_v) + log Σ_v exp(m_v) − log Σ_v exp(l_v)
 *
 * l: clean logits, m: the intervened run's, p and q their softmax. In nats.
 */

/** Rows of logits, [rows, vocab] f32, of which those of some tokens count: token i is row `rowOf[i]`. */
export interface Logits {
  readonly data: Float32Array;
  readonly vocab: number;
  readonly rowOf: ArrayLike<number>;
}

/** The clean run's probabilities at some tokens, to compare other runs with. Memory: 8 bytes a logit. */
export class CleanTokens {
  /** −log p(next), NaN where no token comes next */
  readonly ce: Float64Array<ArrayBuffer>;
  readonly #logits: Logits;
  readonly #next: Int32Array;
  readonly #logSum: Float64Array;
  /** [tokens, vocab] */
  readonly #probability: Float64Array;

  /**
   * `next[i]`: id of the token that comes after token i, −1 for none. `room`: at least tokens · vocab numbers to work in,
   * which then are this object's.
   */
  constructor(
    logits: Logits,
    next: Int32Array,
    room: Float64Array = new Float64Array(next.length * logits.vocab),
  ) {
    const { data, vocab, rowOf } = logits;
    this.#logits = logits;
    this.#next = next;
    this.#logSum = new Float64Array(next.length);
    this.#probability = room;
    for (let i = 0; i < next.length; i++) {
      const row = data.subarray(rowOf[i] * vocab, (rowOf[i] + 1) * vocab);
      const p = this.#probability.subarray(i * vocab, (i + 1) * vocab);
      const top = maximum(row);
      let sum = 0;
      for (let v = 0; v < vocab; v++) {
        p[v] = Math.exp(row[v] - top);
        sum += p[v];
      }
      for (let v = 0; v < vocab; v++) p[v] /= sum;
      this.#logSum[i] = top + Math.log(sum);
    }
    this.ce = crossEntropy(logits, this.#logSum, next);
  }

  /** Another run's cross-entropy at the same tokens, and KL(clean ‖ other). Rounding may take a KL of 0 to −1e-15. */
  compare(other: Logits): { ce: Float64Array<ArrayBuffer>; kl: Float64Array<ArrayBuffer> } {
    const { vocab } = this.#logits;
    const n = this.#next.length;
    const logSum = new Float64Array(n);
    const kl = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const from = this.#logits.rowOf[i] * vocab;
      const clean = this.#logits.data.subarray(from, from + vocab);
      const row = other.data.subarray(other.rowOf[i] * vocab, (other.rowOf[i] + 1) * vocab);
      const p = this.#probability.subarray(i * vocab, (i + 1) * vocab);
      const top = maximum(row);
      let sum = 0;
      let difference = 0;
      for (let v = 0; v < vocab; v++) {
        sum += Math.exp(row[v] - top);
        if (p[v] !== 0) difference += p[v] * (clean[v] - row[v]);
      }
      logSum[i] = top + Math.log(sum);
      kl[i] = difference + (logSum[i] - this.#logSum[i]);
    }
    return { ce: crossEntropy(other, logSum, this.#next), kl };
  }
}

function maximum(row: Float32Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let v = 0; v < row.length; v++) if (row[v] > top) top = row[v];
  return top;
}

function crossEntropy(
  { data, vocab, rowOf }: Logits,
  logSum: Float64Array,
  next: Int32Array,
): Float64Array<ArrayBuffer> {
  return Float64Array.from(logSum, (sum, i) =>
    next[i] < 0 ? Number.NaN : sum - data[rowOf[i] * vocab + next[i]],
  );
}
