/** What a search should have found, and in what two results differ. */
import type { Selection, SparseActs } from "../../src/kernels/kernels.ts";
import { bytesOf } from "./cases.ts";
import type { Dice } from "./screening-attacks.ts";

/** Where two results differ, in words; empty if they are equal to the bit. */
export function difference(got: SparseActs, expected: SparseActs): string {
  const key = (acts: SparseActs, t: number, e: number) => t * 2 ** 20 + acts.latents[e];
  const bits = (acts: SparseActs) => {
    const words = new Uint32Array(acts.values.buffer, acts.values.byteOffset, acts.values.length);
    const out = new Map<number, number>();
    for (let t = 0; t < acts.nTokens; t++)
      for (let e = acts.offsets[t]; e < acts.offsets[t + 1]; e++) out.set(key(acts, t, e), words[e]);
    return out;
  };
  const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
  if (
    same(bytesOf(got.offsets), bytesOf(expected.offsets)) &&
    same(bytesOf(got.latents), bytesOf(expected.latents)) &&
    same(bytesOf(got.values), bytesOf(expected.values))
  )
    return "";
  const [ours, theirs] = [bits(got), bits(expected)];
  let missed = 0;
  let other = 0;
  for (const [entry, word] of theirs) {
    if (!ours.has(entry)) missed++;
    else if (ours.get(entry) !== word) other++;
  }
  return `of ${theirs.size} entries ${missed} missed, ${other} of another value; ${ours.size} found`;
}

/** The next f32 below, of a positive number. */
function justBelow(value: number): number {
  const word = new Uint32Array(Float32Array.of(value).buffer);
  word[0]--;
  return new Float32Array(word.buffer)[0];
}

/** For each latent just below one of its positive entries; anything where it has none. */
export function tightThresholds(acts: SparseActs, dSae: number, dice: Dice): Float32Array {
  const seen = new Uint32Array(dSae);
  const anything = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, -1];
  const thresholds = Float32Array.from({ length: dSae }, () => anything[dice.integer(anything.length)]);
  for (let e = 0; e < acts.latents.length; e++) {
    const latent = acts.latents[e];
    // each with the same probability, whatever their number
    if (dice.unit() * ++seen[latent] < 1) thresholds[latent] = justBelow(acts.values[e]);
  }
  return thresholds;
}

/** The entries of `all` that a selection takes; their order there is that of (token, latent), in which ties are settled. */
export function chosenFrom(all: SparseActs, selection: Selection): SparseActs {
  const keep = new Uint8Array(all.values.length);
  const keepLargest = (from: number, to: number, count: number) => {
    const sorted = all.values.slice(from, to).sort();
    const cut = sorted.length > count ? sorted[sorted.length - count] : 0;
    let ties = count;
    for (const value of sorted) if (value > cut) ties--;
    for (let e = from; e < to; e++)
      if (all.values[e] > cut || (all.values[e] === cut && ties-- > 0)) keep[e] = 1;
  };
  if (selection.kind === "batch-topk") keepLargest(0, keep.length, Math.floor(selection.k * all.nTokens));
  for (let t = 0; t < all.nTokens; t++) {
    const [from, to] = [all.offsets[t], all.offsets[t + 1]];
    if (selection.kind === "topk") keepLargest(from, to, selection.k);
    if (selection.kind === "threshold")
      for (let e = from; e < to; e++) keep[e] = +(all.values[e] > selection.thresholds[all.latents[e]]);
  }
  const kept = (_: number, e: number) => keep[e] === 1;
  const offsets = new Uint32Array(all.nTokens + 1);
  for (let t = 0, n = 0; t < all.nTokens; t++) {
    for (let e = all.offsets[t]; e < all.offsets[t + 1]; e++) n += keep[e];
    offsets[t + 1] = n;
  }
  return {
    nTokens: all.nTokens,
    offsets,
    latents: all.latents.filter(kept),
    values: all.values.filter(kept),
  };
}
