/**
 * The largest pre-activations of many rows, without a tokens × latents matrix: of each chunk of n rows the `slack`·k·n
 * largest positive ones, a batch-topk selection, which every engine does exactly.
 */
import type { Engine, SparseActs } from "../kernels/kernels.ts";

/** Held-out rows in chunks [n, dIn]. May be called again; the same chunks each time. */
export type HeldOutRows = () => AsyncIterable<Float32Array>;

export interface LargestActs {
  readonly nRows: number;
  /** [nEntries] each, in no order */
  readonly latents: Uint32Array;
  readonly values: Float32Array;
  /** every pre-activation above this is among them; 0: every positive one is */
  readonly floor: number;
  /** [dSae] on how many rows batch-topk at k, chunk by chunk, selects each latent */
  readonly selected: Uint32Array;
}

export async function largestActs(
  engine: Engine,
  rows: HeldOutRows,
  { k, slack }: { k: number; slack: number },
): Promise<LargestActs> {
  const { dIn, dSae } = engine.config;
  const wanted = Math.min(slack * k, dSae);
  const selected = new Uint32Array(dSae);
  const chunks: SparseActs[] = [];
  let [nRows, nEntries, floor] = [0, 0, 0];
  for await (const x of rows()) {
    const n = x.length / dIn;
    const acts = await engine.encode(x, { kind: "batch-topk", k: wanted });
    const ascending = acts.values.slice().sort();
    const isAll = wanted === dSae || ascending.length < Math.floor(wanted * n);
    if (!isAll) floor = Math.max(floor, ascending[0]);
    countSelected(acts, ascending, Math.floor(k * n), selected);
    chunks.push(acts);
    nRows += n;
    nEntries += ascending.length;
  }
  const latents = new Uint32Array(nEntries);
  const values = new Float32Array(nEntries);
  let at = 0;
  for (const acts of chunks) {
    latents.set(acts.latents, at);
    values.set(acts.values, at);
    at += acts.values.length;
  }
  return { nRows, latents, values, floor, selected };
}

/** Adds to `selected` the latents of the `most` largest entries of a chunk; of equal ones the first in its order. */
function countSelected(acts: SparseActs, ascending: Float32Array, most: number, selected: Uint32Array): void {
  if (most === 0) return;
  const cut = ascending.length < most ? 0 : ascending[ascending.length - most];
  let atCut = most - (ascending.length - 1 - ascending.lastIndexOf(cut));
  for (const [entry, value] of acts.values.entries()) {
    if (value < cut || (value === cut && atCut-- <= 0)) continue;
    selected[acts.latents[entry]] += 1;
  }
}
