/** Sparse activations in slices that go into the module at once. */
import type { SparseActs } from "../kernels.ts";
import { tokensOfActs } from "../sparse-acts.ts";
import { SLICE_VALUES } from "./memory.ts";

/** Tokens from `first` on; offsets count from 0. */
export interface ActsSlice extends SparseActs {
  readonly first: number;
}

/** As many tokens as fit a slice, reconstructed ([nTokens, dIn]) as well as in entries; at least one. */
export function* slicesOfActs(acts: SparseActs, dIn: number): Generator<ActsSlice> {
  const { nTokens, offsets } = acts;
  const most = Math.max(1, Math.floor(SLICE_VALUES / dIn));
  for (let first = 0; first < nTokens; ) {
    let end = first + 1;
    while (end < nTokens && end - first < most && offsets[end + 1] - offsets[first] <= SLICE_VALUES) end++;
    yield { first, ...tokensOfActs(acts, first, end) };
    first = end;
  }
}
