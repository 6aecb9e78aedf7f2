/** Token windows out of nothing but a seed, in memory: what a bench of harvesting harvests. */
import type { WindowBatch, WindowSet } from "../corpus/windows.ts";
import { Philox } from "../random/philox.ts";

export interface MadeUpWindows {
  /** real tokens, at least; whole windows */
  readonly tokens: number;
  readonly contextSize: number;
  /** false: all windows are full; true: from 2 tokens to all, short ones the most */
  readonly mixedLengths: boolean;
  /** ids are below this */
  readonly vocabulary: number;
}

/** At least `tokens` tokens of seeded ids in windows. Position 0 is not kept, as BOS is not. */
export function madeUpWindows({
  tokens,
  contextSize,
  mixedLengths,
  vocabulary,
}: MadeUpWindows): WindowSet & { readonly all: WindowBatch } {
  const draw = new Philox(0, "bench/windows");
  const lengths: number[] = [];
  for (let nTokens = 0; nTokens < tokens; nTokens += lengths[lengths.length - 1]) {
    const share = mixedLengths ? draw.uniform(lengths.length) ** 2 : 1;
    lengths.push(Math.max(2, Math.ceil(contextSize * share)));
  }
  const n = lengths.length * contextSize;
  const isReal = (at: number) => at % contextSize < lengths[Math.floor(at / contextSize)];
  const id = (at: number) => (isReal(at) ? draw.u32(n + at) % vocabulary : 0);
  const isKept = (at: number) => (at % contextSize > 0 && isReal(at) ? 1 : 0);
  const all = {
    first: 0,
    nWindows: lengths.length,
    contextSize,
    lengths: Uint32Array.from(lengths),
    tokenIds: Uint32Array.from({ length: n }, (_, at) => id(at)),
    keep: Uint8Array.from({ length: n }, (_, at) => isKept(at)),
    role: new Uint8Array(n),
    document: new Uint32Array(n),
  };
  return {
    all,
    dir: "in memory",
    manifest: {
      format: "lapidary-windows",
      version: 1,
      set: "bench",
      contextSize,
      nWindows: all.nWindows,
      nTokens: lengths.reduce((sum, length) => sum + length, 0),
      nKept: all.keep.reduce((sum, keep) => sum + keep, 0),
      packing: "document",
      bosTokenId: null,
      excludedTokenIds: [],
      tokenizerHash: "",
      chatTemplateHash: null,
      sources: [],
      files: [],
    },
    read: async (from, to) => windowRange(all, from, to),
  };
}

/** Windows [from, to) of a batch; views, not copies. */
export function windowRange(windows: WindowBatch, from: number, to: number): WindowBatch {
  const { contextSize } = windows;
  const range = <A extends Uint32Array | Uint8Array>(array: A) =>
    array.subarray(from * contextSize, to * contextSize) as A;
  return {
    first: windows.first + from,
    nWindows: to - from,
    contextSize,
    lengths: windows.lengths.subarray(from, to),
    tokenIds: range(windows.tokenIds),
    keep: range(windows.keep),
    role: range(windows.role),
    document: range(windows.document),
  };
}
