/** Cosines of many latents in few numbers: mean, median, a histogram; and the cosine of rows itself, in fp64. */
import { quantile } from "../quantile.ts";

/** counts[b] cosines have −1 + b·binWidth ≤ cosine < −1 + (b+1)·binWidth; the last bin includes 1. */
export interface CosineHistogram {
  readonly floor: -1;
  readonly binWidth: number;
  readonly counts: readonly number[];
}

/** Cosines, one a latent; those of latents with a row of zeros are undefined and counted apart. */
export interface CosineSummary {
  readonly definition: string;
  /** latents that have one */
  readonly n: number;
  readonly nUndefined: number;
  /** null where n is 0 */
  readonly mean: number | null;
  readonly median: number | null;
  readonly min: number | null;
  readonly max: number | null;
  readonly histogram: CosineHistogram;
}

/** Bins of a histogram: 0.05 wide. */
const N_BINS = 40;

/** Undefined cosines are NaN. */
export function cosineSummary(cosines: ArrayLike<number>, definition: string): CosineSummary {
  const sorted = definedOf(cosines);
  const counts = new Array<number>(N_BINS).fill(0);
  for (const cosine of sorted) counts[Math.min(N_BINS - 1, Math.floor(((cosine + 1) / 2) * N_BINS))] += 1;
  const n = sorted.length;
  return {
    definition,
    n,
    nUndefined: cosines.length - n,
    mean: n === 0 ? null : sorted.reduce((a, b) => a + b, 0) / n,
    median: n === 0 ? null : quantile(sorted, 0.5),
    min: n === 0 ? null : sorted[0],
    max: n === 0 ? null : sorted[n - 1],
    histogram: { floor: -1, binWidth: 2 / N_BINS, counts },
  };
}

/** The numbers that are not NaN, ascending. */
export function definedOf(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values)
    .filter((value) => !Number.isNaN(value))
    .sort();
}

/** Cosine of row i of `a` and row i of `b`, both [n, dIn], for every i, in fp64: [n]; NaN where either is zero. */
export function rowCosines(a: Float32Array, b: Float32Array, dIn: number): Float64Array {
  const cosines = new Float64Array(a.length / dIn);
  for (let row = 0; row < cosines.length; row++) {
    let aa = 0;
    let bb = 0;
    let ab = 0;
    for (let i = row * dIn; i < (row + 1) * dIn; i++) {
      aa += a[i] * a[i];
      bb += b[i] * b[i];
      ab += a[i] * b[i];
    }
    cosines[row] =
      aa > 0 && bb > 0 ? Math.max(-1, Math.min(1, ab / Math.sqrt(aa) / Math.sqrt(bb))) : Number.NaN;
  }
  return cosines;
}
