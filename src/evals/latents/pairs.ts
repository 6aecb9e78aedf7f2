/**
 * Which latents of two SAEs are the same, and what became of each. Latents are matched in two ways: by index, where one
 * SAE was trained on from the other, and by direction, where each is the other's nearest by decoder cosine. Everything
 * here is symmetric: with A and B exchanged, born and died change places and nothing else does.
 */
import { ShapeError } from "../../errors.ts";
import { EQUALLY_NEAR, type NearestRows } from "./nearest-rows.ts";

export const NO_PARTNER = -1;

/** Least decoder cosine of two latents that are counted as the same, loosely and strictly. */
export const SAME_COSINES = [0.7, 0.9] as const;

/** A latent whose decoder cosine to its own index in the other SAE is below this has moved. */
export const MOVED_BELOW = 0.9;

/** Pairs of a latent of A and one of B; each latent is in one pair at most. */
export interface MutualMatches {
  readonly nPairs: number;
  /** [dSae of A] the partner in B, or NO_PARTNER */
  readonly partnerInB: Int32Array;
  /** [dSae of B] the partner in A, or NO_PARTNER */
  readonly partnerInA: Int32Array;
  /** [dSae of A] decoder cosine of the pair; NaN without one */
  readonly cosine: Float64Array;
}

/**
 * Pairs that are each other's nearest. `nearestInB`: for each latent of A the nearest of B by decoder cosine,
 * `nearestInA` the other way. `byIndex` [dSae]: cosines of equal indices, where there are such; of latents equally near
 * (twins have the same row) the one of the same index is preferred.
 */
export function mutualMatches(
  nearestInB: NearestRows,
  nearestInA: NearestRows,
  byIndex: Float64Array | null = null,
): MutualMatches {
  const partnerInB = new Int32Array(nearestInB.index.length).fill(NO_PARTNER);
  const partnerInA = new Int32Array(nearestInA.index.length).fill(NO_PARTNER);
  const cosine = new Float64Array(partnerInB.length).fill(Number.NaN);
  const pair = (i: number, j: number, value: number) => {
    partnerInB[i] = j;
    partnerInA[j] = i;
    cosine[i] = value;
  };
  byIndex?.forEach((own, i) => {
    if (own >= nearestInB.cosine[i] - EQUALLY_NEAR && own >= nearestInA.cosine[i] - EQUALLY_NEAR)
      pair(i, i, own);
  });
  nearestInB.index.forEach((j, i) => {
    if (j < 0 || nearestInA.index[j] !== i) return;
    if (partnerInB[i] === NO_PARTNER && partnerInA[j] === NO_PARTNER) pair(i, j, nearestInB.cosine[i]);
  });
  return {
    nPairs: partnerInB.reduce((n, j) => n + (j === NO_PARTNER ? 0 : 1), 0),
    partnerInB,
    partnerInA,
    cosine,
  };
}

/** What became of the latents of an index. */
export const FATES = ["kept", "moved", "swapped", "born", "died", "silent"] as const;
export type Fate = (typeof FATES)[number];

export const FATE_DEFINITION =
  `Latent i of A and latent i of B. silent: fired in neither; born: only in B; died: only in A. Of those that fired in both: ` +
  `kept: decoder cosine of at least ${MOVED_BELOW}; swapped: below, but the direction of one of the two is found at another ` +
  `index of the other SAE (each other's nearest, cosine of at least ${MOVED_BELOW}); moved: below, and it is not.`;

/** What is known of two SAEs of equal dSae; arrays [dSae], counts in tokens. */
export interface PairedLatents {
  readonly countsA: ArrayLike<number>;
  readonly countsB: ArrayLike<number>;
  /** of equal indices; NaN where a row is zero */
  readonly decoderCosine: Float64Array;
  readonly matches: MutualMatches;
}

/** The fate of each index. @throws {ShapeError} the two differ in dSae */
export function fatesOf({ countsA, countsB, decoderCosine, matches }: PairedLatents): Fate[] {
  if (countsA.length !== countsB.length)
    throw new ShapeError("latents to match by index", countsB.length, countsA.length);
  const { partnerInA, partnerInB, cosine } = matches;
  const isElsewhere = (i: number) => {
    const [inB, inA] = [partnerInB[i], partnerInA[i]];
    return (
      (inB !== NO_PARTNER && inB !== i && cosine[i] >= MOVED_BELOW) ||
      (inA !== NO_PARTNER && inA !== i && cosine[inA] >= MOVED_BELOW)
    );
  };
  return Array.from(decoderCosine, (own, i) => {
    if (countsA[i] === 0) return countsB[i] === 0 ? "silent" : "born";
    if (countsB[i] === 0) return "died";
    if (own >= MOVED_BELOW) return "kept";
    return isElsewhere(i) ? "swapped" : "moved";
  });
}

/** Indices of latents that fired in both SAEs, those that moved most first; ties by index. */
export function topMovers(latents: PairedLatents, n: number): number[] {
  const { countsA, countsB, decoderCosine } = latents;
  const movers: number[] = [];
  for (const [i, cosine] of decoderCosine.entries())
    if (countsA[i] > 0 && countsB[i] > 0 && !Number.isNaN(cosine)) movers.push(i);
  return movers.sort((i, j) => decoderCosine[i] - decoderCosine[j] || i - j).slice(0, n);
}

/** Latents that fired and have no partner of at least `least` cosine in the other SAE. */
export function withoutPartner(
  counts: ArrayLike<number>,
  partners: Int32Array,
  cosineOf: (latent: number) => number,
  least: number,
): number {
  let n = 0;
  for (const [i, partner] of partners.entries())
    if (counts[i] > 0 && !(partner !== NO_PARTNER && cosineOf(i) >= least)) n += 1;
  return n;
}
