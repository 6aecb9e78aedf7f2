/** Whether two seeds found the same latents: how many of one have a partner in the other that writes the same direction. */
import { definedOf } from "../../evals/latents/cosines.ts";
import { nearestRows } from "../../evals/latents/nearest-rows.ts";
import { mutualMatches } from "../../evals/latents/pairs.ts";
import { type EnginePreference, selectEngine } from "../../kernels/select.ts";
import { loadSae } from "../../sae/load.ts";

/** Decoder cosines above which two latents are counted as the same, loosely and strictly. */
export const AGREEMENT_COSINES = [0.7, 0.9] as const;

/** Agreement of every two seeds. */
export interface SeedAgreement {
  readonly definition: string;
  readonly cosines: readonly number[];
  readonly pairs: readonly PairAgreement[];
}

export interface PairAgreement {
  /** the two seeds */
  readonly a: number;
  readonly b: number;
  /** latents of a, and of b */
  readonly dSae: readonly [number, number];
  /** pairs of latents that are each other's nearest, whatever their cosine */
  readonly nMatched: number;
  /** of these, with a decoder cosine above each of `cosines` */
  readonly nAbove: readonly number[];
  /** the same as shares of the smaller SAE's latents */
  readonly shareAbove: readonly number[];
  /** mean cosine of the matched; null: none are */
  readonly meanCosine: number | null;
}

interface SeedSae {
  readonly seed: number;
  /** of the saved SAE */
  readonly folder: string;
}

/** One layer's final SAEs, every two of them compared. Takes about as long as encoding dSae tokens, twice a pair. */
export async function seedAgreement(
  saes: readonly SeedSae[],
  options: { engine: EnginePreference; threads?: number; signal?: AbortSignal },
): Promise<SeedAgreement> {
  const { create: createEngine } = await selectEngine(options.engine);
  const { threads, signal } = options;
  const pairs: PairAgreement[] = [];
  for (const [i, a] of saes.slice(0, -1).entries()) {
    const { dIn, dSae: nA, wDec: rowsA } = (await loadSae(a.folder)).weights;
    for (const b of saes.slice(i + 1)) {
      const { dSae: nB, wDec: rowsB } = (await loadSae(b.folder)).weights;
      const inB = await nearestRows(rowsA, rowsB, dIn, { createEngine, threads, signal });
      const inA = await nearestRows(rowsB, rowsA, dIn, { createEngine, threads, signal });
      const { nPairs, cosine } = mutualMatches(inB, inA);
      const cosines = definedOf(cosine);
      const nAbove = AGREEMENT_COSINES.map((cut) => cosines.filter((value) => value > cut).length);
      pairs.push({
        a: a.seed,
        b: b.seed,
        dSae: [nA, nB],
        nMatched: nPairs,
        nAbove,
        shareAbove: nAbove.map((n) => n / Math.min(nA, nB)),
        meanCosine: nPairs === 0 ? null : cosines.reduce((sum, value) => sum + value, 0) / nPairs,
      });
    }
  }
  return {
    definition:
      "Two latents are matched where each is the other's nearest by the cosine of their decoder rows; counted are those whose cosine exceeds the limit.",
    cosines: AGREEMENT_COSINES,
    pairs,
  };
}
