/** What the splice tests share: the plain equations of cross-entropy and KL, and whole graphs to compare with. */
import type { TokenBatch } from "../../src/models/residual-model.ts";
import type { ScoredTokens } from "../../src/models/spliced-model.ts";
import { realPositions } from "./running.ts";

/** All real positions of a batch and what follows each. */
export function allTokens(batch: TokenBatch): ScoredTokens {
  const rows = realPositions(batch);
  const next = rows.map((row) => {
    const position = row % batch.seqLen;
    return position + 1 < batch.lengths[Math.floor(row / batch.seqLen)] ? batch.tokenIds[row + 1] : -1;
  });
  return { rows: Uint32Array.from(rows), next: Int32Array.from(next) };
}

/** −log softmax(logits)[next] at each token, NaN where none comes next; logits [tokens of the batch, vocab]. */
export function naiveCe(logits: Float32Array, { rows, next }: ScoredTokens, vocab: number): number[] {
  return Array.from(rows, (row, i) =>
    next[i] < 0 ? Number.NaN : -logSoftmax(logits.subarray(row * vocab, (row + 1) * vocab))[next[i]],
  );
}

/** Σ p log(p / q) at each token, p and q the softmax of the two logits. */
export function naiveKl(
  clean: Float32Array,
  other: Float32Array,
  { rows }: ScoredTokens,
  vocab: number,
): number[] {
  return Array.from(rows, (row) => {
    const p = logSoftmax(clean.subarray(row * vocab, (row + 1) * vocab));
    const q = logSoftmax(other.subarray(row * vocab, (row + 1) * vocab));
    return p.reduce((sum, logP, v) => sum + Math.exp(logP) * (logP - q[v]), 0);
  });
}

function logSoftmax(logits: Float32Array): number[] {
  const values = Array.from(logits);
  const top = Math.max(...values);
  const sum = Math.log(values.reduce((total, value) => total + Math.exp(value - top), 0)) + top;
  return values.map((value) => value - sum);
}

/** The largest |a − b|; NaN stands only beside NaN, else Infinity. */
export function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length || a.length === 0) return Number.POSITIVE_INFINITY;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    if (Number.isNaN(a[i]) && Number.isNaN(b[i])) continue;
    const distance = Math.abs(a[i] - b[i]);
    most = Math.max(most, Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance);
  }
  return most;
}
