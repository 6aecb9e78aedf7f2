/** Which short runs of tokens there are, how often each, and which one stands at each token. */
import { NO_TOKEN } from "./labels.ts";

/** The distinct values, or pairs of values, of a column, numbered from the most frequent; equally frequent ones by first occurrence. */
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
 * Memory   4 bytes a token and 8 a pair; while it runs at most 32 bytes a token more
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
  return byCount(at, counts.subarray(0, count), first.subarray(0, count));
}

/** Numbers them anew, by a stable counting sort. */
function byCount(at: Uint32Array, counts: Uint32Array, first: Uint32Array): Grams {
  const most = counts.reduce((max, count) => Math.max(max, count), 0);
  const next = new Uint32Array(most + 2); // where the next of each count goes
  for (const count of counts) next[count]++;
  for (let count = most, sum = 0; count >= 0; count--) {
    const here = next[count];
    next[count] = sum;
    sum += here;
  }
  const number = Uint32Array.from(counts, (count) => next[count]++);
  const sorted = { counts: new Uint32Array(counts.length), first: new Uint32Array(counts.length) };
  for (let gram = 0; gram < counts.length; gram++) {
    sorted.counts[number[gram]] = counts[gram];
    sorted.first[number[gram]] = first[gram];
  }
  for (let i = 0; i < at.length; i++) if (at[i] !== NO_TOKEN) at[i] = number[at[i]];
  return { at, ...sorted };
}

/** MurmurHash3's finaliser over both. */
function hash(a: number, b: number): number {
  let h = Math.imul(a, 0xcc9e2d51) ^ Math.imul((b << 15) | (b >>> 17), 0x1b873593);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
