/**
 * Thresholds from held-out rows, in place of the moving average that training leaves. That average follows the cuts of
 * batches as the weights were a hundred steps ago, so L0 at inference is near k and not k. Calibrated, it is k.
 *
 *   L0(T) = #{(t, i) : p[t,i] > T} / N   over N rows; falls in steps as T rises from 0.   T* : L0(T*) = k
 *
 * Bisection on T ends in the gap between the (kN)-th largest positive pre-activation and the next, so that gap is looked up
 * among the largest ones (`largest-acts.ts`), and T* is its middle: what the rounding of another engine is least likely
 * to cross. Where equal values close the gap, the nearest L0 that can be had is taken; with fewer than kN positive values
 * T* is 0.
 */
import { ShapeError } from "../errors.ts";
import type { Engine } from "../kernels/kernels.ts";
import { type HeldOutRows, type LargestActs, largestActs } from "./largest-acts.ts";

/** A threshold for all latents. */
export interface Calibration {
  /** representable in f32, in units of p */
  readonly threshold: number;
  /** mean number of pre-activations above it on the rows */
  readonly l0: number;
  readonly nRows: number;
}

/** A threshold for each latent, beside the common one. */
export interface LatentCalibration extends Calibration {
  /** [dSae] */
  readonly thresholds: Float32Array;
  /** mean number of activations on the rows with these */
  readonly l0PerLatent: number;
  /** latents with a threshold of their own; the others have the common one */
  readonly nOwn: number;
}

/** A latent that batch-topk selects on fewer of the rows has no frequency to speak of, and no threshold of its own. */
export const LEAST_FIRINGS = 16;

/**
 * The threshold at which L0 on `rows` is k, within half an entry of all rows together unless equal values forbid it.
 * @throws {ShapeError} there are no rows, or k is not positive
 */
export async function calibrateThreshold(engine: Engine, rows: HeldOutRows, k: number): Promise<Calibration> {
  return (await commonThreshold(engine, rows, k)).calibration;
}

/**
 * The common threshold, and for each latent the one at which it fires on `rows` as often as batch-topk at k selects it
 * there, chunk by chunk: m_i = #{t : (t, i) selected}, T_i in the gap between its m_i-th largest value and the next. A
 * latent with m_i < `LEAST_FIRINGS`, or with values too small to have been looked at, keeps the common threshold. @throws {ShapeError} as `calibrateThreshold`
 */
export async function calibrateLatents(
  engine: Engine,
  rows: HeldOutRows,
  k: number,
): Promise<LatentCalibration> {
  const { calibration, acts } = await commonThreshold(engine, rows, k);
  const { dSae } = engine.config;
  const thresholds = new Float32Array(dSae).fill(calibration.threshold);
  let nOwn = 0;
  for (const [i, values] of valuesByLatent(acts, dSae).entries()) {
    const m = acts.selected[i];
    if (m < LEAST_FIRINGS || values.sort()[values.length - m] <= acts.floor) continue;
    thresholds[i] = edgeOf(values, m, acts.floor).threshold;
    nOwn += 1;
  }
  let nEntries = 0;
  for (const [entry, value] of acts.values.entries())
    if (value > thresholds[acts.latents[entry]]) nEntries += 1;
  return { ...calibration, thresholds, l0PerLatent: nEntries / calibration.nRows, nOwn };
}

/** Searched twice as deep until everything down to the threshold is there. */
async function commonThreshold(
  engine: Engine,
  rows: HeldOutRows,
  k: number,
): Promise<{ calibration: Calibration; acts: LargestActs }> {
  if (!(k > 0)) throw new ShapeError("k to calibrate for", k, "a positive number");
  for (let slack = 2; ; slack *= 2) {
    const acts = await largestActs(engine, rows, { k, slack });
    const { nRows, floor } = acts;
    if (nRows === 0) throw new ShapeError("rows to calibrate on", 0, "at least one");
    const values = acts.values.slice().sort();
    const { threshold, count } = edgeOf(values, Math.round(k * nRows), floor);
    if (floor === 0 || threshold > floor)
      return { calibration: { threshold, l0: count / nRows, nRows }, acts };
  }
}

/**
 * The threshold that leaves the `m` largest of `ascending`, which holds every value above `floor`: the middle of the gap
 * below them. Of equal values at the edge all or none are left, whichever is nearer to m (none, if both are).
 */
function edgeOf(
  ascending: Float32Array,
  m: number,
  floor: number,
): { readonly threshold: number; readonly count: number } {
  const n = ascending.length;
  if (m > n) return { threshold: floor, count: n };
  if (m === 0) return { threshold: n === 0 ? floor : ascending[n - 1], count: 0 };
  const edge = ascending[n - m];
  const first = ascending.indexOf(edge);
  const above = n - 1 - ascending.lastIndexOf(edge);
  const atLeast = n - first;
  if (atLeast > m && m - above <= atLeast - m) return { threshold: edge, count: above };
  const below = Math.max(floor, first === 0 ? 0 : ascending[first - 1]);
  const middle = Math.fround((below + edge) / 2);
  return { threshold: middle < edge ? middle : below, count: atLeast };
}

/** The values of each latent, [dSae] arrays. */
function valuesByLatent({ latents, values }: LargestActs, dSae: number): Float32Array[] {
  const ends = new Uint32Array(dSae);
  for (const latent of latents) ends[latent] += 1;
  const own = Array.from(ends, (n) => new Float32Array(n));
  for (const [entry, latent] of latents.entries()) own[latent][--ends[latent]] = values[entry];
  return own;
}
