/** What is known to be silent, and what is taken for a negative: never a context that may well have the latent in it. */
import { describe, expect, it } from "vitest";
import type { Example } from "./examples.ts";
import { type Candidates, chooseNegatives, drawCandidates, MAX_ERROR } from "./negatives.ts";
import { chanceOfFiring, firstThatKnows, type SilenceOf, silenceByIndex } from "./silence.ts";

function example(n: number, changes: Partial<Example> = {}): Example {
  return {
    latent: 100 + n,
    rank: 0,
    value: 1,
    set: 0,
    document: n,
    window: n,
    position: 10,
    at: 1,
    tokens: ["a", "b", "c"],
    acts: [0, 1, 0],
    ...changes,
  };
}

describe("silence by the index", () => {
  const own = [
    example(1, { latent: 7, acts: [0, 1, 2] }), // fires at 10 and 11 of window 1
    example(1, { latent: 7, position: 11, acts: [1, 2, 0] }), // the same two, seen again
    example(2, { latent: 7 }), // at 10 of window 2
  ];
  const silence = (nActive: number) => silenceByIndex(new Map([[7, own]]), () => nActive);
  const piece = (window: number, from: number, to: number, set = 0) => ({ set, window, from, to });

  it("is proved where the index shows every activation, and only there", () => {
    expect(silence(3)(7, piece(9, 0, 100))).toBe("silent");
    expect(silence(4)(7, piece(9, 0, 100))).toBe("unknown");
  });

  it("knows the positions on which it fires, of their own set", () => {
    expect(silence(3)(7, piece(1, 11, 12))).toBe("fires");
    expect(silence(3)(7, piece(1, 12, 40))).toBe("silent");
    expect(silence(3)(7, piece(1, 0, 10))).toBe("silent");
    expect(silence(4)(7, piece(1, 10, 11))).toBe("fires");
    expect(silence(3)(7, piece(1, 11, 12, 1))).toBe("silent");
  });

  it("of a latent without examples is known if it never fires", () => {
    expect(silence(0)(8, piece(1, 0, 9))).toBe("silent");
    expect(silence(5)(8, piece(1, 0, 9))).toBe("unknown");
  });

  it("asks one source after the other", () => {
    const all = firstThatKnows(
      () => "unknown",
      () => "fires",
      () => "silent",
    );
    expect(all(1, piece(1, 0, 9))).toBe("fires");
  });
});

describe("chooseNegatives", () => {
  const range = (from: number, n: number) => Array.from({ length: n }, (_, i) => example(from + i));
  const candidates: Candidates = { hard: range(0, 20), matched: range(20, 20), random: range(40, 20) };
  const choose = (silence: SilenceOf, density = 0.001, of = candidates) =>
    chooseNegatives(of, { latent: 7, density, n: 10, silence });

  it("takes up to half hard, up to a quarter matched, the rest random", () => {
    const kinds = choose(() => "silent").map(({ kind }) => kind);
    expect(kinds).toEqual([
      ...Array(5).fill("hard"),
      ...Array(2).fill("matched"),
      ...Array(3).fill("random"),
    ]);
    expect(choose(() => "silent").every(({ error }) => error === 0)).toBe(true);
  });

  it("takes hard and matched ones only where silence is proved, random ones with their chance", () => {
    const unproved = choose(() => "unknown");
    expect(unproved.map(({ kind }) => kind)).toEqual(Array(10).fill("random"));
    for (const { error } of unproved) expect(error).toBeCloseTo(1 - 0.999 ** 3, 12);
    expect(choose(() => "unknown", 0.2)).toEqual([]);
    expect(chanceOfFiring(0.2, 3)).toBeGreaterThan(MAX_ERROR);
  });

  it("never takes one in which it fires, nor two of a document or window", () => {
    expect(choose(() => "fires")).toEqual([]);
    const silence: SilenceOf = (_, { window }) => (window % 2 === 0 ? "silent" : "fires");
    expect(choose(silence).every(({ example }) => example.window % 2 === 0)).toBe(true);
    const same = {
      hard: range(0, 3),
      matched: range(0, 3),
      random: [...range(0, 3), example(90, { document: 1 })],
    };
    expect(choose(() => "silent", 0, same)).toHaveLength(3);
  });

  it("draws candidates by seed and purpose, none of what is taken", () => {
    const draw = (seed: number) =>
      drawCandidates(range(0, 30), {
        n: 10,
        seed,
        purpose: "p",
        taken: [example(3), example(99, { window: 4 })],
      });
    expect(draw(0)).toEqual(draw(0));
    expect(draw(0)).not.toEqual(draw(1));
    for (const { document } of [...draw(0), ...draw(1), ...draw(2)]) expect([3, 4]).not.toContain(document);
  });
});
