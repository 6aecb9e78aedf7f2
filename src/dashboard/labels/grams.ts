/** Which short runs of tokens there are, how often each, and which one stands at each token. */
import { NO_TOKEN } from "./labels.ts";

/** The distinct values, or pairs of values, of a column, numbered by first occurrence. */
export interface Grams {
  /** [nTokens] which stands at a token; NO_TOKEN: none */
  readonly at: Uint32Array;
  /** [n] tokens at which it stands */
  readonly counts: Uint32Array;
  /** [n] the first of those */
  readonly first: Uint32Array;
}

/**
 * Numbers the pairs (a[i], b[i]), or with `b` null the values a[i]; where either is NO_TOKEN there is none. Exact: an open
 * hash table of numbers, each compared through its first occurrence.
 *
 * Memory   4 bytes a token and 8 a pair; while it runs 4 to 8 · 2 and 8 bytes a token more
 */
export function numberGrams(a: Uint32Array, b: Uint32Array | null): Grams {
  const n = a.length;
  const at = new Uint32Array(n).fill(NO_TOKEN);
  const counts = new Uint32Array(n);
  const first = new Uint32Array(n);
  const mask = 2 ** Math.ceil(Math.log2(2 * n + 2)) - 1;
  const slots = new Uint32Array(mask + 1); // number + 1; 0: free
  let count = 0;
  for (let i = 0; i < n; i++) {
    const right = b === null ? 0 : b[i];
    if (a[i] === NO_TOKEN || right === NO_TOKEN) continue;
    let slot = hash(a[i], right) & mask;
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const other = first[slots[slot] - 1];
      if (a[other] === a[i] && (b === null || b[other] === right)) break;
    }
    if (slots[slot] === 0) {
      first[count] = i;
      slots[slot] = ++count;
    }
    const gram = slots[slot] - 1;
    at[i] = gram;
    counts[gram]++;
  }
  return { at, counts: counts.slice(0, count), first: first.slice(0, count) };
}

/** MurmurHash3's finaliser over both. */
function hash(a: number, b: number): number {
  let h = Math.imul(a, 0xcc9e2d51) ^ Math.imul((b << 15) | (b >>> 17), 0x1b873593);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
