import { expect, it } from "vitest";
import { cutOf, nextThreshold } from "./threshold.ts";

it("moves towards the smallest positive activation in f64, without bias correction", () => {
  let threshold = 0;
  for (let t = 0; t < 100; t++) threshold = nextThreshold(threshold, 0.01, 2);
  expect(threshold / 2).toBeCloseTo(1 - 0.99 ** 100, 12);
});

it("stays when nothing was positive", () => {
  expect(nextThreshold(1.25, 0.01, null)).toBe(1.25);
});

it("cutOf: the smallest selected value, or null", () => {
  const acts = (values: number[]) => ({
    nTokens: 1,
    offsets: new Uint32Array([0, values.length]),
    latents: Uint32Array.from(values.keys()),
    values: Float32Array.from(values),
  });
  expect(cutOf(acts([3, 0.5, 2]))).toBe(0.5);
  expect(cutOf(acts([]))).toBeNull();
});
