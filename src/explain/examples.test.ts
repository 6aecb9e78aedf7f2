/** The split: documents and windows first, both halves over all activations, the same for the same seed. */
import { describe, expect, it } from "vitest";
import { Philox } from "../random/philox.ts";
import { documentOf, type Example, splitExamples, trimmed, windowOf } from "./examples.ts";

const draw = new Philox(1, "examples");

function example(rank: number, changes: Partial<Example> = {}): Example {
  return {
    latent: 5,
    rank,
    value: 50 - rank,
    set: 0,
    document: rank,
    window: rank,
    position: 10,
    at: 2,
    tokens: ["a", "b", "c", "d"],
    acts: [0, 0, 50 - rank, 0],
    ...changes,
  };
}

const options = { seed: 0, nShown: 100, nHeldOut: 100 };

describe("splitExamples", () => {
  it("never puts a document or a window into both halves, whatever shares what", () => {
    for (let round = 0; round < 200; round++) {
      const n = 1 + Math.floor(40 * draw.uniform(3 * round));
      const spread = 1 + Math.floor(40 * draw.uniform(3 * round + 1));
      const pick = (i: number, what: number) =>
        Math.floor(new Philox(round, `pick/${what}`).uniform(i) * spread);
      const examples = Array.from({ length: n }, (_, i) =>
        example(i, { set: pick(i, 2) % 2, document: pick(i, 0), window: pick(i, 1) }),
      );
      const { shown, heldOut } = splitExamples(examples, { ...options, seed: round });
      expect(shown.length).toBeGreaterThan(0);
      const keys = new Set(shown.flatMap((each) => [documentOf(each), windowOf(each)]));
      for (const each of heldOut) {
        expect(keys.has(documentOf(each))).toBe(false);
        expect(keys.has(windowOf(each))).toBe(false);
      }
      expect(new Set(heldOut.map(documentOf)).size).toBe(heldOut.length);
      expect(new Set(heldOut.map(windowOf)).size).toBe(heldOut.length);
    }
  });

  it("joins documents through windows that both have tokens in", () => {
    const chain = [
      example(0, { document: 1, window: 1 }),
      example(1, { document: 2, window: 1 }),
      example(2, { document: 2, window: 2 }),
      example(3, { document: 3, window: 2 }),
    ];
    expect(splitExamples(chain, options)).toMatchObject({ shown: [{ rank: 0 }], heldOut: [] });
  });

  it("gives both halves strong and weak activations: of every two neighbours one each", () => {
    const examples = Array.from({ length: 40 }, (_, i) => example(i));
    for (let seed = 0; seed < 20; seed++) {
      const { shown, heldOut } = splitExamples(examples, { ...options, seed });
      expect(shown.map(({ rank }) => rank >> 1)).toEqual(Array.from({ length: 20 }, (_, i) => i));
      expect(heldOut.map(({ rank }) => rank >> 1)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    }
  });

  it("takes fewer at equal steps over the range, the strongest and the weakest included", () => {
    const examples = Array.from({ length: 40 }, (_, i) => example(i));
    const { shown } = splitExamples(examples, { ...options, nShown: 5 });
    expect(shown.map(({ rank }) => rank >> 1)).toEqual([0, 5, 10, 14, 19]);
  });

  it("is a function of seed and latent alone", () => {
    const examples = Array.from({ length: 30 }, (_, i) => example(i));
    const ranks = (seed: number, latent: number) =>
      splitExamples(
        examples.map((each) => ({ ...each, latent })),
        { ...options, seed },
      ).shown.map(({ rank }) => rank);
    expect(ranks(0, 5)).toEqual(ranks(0, 5));
    expect(ranks(0, 5)).not.toEqual(ranks(1, 5));
    expect(ranks(0, 5)).not.toEqual(ranks(0, 6));
    expect(splitExamples([], options)).toEqual({ shown: [], heldOut: [] });
  });
});

it("trimmed cuts tokens and activations alike and keeps the example's own", () => {
  expect(trimmed(example(0), 1, 0)).toMatchObject({ at: 1, tokens: ["b", "c"], acts: [0, 50] });
  expect(trimmed(example(0), 9, 9)).toEqual(example(0));
});
