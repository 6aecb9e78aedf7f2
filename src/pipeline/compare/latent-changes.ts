/** What became of the latents between two SAEs, counted: by their index, and by the direction they write. */
import type { Evaluation } from "../../evals/evaluate.ts";
import type { ComparedLatents } from "../../evals/latents/comparison.ts";
import {
  FATE_DEFINITION,
  FATES,
  type Fate,
  fatesOf,
  type MutualMatches,
  NO_PARTNER,
  type PairedLatents,
  SAME_COSINES,
  topMovers,
  withoutPartner,
} from "../../evals/latents/pairs.ts";
import type { ChangesByIndex, LatentChanges } from "./comparison.ts";

/** Latents that moved most: how many are named. */
const N_MOVERS = 50;

/** From the decoders, and from what fired on the tokens of all sets together. */
export function latentChanges(
  { byIndex }: Pick<ComparedLatents, "byIndex">,
  matches: MutualMatches,
  ofA: readonly Evaluation[],
  ofB: readonly Evaluation[],
): LatentChanges {
  const [countsA, countsB] = [ofA, ofB].map(totalCounts);
  const nTokens = ofA.reduce((n, { result }) => n + result.nTokens, 0);
  const { nPairs, partnerInA, partnerInB, cosine } = matches;
  return {
    nTokens,
    byIndex:
      byIndex === null
        ? null
        : changesByIndex({ countsA, countsB, decoderCosine: byIndex.decoderCosine, matches }, nTokens),
    byDirection: {
      definition:
        "A latent of A and one of B that are each other's nearest by decoder cosine are a pair; they are the same where the cosine reaches a limit. Only in one: fired there, and is the same as none of the other.",
      nPairs,
      same: SAME_COSINES.map((least) => ({
        cosine: least,
        nPairs: cosine.reduce((n, value) => n + (value >= least ? 1 : 0), 0),
        onlyInA: withoutPartner(countsA, partnerInB, (i) => cosine[i], least),
        onlyInB: withoutPartner(countsB, partnerInA, (j) => cosine[partnerInA[j]], least),
      })),
    },
  };
}

function changesByIndex(latents: PairedLatents, nTokens: number): ChangesByIndex {
  const { countsA, countsB, decoderCosine, matches } = latents;
  const fates = fatesOf(latents);
  const count = (fate: Fate) => fates.filter((one) => one === fate).length;
  return {
    definition: FATE_DEFINITION,
    fates: Object.fromEntries(FATES.map((fate) => [fate, count(fate)])) as Record<Fate, number>,
    topMovers: topMovers(latents, N_MOVERS).map((index) => {
      const partner = matches.partnerInB[index];
      return {
        index,
        decoderCosine: decoderCosine[index],
        frequency: { a: countsA[index] / nTokens, b: countsB[index] / nTokens },
        fate: fates[index],
        foundAt: partner === NO_PARTNER ? null : { index: partner, cosine: matches.cosine[index] },
      };
    }),
  };
}

function totalCounts(evaluations: readonly Evaluation[]): Float64Array {
  const counts = new Float64Array(evaluations[0].firingCounts.length);
  for (const { firingCounts } of evaluations)
    firingCounts.forEach((count, i) => {
      counts[i] += count;
    });
  return counts;
}
