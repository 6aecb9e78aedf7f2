/**
 * Counter-based randomness: a number is a function of (seed, purpose, index), never of history, so any part of a run
 * can be recomputed alone. Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 */

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** One Philox 4x32-10 block: counter [4] u32, key [2] u32 → four u32 written to `out`. */
export function philox4x32(
  counter: ArrayLike<number>,
  key: ArrayLike<number>,
  out: Uint32Array,
): Uint32Array {
  let c0 = counter[0] >>> 0;
  let c1 = counter[1] >>> 0;
  let c2 = counter[2] >>> 0;
  let c3 = counter[3] >>> 0;
  let k0 = key[0] >>> 0;
  let k1 = key[1] >>> 0;
  for (let round = 0; round < 10; round++) {
    const lo0 = Math.imul(M0, c0) >>> 0;
    const hi0 = mulHi(M0, c0);
    const lo1 = Math.imul(M1, c2) >>> 0;
    const hi1 = mulHi(M1, c2);
    c0 = (hi1 ^ c1 ^ k0) >>> 0;
    c1 = lo1;
    c2 = (hi0 ^ c3 ^ k1) >>> 0;
    c3 = lo0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
  return out;
}

/** Upper 32 bits of the 64-bit product of two u32. Every partial sum stays below 2^32, so all of it is integer arithmetic. */
function mulHi(a: number, b: number): number {
  const aLo = a & 0xffff;
  const aHi = a >>> 16;
  const bLo = b & 0xffff;
  const bHi = b >>> 16;
  const middle = (Math.imul(aHi, bLo) >>> 0) + (Math.imul(aLo, bLo) >>> 16);
  const carried = (Math.imul(aLo, bHi) >>> 0) + (middle & 0xffff);
  return (Math.imul(aHi, bHi) + (middle >>> 16) + (carried >>> 16)) >>> 0;
}

/** A stream of numbers addressed by index: `new Philox(seed, "shuffle/epoch-2").uniform(17)`. */
export class Philox {
  readonly #key: readonly [number, number];
  readonly #purpose: readonly [number, number];
  readonly #counter = new Uint32Array(4);
  readonly #block = new Uint32Array(4);
  #blockIndex = -1;

  /** `seed` is a non-negative safe integer; `purpose` names the use, so that no two uses share numbers. */
  constructor(seed: number, purpose: string) {
    if (!Number.isSafeInteger(seed) || seed < 0)
      throw new RangeError(`seed must be a non-negative integer, got ${seed}`);
    this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32)];
    this.#purpose = hashText(purpose);
  }

  /** The i-th 32-bit integer of the stream, 0 ≤ i < 2^53. */
  u32(i: number): number {
    const blockIndex = Math.floor(i / 4);
    if (blockIndex !== this.#blockIndex) {
      this.#counter[0] = blockIndex >>> 0;
      this.#counter[1] = Math.floor(blockIndex / 2 ** 32);
      this.#counter[2] = this.#purpose[0];
      this.#counter[3] = this.#purpose[1];
      philox4x32(this.#counter, this.#key, this.#block);
      this.#blockIndex = blockIndex;
    }
    return this.#block[i % 4];
  }

  /** The i-th uniform number in [0, 1), 53 bits: words 2i and 2i+1 of the stream. */
  uniform(i: number): number {
    const high = this.u32(2 * i) >>> 5;
    const low = this.u32(2 * i + 1) >>> 6;
    return (high * 0x4000000 + low) / 2 ** 53;
  }

  /** The i-th standard normal number (Box–Muller over uniforms 2i and 2i+1). */
  normal(i: number): number {
    const u = 1 - this.uniform(2 * i);
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * this.uniform(2 * i + 1));
  }

  /** A permutation of 0 … n−1 (Fisher–Yates over this stream's uniforms 0 … n−2), as u32. */
  permutation(n: number): Uint32Array {
    const p = new Uint32Array(n);
    for (let i = 0; i < n; i++) p[i] = i;
    for (let i = n - 1, draw = 0; i > 0; i--, draw++) {
      const j = Math.floor(this.uniform(draw) * (i + 1));
      const t = p[i];
      p[i] = p[j];
      p[j] = t;
    }
    return p;
  }
}

/** FNV-1a of the UTF-16 code units, twice with different offsets: 64 bits to tell purposes apart. */
function hashText(text: string): [number, number] {
  let a = 0x811c9dc5;
  let b = 0x01000193;
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193) >>> 0;
    b = Math.imul(b ^ (text.charCodeAt(i) + i), 0x85ebca6b) >>> 0;
    b ^= b >>> 13;
  }
  return [a >>> 0, b >>> 0];
}
