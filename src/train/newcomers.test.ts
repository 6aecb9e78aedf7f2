import { expect, it } from "vitest";
import { afterShare, foundOf, newcomersArrive, shareOf } from "./newcomers.ts";

it("their share is what they took of the step's selection", () => {
  const fired = Uint32Array.from([5, 0, 3, 2]);
  expect(shareOf(fired, [2, 3])).toBe(0.5);
  expect(shareOf(fired, [])).toBe(0);
  expect(shareOf(new Uint32Array(4), [1])).toBe(0);
});

it("keeps mean, largest and latest of all steps, and about twenty points", () => {
  let state = newcomersArrive(1000, [3, 8], { threshold: 1, ve: 0.8 });
  const shares = Array.from({ length: 100 }, (_, i) => ((i * 37) % 100) / 200);
  for (const [i, share] of shares.entries()) state = afterShare(state, 1001 + i, share, 100);
  expect(state.shares.map(([step]) => step)).toEqual([
    1001,
    ...Array.from({ length: 20 }, (_, i) => 1005 + 5 * i),
  ]);
  expect(state.shares.every(([step, share]) => share === shares[step - 1001])).toBe(true);
  expect(state.latest).toBe(shares[99]);
  const found = foundOf(state, { threshold: 1.5, ve: 0.7 }, 1100);
  expect(found.meanShare).toBeCloseTo(shares.reduce((a, b) => a + b) / 100, 12);
  expect(found).toMatchObject({ steps: 100, maxShare: 0.495, threshold: [1, 1.5], ve: [0.8, 0.7] });
});
