/** A batch's reconstructions a few tokens at a time, where they are looked at and not kept. */
import type { Engine, SparseActs } from "../kernels/kernels.ts";

const PART_TOKENS = 512;

/** Decodes `acts` in parts; `visit` gets x̂ of the tokens first, first + 1 …, [n, dIn]. */
export async function visitReconstructions(
  engine: Engine,
  acts: SparseActs,
  visit: (recon: Float32Array, first: number) => void,
): Promise<void> {
  for (let first = 0; first < acts.nTokens; first += PART_TOKENS)
    visit(await engine.decode(partOf(acts, first, Math.min(acts.nTokens, first + PART_TOKENS))), first);
}

/** Tokens [from, to) of `acts`. */
function partOf({ offsets, latents, values }: SparseActs, from: number, to: number): SparseActs {
  const [begin, end] = [offsets[from], offsets[to]];
  return {
    nTokens: to - from,
    offsets: offsets.slice(from, to + 1).map((offset) => offset - begin),
    latents: latents.subarray(begin, end),
    values: values.subarray(begin, end),
  };
}
