/**
 * Which entries of p become activations. Tiles come in ascending (token, latent) order and every list keeps that
 * order, so a tie at the cut is settled by keeping whoever came first: the lowest (token, latent).
 */
import type { SizeSelection, SparseActs } from "../kernels.ts";

/** Takes tiles of p in order and gives the selected entries at the end. */
export interface Selector {
  take(p: Float32Array, first: number, nTokens: number): void;
  finish(): SparseActs;
}

export function createSelector(selection: SizeSelection, nTokens: number, dSae: number): Selector {
  switch (selection.kind) {
    case "batch-topk":
      return new BatchTopK(Math.floor(selection.k * nTokens), nTokens, dSae);
    case "topk":
      return new RowSelector(nTokens, dSae, positiveTopK(selection.k));
    case "threshold":
      return new RowSelector(nTokens, dSae, aboveThreshold(selection.thresholds));
  }
}

/** Latents that fire by themselves: those whose `activation(h, i)` is positive. */
export function ownSelector(
  activation: (h: number, i: number) => number,
  nTokens: number,
  dSae: number,
): Selector {
  return new RowSelector(nTokens, dSae, (h, at, _, keep) => {
    for (let i = 0; i < dSae; i++) {
      const value = activation(h[at + i], i);
      if (value > 0) keep.push(i, value);
    }
  });
}

/** A list of (latent, value) that grows, with the ends of its rows. */
class Entries {
  latents = new Uint32Array(1024);
  values = new Float32Array(1024);
  length = 0;

  push(latent: number, value: number): void {
    if (this.length === this.latents.length) {
      this.latents = grown(this.latents, new Uint32Array(this.length * 2));
      this.values = grown(this.values, new Float32Array(this.length * 2));
    }
    this.latents[this.length] = latent;
    this.values[this.length] = value;
    this.length += 1;
  }
}

function grown<A extends Uint32Array | Float32Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

/** Chooses within one token's row: pushes what it keeps of p[at … at + dSae], latents ascending. */
type RowRule = (p: Float32Array, at: number, dSae: number, keep: Entries) => void;

/** Selections that look at one token at a time. */
class RowSelector implements Selector {
  readonly #entries = new Entries();
  readonly #offsets: Uint32Array;
  readonly #dSae: number;
  readonly #rule: RowRule;

  constructor(nTokens: number, dSae: number, rule: RowRule) {
    this.#offsets = new Uint32Array(nTokens + 1);
    this.#dSae = dSae;
    this.#rule = rule;
  }

  take(p: Float32Array, first: number, nTokens: number): void {
    for (let t = 0; t < nTokens; t++) {
      this.#rule(p, t * this.#dSae, this.#dSae, this.#entries);
      this.#offsets[first + t + 1] = this.#entries.length;
    }
  }

  finish(): SparseActs {
    const { latents, values, length } = this.#entries;
    return {
      nTokens: this.#offsets.length - 1,
      offsets: this.#offsets,
      latents: latents.slice(0, length),
      values: values.slice(0, length),
    };
  }
}

/** relu(p) where p > threshold, strictly. */
function aboveThreshold(thresholds: Float32Array): RowRule {
  return (p, at, dSae, keep) => {
    for (let i = 0; i < dSae; i++) {
      const value = p[at + i];
      if (value > thresholds[i] && value > 0) keep.push(i, value);
    }
  };
}

/** The k largest of a row that are positive. */
function positiveTopK(k: number): RowRule {
  const candidates = new Entries();
  return (p, at, dSae, keep) => {
    candidates.length = 0;
    for (let i = 0; i < dSae; i++) if (p[at + i] > 0) candidates.push(i, p[at + i]);
    keepLargest(candidates, k, (e) => keep.push(candidates.latents[e], candidates.values[e]));
  };
}

/**
 * The k largest p of the dead latents of each token, of any sign: AuxK's choice.
 * `dead` lists the dead latents, ascending; `k` ≤ dead.length.
 */
export class DeadTopK implements Selector {
  readonly #rows: RowSelector;

  constructor(dead: Uint32Array, k: number, nTokens: number, dSae: number) {
    const candidates = new Entries();
    this.#rows = new RowSelector(nTokens, dSae, (p, at, _, keep) => {
      candidates.length = 0;
      for (const i of dead) candidates.push(i, p[at + i]);
      keepLargest(candidates, k, (e) => keep.push(candidates.latents[e], candidates.values[e]));
    });
  }

  take(p: Float32Array, first: number, nTokens: number): void {
    this.#rows.take(p, first, nTokens);
  }

  finish(): SparseActs {
    return this.#rows.finish();
  }
}

