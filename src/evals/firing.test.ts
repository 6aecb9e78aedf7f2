/** Firing: counts per latent, the rare and the frequent ones, and how many latents are active at a time. */
import { describe, expect, it } from "vitest";
import { ShapeError } from "../errors.ts";
import type { SparseActs } from "../kernels/kernels.ts";
import { FiringStats, log10Frequencies } from "./firing.ts";

function acts(tokens: readonly (readonly number[])[]): SparseActs {
  const offsets = [0];
  for (const latents of tokens) offsets.push(offsets[offsets.length - 1] + latents.length);
  const latents = tokens.flat();
  return {
    nTokens: tokens.length,
    offsets: Uint32Array.from(offsets),
    latents: Uint32Array.from(latents),
    values: new Float32Array(latents.length).fill(1),
  };
}

const times = <T>(n: number, value: T): T[] => new Array<T>(n).fill(value);

describe("firing", () => {
  it("counts per latent, merges, and bins log10 frequencies with the floor", () => {
    const firing = new FiringStats(4);
    firing.add(acts([[0, 1], [0]]));
    const more = new FiringStats(4);
    more.add(acts([[0], ...times(7, [])]));
    firing.merge(more);
    expect([...firing.counts]).toEqual([3, 1, 0, 0]);
    const { nNeverFired, nLatents, frequencyHistogram } = firing.summary();
    expect([nNeverFired, nLatents]).toEqual([2, 4]);
    expect(frequencyHistogram.counts.reduce((a, b) => a + b, 0)).toBe(4);
    expect(frequencyHistogram.counts[0]).toBe(2);
    expect(frequencyHistogram.counts[36]).toBe(1); // 10^-1
    expect(() => firing.add(acts([[4]]))).toThrow(ShapeError);
    expect([...log10Frequencies([1000, 10, 0], 1000)]).toEqual([0, -2, -10]);
  });

  it("tells ultra-rare latents from silent ones, and counts those above 1 % and 10 %, neither bound included", () => {
    const firing = new FiringStats(6);
    // of 2000 tokens: latent 0 fires on 1, latent 1 on 2, latent 2 on 20 (1 %), latent 3 on 21, latent 4 on 201
    const counts = [1, 2, 20, 21, 201, 0];
    firing.add(acts(Array.from({ length: 2000 }, (_, t) => counts.flatMap((n, i) => (t < n ? [i] : [])))));
    expect(firing.summary()).toMatchObject({
      nNeverFired: 1,
      ultraRare: { below: 1e-3, nLatents: 1 },
      nAbove1Percent: 2,
      nAbove10Percent: 1,
    });
  });

  it.each([
    [19, 1],
    [20, 0.1],
    [199_999, 1e-4],
    [200_000, 1e-5],
  ])("%d tokens resolve a share of %d", (nTokens, below) => {
    const firing = new FiringStats(1);
    firing.add(acts(times(nTokens, [])));
    expect(firing.summary().ultraRare.below).toBe(below);
  });

  it("spreads tokens by L0: histogram and quantiles, whatever the parts", () => {
    const l0s = [0, 1, 1, 2, 5, 5, 5, 9, 9, 130];
    const tokens = l0s.map((n) => Array.from({ length: n }, (_, i) => i));
    const whole = new FiringStats(200);
    whole.add(acts(tokens));
    const parts = [new FiringStats(200), new FiringStats(200)];
    tokens.forEach((token, i) => {
      parts[i % 2].add(acts([token]));
    });
    parts[1].merge(parts[0]);
    const { l0 } = whole.summary();
    expect(parts[1].summary()).toEqual(whole.summary());
    expect(l0.binWidth).toBe(3); // 131 values in at most 64 bins
    expect(l0.counts.slice(0, 4)).toEqual([4, 3, 0, 2]);
    expect(l0.counts).toHaveLength(44);
    expect(l0.counts[43]).toBe(1);
    expect(l0.quantiles.map(({ percentile, l0 }) => [percentile, l0])).toEqual([
      [0, 0],
      [5, 0],
      [25, 1],
      [50, 5],
      [75, 9],
      [95, 130],
      [100, 130],
    ]);
  });
});
