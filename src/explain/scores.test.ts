/** Scores against cases worked out by hand, and against what must hold for any judge. */
import { describe, expect, it } from "vitest";
import { quantile } from "../evals/quantile.ts";
import { Philox } from "../random/philox.ts";
import { type Judgement, scoreOf } from "./scores.ts";

/** "++-" positives judged yes, yes, no. */
function judged(positives: string, negatives: string): Judgement[] {
  const of = (signs: string, isPositive: boolean) =>
    [...signs].map((sign): Judgement => ({ isPositive, says: sign === "+", probability: null }));
  return [...of(positives, true), ...of(negatives, false)];
}

const withProbabilities = (positives: readonly number[], negatives: readonly number[]): Judgement[] => [
  ...positives.map((probability) => ({ isPositive: true, says: probability > 0.5, probability })),
  ...negatives.map((probability) => ({ isPositive: false, says: probability > 0.5, probability })),
];

describe("scoreOf", () => {
  it("by hand: 3 of 4 positives, 5 of 6 negatives right", () => {
    const score = scoreOf(judged("+++-", "+-----"))!;
    expect(score.accuracy).toBeCloseTo((3 / 4 + 5 / 6) / 2, 12);
    expect(score.f1).toBeCloseTo(6 / (6 + 1 + 1), 12);
    expect(score.auc).toBeNull();
    expect(score.low).toBeLessThan(score.accuracy);
    expect(score.high).toBeGreaterThan(score.accuracy);
  });

  it("is 0.5 for a judge that says the same to everything, however many of each there are", () => {
    expect(scoreOf(judged("++++", "++++++++++++"))).toMatchObject({ accuracy: 0.5, low: 0.5, high: 0.5 });
    expect(scoreOf(judged("----", "------------"))).toMatchObject({ accuracy: 0.5, f1: 0 });
  });

  it("is null with fewer than four of either kind", () => {
    expect(scoreOf(judged("+++", "------"))).toBeNull();
    expect(scoreOf(judged("++++++", "---"))).toBeNull();
    expect(scoreOf([])).toBeNull();
  });

  it("AUC is the share of pairs in the right order, ties half, against the plain count", () => {
    const draw = new Philox(2, "auc");
    const positives = Array.from({ length: 9 }, (_, i) => Math.round(10 * draw.uniform(i)) / 10);
    const negatives = Array.from({ length: 7 }, (_, i) => Math.round(10 * draw.uniform(100 + i)) / 10);
    const pairs = positives.flatMap((p) => negatives.map((q) => (p > q ? 1 : p < q ? 0 : 0.5)));
    const expected = pairs.reduce<number>((sum, won) => sum + won, 0) / pairs.length;
    expect(scoreOf(withProbabilities(positives, negatives))!.auc).toBeCloseTo(expected, 12);
    expect(scoreOf(withProbabilities([0.6, 0.7, 0.8, 0.9], [0.1, 0.2, 0.3, 0.4]))!.auc).toBe(1);
    expect(scoreOf(withProbabilities([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]))!.auc).toBe(0.5);
  });

  it("its interval is what draws with replacement give, one by one", () => {
    const judgements = judged("++++++--", "-----++---");
    const { low, high } = scoreOf(judgements)!;
    const draw = new Philox(3, "replicates");
    let at = 0;
    const share = (of: readonly Judgement[]) =>
      of.reduce((sum) => {
        const { says, isPositive } = of[Math.floor(draw.uniform(at++) * of.length)];
        return sum + (says === isPositive ? 1 / of.length : 0);
      }, 0);
    const [positives, negatives] = [true, false].map((is) =>
      judgements.filter((each) => each.isPositive === is),
    );
    const replicates = Float64Array.from(
      { length: 40_000 },
      () => (share(positives) + share(negatives)) / 2,
    ).sort();
    expect(Math.abs(low - quantile(replicates, 0.025))).toBeLessThan(0.026); // a step of the accuracy is 1/40
    expect(Math.abs(high - quantile(replicates, 0.975))).toBeLessThan(0.026);
  });

  it("the interval of a judge right with 80 % covers 0.8 about as often as it says", () => {
    const draw = new Philox(4, "judge");
    let covered = 0;
    const rounds = 200;
    for (let round = 0; round < rounds; round++) {
      const judgements = Array.from({ length: 80 }, (_, i): Judgement => {
        const isRight = draw.uniform(80 * round + i) < 0.8;
        return { isPositive: i < 40, says: i < 40 === isRight, probability: null };
      });
      const { low, high } = scoreOf(judgements)!;
      if (low <= 0.8 && 0.8 <= high) covered++;
    }
    expect(covered / rounds).toBeGreaterThan(0.88);
    expect(covered / rounds).toBeLessThan(0.99);
  });
});
