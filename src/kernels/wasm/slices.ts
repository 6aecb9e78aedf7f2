/** Sparse activations in slices of tokens, and joined again. */
import type { SparseActs } from "../kernels.ts";
import { SLICE_VALUES } from "./memory.ts";

/** Tokens from `first` on; offsets count from 0. */
export interface ActsSlice extends SparseActs {
  readonly first: number;
}

/** As many tokens as fit a slice, reconstructed ([nTokens, dIn]) as well as in entries; at least one. */
export function* slicesOfActs(
  { nTokens, offsets, latents, values }: SparseActs,
  dIn: number,
): Generator<ActsSlice> {
  const most = Math.max(1, Math.floor(SLICE_VALUES / dIn));
  for (let first = 0; first < nTokens; ) {
    const begin = offsets[first];
    let end = first + 1;
    while (end < nTokens && end - first < most && offsets[end + 1] - begin <= SLICE_VALUES) end++;
    yield {
      first,
      nTokens: end - first,
      offsets: offsets.slice(first, end + 1).map((offset) => offset - begin),
      latents: latents.subarray(begin, offsets[end]),
      values: values.subarray(begin, offsets[end]),
    };
    first = end;
  }
}

/** One after the other. */
export function joinActs(parts: readonly SparseActs[]): SparseActs {
  const nTokens = parts.reduce((sum, part) => sum + part.nTokens, 0);
  const nEntries = parts.reduce((sum, part) => sum + part.latents.length, 0);
  const offsets = new Uint32Array(nTokens + 1);
  const latents = new Uint32Array(nEntries);
  const values = new Float32Array(nEntries);
  let token = 0;
  let entry = 0;
  for (const part of parts) {
    for (let t = 1; t <= part.nTokens; t++) offsets[token + t] = entry + part.offsets[t];
    latents.set(part.latents, entry);
    values.set(part.values, entry);
    token += part.nTokens;
    entry += part.latents.length;
  }
  return { nTokens, offsets, latents, values };
}
