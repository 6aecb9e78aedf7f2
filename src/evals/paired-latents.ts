/** Latents that are each other's nearest in the other SAE: what nearest rows, found both ways, agree on. */
import type { NearestRows } from "./nearest-rows.ts";

export const NO_PARTNER = -1;

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

/** `nearestInB`: for each latent of A the nearest of B by decoder cosine; `nearestInA` the other way. */
export function mutualMatches(nearestInB: NearestRows, nearestInA: NearestRows): MutualMatches {
  const partnerInB = nearestInB.index.map((j, i) => (j >= 0 && nearestInA.index[j] === i ? j : NO_PARTNER));
  const partnerInA = new Int32Array(nearestInA.index.length).fill(NO_PARTNER);
  let nPairs = 0;
  for (const [i, j] of partnerInB.entries()) {
    if (j === NO_PARTNER) continue;
    partnerInA[j] = i;
    nPairs += 1;
  }
  const cosine = nearestInB.cosine.map((value, i) => (partnerInB[i] === NO_PARTNER ? Number.NaN : value));
  return { nPairs, partnerInB, partnerInA, cosine };
}
