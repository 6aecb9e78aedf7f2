/** Sparse activations cut by tokens and joined again. */
import type { SparseActs } from "./kernels.ts";

/** Tokens [from, to) of `acts`, counted from 0; entries are views. */
export function tokensOfActs({ offsets, latents, values }: SparseActs, from: number, to: number): SparseActs {
  const [begin, end] = [offsets[from], offsets[to]];
  return {
    nTokens: to - from,
    offsets: offsets.slice(from, to + 1).map((offset) => offset - begin),
    latents: latents.subarray(begin, end),
    values: values.subarray(begin, end),
  };
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
