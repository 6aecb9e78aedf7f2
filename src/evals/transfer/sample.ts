/** Some of many tokens, drawn by a seed. */
import { Philox } from "../../random/philox.ts";

/** `n` different numbers below `total`, ascending, drawn by the seed; all of them if there are no more. */
export function sampleOf(total: number, n: number, seed: number): number[] {
  if (n >= total) return Array.from({ length: total }, (_, i) => i);
  const draws = new Philox(seed, "transfer/sample");
  const chosen = new Set<number>();
  for (let i = 0; chosen.size < n; i++) chosen.add(Math.floor(draws.uniform(i) * total));
  return [...chosen].sort((a, b) => a - b);
}

/** Rows of x [n, dIn] at `indices`, copied. */
export function pickRows(x: Float32Array, dIn: number, indices: readonly number[]): Float32Array {
  const picked = new Float32Array(indices.length * dIn);
  for (const [i, row] of indices.entries()) picked.set(x.subarray(row * dIn, (row + 1) * dIn), i * dIn);
  return picked;
}
