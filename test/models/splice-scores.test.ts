/** Cross-entropy and KL from logits, against their plain equations, and where these would overflow or divide by zero. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CleanTokens, type Logits } from "../../src/models/token-scores.ts";
import { furthest, naiveCe, naiveKl } from "./spliced.ts";

const VOCAB = 7;
const logits = (rows: readonly (readonly number[])[]): Logits => ({
  data: Float32Array.from(rows.flat()),
  vocab: VOCAB,
  rowOf: rows.map((_, i) => i),
});
const row = fc.array(fc.float({ min: -60, max: 60, noNaN: true }), { minLength: VOCAB, maxLength: VOCAB });

describe("scores of tokens", () => {
  it("are those of the equations, whatever the logits", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(row, row), { minLength: 1, maxLength: 5 }), (pairs) => {
        const [clean, other] = [logits(pairs.map(([p]) => p)), logits(pairs.map(([, q]) => q))];
        const next = Int32Array.from(pairs, (_, i) => (i === 2 ? -1 : i));
        const tokens = { rows: Uint32Array.from(pairs, (_, i) => i), next };
        const scores = new CleanTokens(clean, next);
        const { ce, kl } = scores.compare(other);
        expect(furthest(scores.ce, naiveCe(clean.data, tokens, VOCAB))).toBeLessThan(1e-11);
        expect(furthest(ce, naiveCe(other.data, tokens, VOCAB))).toBeLessThan(1e-11);
        expect(furthest(kl, naiveKl(clean.data, other.data, tokens, VOCAB))).toBeLessThan(1e-11);
        expect(Math.min(...kl)).toBeGreaterThan(-1e-13);
        expect(scores.compare(clean).kl.every((value) => value === 0)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it("a constant added to all logits changes nothing, and large ones do not overflow", () => {
    const plain = [3, -1, 0, 2, 0.5, -4, 1];
    const next = Int32Array.of(3);
    const clean = new CleanTokens(logits([plain.map((value) => value + 4096)]), next);
    expect(clean.ce[0]).toBeCloseTo(new CleanTokens(logits([plain]), next).ce[0], 12);
    expect(clean.compare(logits([plain])).kl[0]).toBeCloseTo(0, 12);
    const certain = new CleanTokens(logits([[3e38, -3e38, 0, 0, 0, 0, 0]]), Int32Array.of(0));
    expect([...certain.ce]).toEqual([0]);
  });

  it("a token ruled out in both runs counts nothing; one ruled out only by the other is infinitely far", () => {
    const never = Number.NEGATIVE_INFINITY;
    const clean = new CleanTokens(logits([[1, never, 0, 0, 0, 0, 0]]), Int32Array.of(0));
    expect(clean.compare(logits([[2, never, 0, 0, 0, 0, 0]])).kl[0]).toBeGreaterThan(0);
    expect(clean.compare(logits([[1, 0, never, 0, 0, 0, 0]])).kl[0]).toBe(Number.POSITIVE_INFINITY);
  });

  it("works on rows in any order, and in room that is lent", () => {
    const rows = [
      [1, 2, 3, 4, 5, 6, 7],
      [7, 1, 1, 1, 1, 1, 1],
    ];
    const next = Int32Array.of(0, 6);
    const apart = new CleanTokens({ ...logits(rows), rowOf: [1, 0] }, next, new Float64Array(100));
    const [first, second] = [1, 0].map(
      (i, at) => new CleanTokens(logits([rows[i]]), Int32Array.of(next[at])),
    );
    expect([...apart.ce]).toEqual([first.ce[0], second.ce[0]]);
  });
});