/** The K largest of relu(p) over the whole batch. Holds a few K candidates and drops the rest as it goes. */
class BatchTopK implements Selector {
  readonly #k: number;
  readonly #nTokens: number;
  readonly #dSae: number;
  readonly #candidates = new Entries();
  #tokens = new Uint32Array(1024);
  /** Once K candidates are held, whatever does not exceed the smallest of them cannot be chosen. */
  #floor = 0;

  constructor(k: number, nTokens: number, dSae: number) {
    this.#k = k;
    this.#nTokens = nTokens;
    this.#dSae = dSae;
  }

  take(p: Float32Array, first: number, nTokens: number): void {
    if (this.#k === 0) return;
    const candidates = this.#candidates;
    const crowd = 2 * this.#k + 65536;
    for (let t = 0; t < nTokens; t++) {
      const at = t * this.#dSae;
      for (let i = 0; i < this.#dSae; i++) {
        const value = p[at + i];
        if (value > this.#floor) {
          candidates.push(i, value);
          if (candidates.length > this.#tokens.length)
            this.#tokens = grown(this.#tokens, new Uint32Array(candidates.latents.length));
          this.#tokens[candidates.length - 1] = first + t;
          if (candidates.length >= crowd) this.#thin();
        }
      }
    }
  }

  finish(): SparseActs {
    this.#thin();
    const { latents, values, length } = this.#candidates;
    const offsets = new Uint32Array(this.#nTokens + 1);
    for (let e = 0; e < length; e++) offsets[this.#tokens[e] + 1] += 1;
    for (let t = 0; t < this.#nTokens; t++) offsets[t + 1] += offsets[t];
    return {
      nTokens: this.#nTokens,
      offsets,
      latents: latents.slice(0, length),
      values: values.slice(0, length),
    };
  }

  /** Keeps the K largest candidates, in order. */
  #thin(): void {
    const { latents, values, length } = this.#candidates;
    let kept = 0;
    let smallest = Number.POSITIVE_INFINITY;
    keepLargest(this.#candidates, this.#k, (e) => {
      this.#tokens[kept] = this.#tokens[e];
      latents[kept] = latents[e];
      values[kept] = values[e];
      smallest = Math.min(smallest, values[kept]);
      kept += 1;
    });
    this.#candidates.length = kept;
    if (length >= this.#k && kept > 0) this.#floor = smallest;
  }
}

/** Calls `keep` for the k entries of largest value, in their order; among equals at the cut, for the first ones. */
function keepLargest(entries: Entries, k: number, keep: (entry: number) => void): void {
  const { values, length } = entries;
  if (k <= 0) return;
  if (length <= k) {
    for (let e = 0; e < length; e++) keep(e);
    return;
  }
  const cut = kthLargest(values, length, k);
  let above = 0;
  for (let e = 0; e < length; e++) if (values[e] > cut) above += 1;
  let equals = k - above;
  for (let e = 0; e < length; e++) {
    if (values[e] > cut) keep(e);
    else if (values[e] === cut && equals > 0) {
      equals -= 1;
      keep(e);
    }
  }
}

const counts = new Uint32Array(1 << 16);

/**
 * The k-th largest (1-based) of values[0 … n): counts upper halves of the bits, then lower halves within the one that
 * holds it. Bits of floats, made monotone, order as the floats do. Few values are simply sorted.
 */
function kthLargest(values: Float32Array, n: number, k: number): number {
  if (n <= 8192) return values.slice(0, n).sort()[n - k];
  const bits = new Uint32Array(values.buffer, values.byteOffset, n);
  let rank = k;
  const upper = findRank(bits, n, rank, (b) => b >>> 16);
  rank = upper.rank;
  const lower = findRank(bits, n, rank, (b) => (b >>> 16 === upper.bin ? b & 0xffff : -1));
  const ordered = ((upper.bin << 16) | lower.bin) >>> 0;
  const word = new Uint32Array([ordered & 0x80000000 ? ordered ^ 0x80000000 : ~ordered]);
  return new Float32Array(word.buffer)[0];
}

/** The bin (0 … 65535, from above) in which the k-th entry falls, and its rank there. Bin −1 is not counted. */
function findRank(
  bits: Uint32Array,
  n: number,
  k: number,
  binOf: (ordered: number) => number,
): { bin: number; rank: number } {
  counts.fill(0);
  for (let e = 0; e < n; e++) {
    const b = bits[e];
    const bin = binOf((b & 0x80000000 ? ~b : b | 0x80000000) >>> 0);
    if (bin >= 0) counts[bin] += 1;
  }
  let rank = k;
  let bin = 65535;
  while (bin > 0 && counts[bin] < rank) rank -= counts[bin--];
  return { bin, rank };
}
