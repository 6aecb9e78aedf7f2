/** Activations cut into slices of tokens and joined again are the same activations. */
import { expect, it } from "vitest";
import type { SparseActs } from "../kernels.ts";
import { joinActs } from "../sparse-acts.ts";
import { SLICE_VALUES } from "./memory.ts";
import { slicesOfActs } from "./slices.ts";

const acts: SparseActs = {
  nTokens: 5,
  offsets: Uint32Array.of(0, 2, 2, 3, 3, 6),
  latents: Uint32Array.of(1, 4, 2, 0, 1, 2),
  values: Float32Array.of(1, 2, 3, 4, 5, 6),
};

it.each([
  [1, [1, 1, 1, 1, 1]],
  [2, [2, 2, 1]],
  [3, [3, 2]],
  [5, [5]],
])("%i tokens at once, as many as a slice of rows holds", (n, expected) => {
  const slices = [...slicesOfActs(acts, Math.floor(SLICE_VALUES / n))];
  expect(slices.map((slice) => slice.nTokens)).toEqual(expected);
  expect(slices.map((slice) => slice.offsets[0])).toEqual(slices.map(() => 0));
  expect(joinActs(slices)).toEqual(acts);
});

it("a token with more entries than a slice holds is a slice of its own", () => {
  const many = SLICE_VALUES + 1;
  const offsets = Uint32Array.of(0, 1, 1 + many, 2 + many);
  const [latents, values] = [new Uint32Array(2 + many), new Float32Array(2 + many)];
  const slices = [...slicesOfActs({ nTokens: 3, offsets, latents, values }, 1)];
  expect(slices.map(({ first, latents }) => [first, latents.length])).toEqual([
    [0, 1],
    [1, many],
    [2, 1],
  ]);
});

it("no tokens: no slices, and nothing joined is nothing", () => {
  const none = {
    nTokens: 0,
    offsets: Uint32Array.of(0),
    latents: new Uint32Array(0),
    values: new Float32Array(0),
  };
  expect([...slicesOfActs(none, 8)]).toEqual([]);
  expect(joinActs([])).toEqual(none);
});
