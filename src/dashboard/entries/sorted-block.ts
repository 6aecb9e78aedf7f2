/**
 * Activations sorted by latent, a block of consecutive latents at a time: a counting sort whose counts are known from the
 * encoding pass. Each block goes through all entries once; a block is as large as the budget allows.
 */
import type { Entries } from "./entries.ts";

/** Bytes of an entry in a sorted block: token u32, value f32. */
export const SORTED_BYTES = 8;

/** The activations of latents [from, to): latent i has entries starts[i − from] … starts[i − from + 1], tokens ascending. */
export interface SortedBlock {
  readonly from: number;
  readonly to: number;
  readonly starts: Uint32Array;
  readonly tokens: Uint32Array;
  readonly values: Float32Array;
}

/** Cuts latents into blocks of at most `budgetEntries` activations, one latent at least. */
export function blocksOf(count: Uint32Array, budgetEntries: number): [from: number, to: number][] {
  const blocks: [number, number][] = [];
  let from = 0;
  let held = 0;
  for (let latent = 0; latent < count.length; latent++) {
    if (latent > from && held + count[latent] > budgetEntries) {
      blocks.push([from, latent]);
      from = latent;
      held = 0;
    }
    held += count[latent];
  }
  if (count.length > from) blocks.push([from, count.length]);
  return blocks;
}

export async function sortBlock(
  entries: Entries,
  count: Uint32Array,
  [from, to]: readonly [number, number],
): Promise<SortedBlock> {
  const starts = new Uint32Array(to - from + 1);
  for (let i = from; i < to; i++) starts[i - from + 1] = starts[i - from] + count[i];
  const next = starts.slice();
  const tokens = new Uint32Array(starts[to - from]);
  const values = new Float32Array(starts[to - from]);
  for (let s = 0; s < entries.nSegments; s++) {
    const segment = await entries.segment(s);
    for (let t = 0; t < segment.offsets.length - 1; t++) {
      const end = segment.offsets[t + 1];
      for (let e = segment.offsets[t]; e < end; e++) {
        const latent = segment.latents[e];
        if (latent < from || latent >= to) continue;
        const at = next[latent - from]++;
        tokens[at] = segment.firstToken + t;
        values[at] = segment.values[e];
      }
    }
  }
  return { from, to, starts, tokens, values };
}

/** A latent's activations: views. */
export interface LatentActs {
  readonly latent: number;
  /** [n] rows, ascending */
  readonly tokens: Uint32Array;
  /** [n] */
  readonly values: Float32Array;
}

export function actsOf({ from, starts, tokens, values }: SortedBlock, latent: number): LatentActs {
  const [begin, end] = [starts[latent - from], starts[latent - from + 1]];
  return { latent, tokens: tokens.subarray(begin, end), values: values.subarray(begin, end) };
}
