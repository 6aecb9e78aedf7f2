/** Seeded damage to bytes and to JSON: what a bad disk, a bad program and a bad person do to files. */
import { Philox } from "../../src/random/philox.ts";

/** Numbers drawn one after the other from (seed, purpose): the same for an input whatever came before it. */
export class Draws {
  readonly #philox: Philox;
  #at = 0;

  constructor(seed: number, purpose: string) {
    this.#philox = new Philox(seed, purpose);
  }

  /** a whole number from 0 to n − 1 */
  below(n: number): number {
    return Math.floor(this.#philox.uniform(this.#at++) * n);
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }
}

/** The file with one to four things done to it. */
export function mutateBytes(bytes: Uint8Array, draws: Draws): Uint8Array<ArrayBuffer> {
  let mutant = new Uint8Array(bytes); // not slice(): a Buffer would share its memory
  for (let left = 1 + draws.below(4); left > 0; left--) mutant = mutateOnce(mutant, draws);
  return mutant;
}

const LENGTHS = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

function mutateOnce(bytes: Uint8Array<ArrayBuffer>, draws: Draws): Uint8Array<ArrayBuffer> {
  if (bytes.length === 0) return Uint8Array.of(draws.below(256));
  // headers and footers decide the most
  const place = draws.below(3);
  const near = Math.min(bytes.length, 400);
  const at =
    place === 0
      ? draws.below(bytes.length)
      : place === 1
        ? draws.below(near)
        : bytes.length - 1 - draws.below(near);
  const length = 1 + draws.below(Math.min(64, bytes.length - at));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (draws.below(9)) {
    case 0:
      bytes[at] ^= 1 << draws.below(8);
      return bytes;
    case 1:
      bytes[at] = draws.below(256);
      return bytes;
    case 2:
      if (at + 4 <= bytes.length) view.setUint32(at, draws.of(LENGTHS), true);
      return bytes;
    case 3:
      if (at + 8 <= bytes.length)
        view.setBigUint64(
          at,
          draws.of([0n, 1n << 31n, 1n << 32n, (1n << 53n) - 1n, 1n << 63n, (1n << 64n) - 1n]),
          true,
        );
      return bytes;
    case 4:
      return bytes.slice(0, at);
    case 5:
      return joined(bytes.subarray(0, at), bytes.subarray(at + length));
    case 6:
      return joined(bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at));
    case 7: {
      const from = draws.below(bytes.length);
      return joined(bytes.subarray(0, at), bytes.subarray(from, from + length), bytes.subarray(at));
    }
    default:
      for (let i = at; i < at + length; i++) bytes[i] = draws.of([0, 255, 0x20, 0x2d, 0x39]);
      return bytes;
  }
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const VALUES: readonly Json[] = [
  null,
  true,
  0,
  -1,
  1,
  0.5,
  2 ** 31,
  2 ** 53,
  1e308,
  -1e-320,
  "",
  "text",
  "__proto__",
  "../../etc",
  "0",
  "[",
  [],
  {},
  [[]],
  [1, 2, 3],
];

/** JSON text with one to three values replaced, removed, renamed or wrapped; null if it is no JSON. */
export function mutateJson(bytes: Uint8Array, draws: Draws): Uint8Array | null {
  let root: Json;
  try {
    root = JSON.parse(new TextDecoder().decode(bytes)) as Json;
  } catch {
    return null;
  }
  for (let left = 1 + draws.below(3); left > 0; left--) root = replaced(root, draws, 0);
  return new TextEncoder().encode(JSON.stringify(root));
}

function replaced(value: Json, draws: Draws, depth: number): Json {
  const isLeaf = value === null || typeof value !== "object" || Object.keys(value).length === 0;
  if (isLeaf || draws.below(depth === 0 ? 40 : 5) === 0) {
    if (draws.below(30) === 0) return nested(50 * 10 ** draws.below(3));
    return draws.below(4) === 0 && typeof value === "number"
      ? value + draws.of([1, -1, 0.5])
      : draws.of(VALUES);
  }
  const keys = Object.keys(value);
  const key = draws.of(keys);
  if (Array.isArray(value)) {
    const i = Number(key);
    if (draws.below(6) === 0) return value.toSpliced(i, 1);
    if (draws.below(6) === 0) return value.toSpliced(i, 0, value[i]);
    return value.with(i, replaced(value[i], draws, depth + 1));
  }
  const { [key]: old, ...rest } = value;
  if (draws.below(8) === 0) return rest;
  if (draws.below(12) === 0)
    return { ...rest, [draws.of(["__proto__", "constructor", "x", draws.of(keys)])]: old };
  return { ...value, [key]: replaced(old, draws, depth + 1) };
}

function nested(depth: number): Json {
  let value: Json = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}
