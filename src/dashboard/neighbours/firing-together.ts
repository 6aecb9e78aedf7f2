/**
 * Which latents fire with a latent: exact correlations over all indexed tokens, zeros included, without a matrix of all
 * pairs. For each latent its tokens are gone through, and what fires there is added up over all latents:
 *
 *   n_ab = tokens on which both fire        d_ab = Σ_t a_t b_t        (f64, tokens ascending)
 *   pearson = (N d_ab − Σa Σb) / √((N Σa² − (Σa)²)(N Σb² − (Σb)²))    cosine = d_ab / √(Σa² Σb²)
 *   jaccard = n_ab / (n_a + n_b − n_ab)
 *
 * Work: Σ over tokens of L0². Memory: 12 bytes a latent and latent of a group.
 */
import type { Segment } from "../entries/entries.ts";
import { actsOf, type LatentActs, type SortedBlock } from "../entries/sorted-block.ts";
import type { LatentTotals } from "../entries/totals.ts";

/** Bytes of a latent's sums with every other. */
export const SUMS_BYTES = 12;

export interface FiringNeighbour {
  readonly other: number;
  readonly pearson: number;
  readonly cosine: number;
  readonly nBoth: number;
  readonly jaccard: number;
}

/** What is summed up with what. */
export interface FiringData {
  readonly block: SortedBlock;
  readonly totals: LatentTotals;
  readonly nTokens: number;
  /** neighbours a latent, at most */
  readonly k: number;
}

/** Sums of a few latents with all others, used again and again. */
export class FiringSums {
  readonly #data: FiringData;
  /** [dSae] N Σa² − (Σa)² */
  readonly #spread: Float64Array;
  readonly #counts: Uint32Array[];
  readonly #products: Float64Array[];

  /** `size`: latents at once. */
  constructor(data: FiringData, size: number) {
    const { totals, nTokens } = data;
    const dSae = totals.count.length;
    this.#data = data;
    this.#spread = Float64Array.from(totals.sum, (sum, i) => nTokens * totals.squares[i] - sum * sum);
    this.#counts = Array.from({ length: size }, () => new Uint32Array(dSae));
    this.#products = Array.from({ length: size }, () => new Float64Array(dSae));
  }

  get size(): number {
    return this.#counts.length;
  }

  /**
   * Neighbours of latents [from, to), `size` at most, `segments` being all of them in order: for each latent those that fire
   * with it at least once, largest correlation first (ties: the lowest latent). Constant activations have no correlation and
   * are left out.
   */
  async of(
    from: number,
    to: number,
    segments: Iterable<Segment> | AsyncIterable<Segment>,
  ): Promise<FiringNeighbour[][]> {
    const { block } = this.#data;
    const cursors = new Uint32Array(to - from);
    for await (const segment of segments)
      for (let g = 0; g < cursors.length; g++)
        cursors[g] = addUp(actsOf(block, from + g), cursors[g], segment, this.#counts[g], this.#products[g]);
    return Array.from(cursors, (_, g) => {
      const found = nearest(from + g, this.#counts[g], this.#products[g], this.#spread, this.#data);
      this.#counts[g].fill(0);
      this.#products[g].fill(0);
      return found;
    });
  }
}

/** Adds the latent's tokens that lie in the segment, from its entry `cursor` on. Returns its first entry beyond. */
function addUp(
  { tokens, values }: LatentActs,
  cursor: number,
  { firstToken, offsets, latents, values: others }: Segment,
  counts: Uint32Array,
  products: Float64Array,
): number {
  const end = firstToken + offsets.length - 1;
  let entry = cursor;
  for (; entry < tokens.length && tokens[entry] < end; entry++) {
    const own = values[entry];
    const t = tokens[entry] - firstToken;
    const last = offsets[t + 1];
    for (let e = offsets[t]; e < last; e++) {
      const other = latents[e];
      counts[other] += 1;
      products[other] += own * others[e];
    }
  }
  return entry;
}

function nearest(
  latent: number,
  counts: Uint32Array,
  products: Float64Array,
  spread: Float64Array,
  { totals: { count, sum, squares }, nTokens, k }: FiringData,
): FiringNeighbour[] {
  const best: { other: number; pearson: number }[] = [];
  if (!(spread[latent] > 0)) return [];
  for (let other = 0; other < counts.length; other++) {
    if (counts[other] === 0 || other === latent || !(spread[other] > 0)) continue;
    const pearson =
      (nTokens * products[other] - sum[latent] * sum[other]) / Math.sqrt(spread[latent] * spread[other]);
    if (best.length === k && pearson <= best[k - 1].pearson) continue;
    let at = best.length;
    while (at > 0 && best[at - 1].pearson < pearson) at--;
    best.splice(at, 0, { other, pearson });
    if (best.length > k) best.pop();
  }
  return best.map(({ other, pearson }) => ({
    other,
    pearson,
    cosine: products[other] / Math.sqrt(squares[latent] * squares[other]),
    nBoth: counts[other],
    jaccard: counts[other] / (count[latent] + count[other] - counts[other]),
  }));
}
