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
import type { Entries, Segment } from "../entries/entries.ts";
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

export interface FiringOptions {
  /** neighbours a latent, at most */
  readonly k: number;
  /** for the sums of a group of latents; one latent at least. Only entries on disk need groups of several */
  readonly sumsBytes: number;
}

/**
 * For each latent of the block, ascending, those that fire with it at least once, largest correlation first (ties: the
 * lowest latent), k at most. Constant activations have no correlation and are left out.
 */
export async function* firingNeighbours(
  block: SortedBlock,
  entries: Entries,
  totals: LatentTotals,
  nTokens: number,
  { k, sumsBytes }: FiringOptions,
): AsyncGenerator<readonly FiringNeighbour[]> {
  const dSae = totals.count.length;
  const fitting = entries.isResident ? 1 : Math.max(1, Math.floor(sumsBytes / (SUMS_BYTES * dSae)));
  const size = Math.min(fitting, block.to - block.from);
  const counts = Array.from({ length: size }, () => new Uint32Array(dSae));
  const products = Array.from({ length: size }, () => new Float64Array(dSae));
  const spread = Float64Array.from(totals.sum, (sum, i) => nTokens * totals.squares[i] - sum * sum);
  for (let from = block.from; from < block.to; from += size) {
    const group = Math.min(size, block.to - from);
    const cursors = new Uint32Array(group);
    for (let s = 0; s < entries.nSegments; s++) {
      const segment = await entries.segment(s);
      for (let g = 0; g < group; g++)
        cursors[g] = addUp(actsOf(block, from + g), cursors[g], segment, counts[g], products[g]);
    }
    for (let g = 0; g < group; g++) {
      yield nearest(from + g, counts[g], products[g], { totals, spread, nTokens, k });
      counts[g].fill(0);
      products[g].fill(0);
    }
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

interface Known {
  readonly totals: LatentTotals;
  /** [dSae] N Σa² − (Σa)² */
  readonly spread: Float64Array;
  readonly nTokens: number;
  readonly k: number;
}

function nearest(
  latent: number,
  counts: Uint32Array,
  products: Float64Array,
  { totals: { count, sum, squares }, spread, nTokens, k }: Known,
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
