/**
 * From a judge's verdicts to numbers. Verdicts that could not be read are not among them. Every number has its definition
 * beside it, in {@link SCORE_DEFINITIONS}, which results carry.
 */
import type { Verdict } from "./answers.ts";

/** A verdict on a context of which the truth is known. */
export interface Judgement extends Verdict {
  readonly isPositive: boolean;
}

export interface Score {
  /** balanced accuracy */
  readonly accuracy: number;
  /** 95 % */
  readonly low: number;
  readonly high: number;
  readonly f1: number;
  /** null: not all verdicts came with probabilities */
  readonly auc: number | null;
}

/** Contexts of each kind without which there is no score. */
export const MIN_JUDGED = 4;
const LEVEL = 0.95;

export const SCORE_DEFINITIONS = {
  accuracy:
    "Balanced accuracy: (share of the contexts in which the latent fires that the judge says fit + share of those in which " +
    "it does not that the judge says do not) / 2. 0.5 is chance, whatever the judge's bias.",
  interval:
    "95 % percentile bootstrap: contexts drawn with replacement among those where the latent fires and among those where it " +
    "does not, each by itself. How many of a draw are judged right is binomial, so the distribution of replicates is computed, " +
    "none is drawn. Of verdicts that are all right the interval has no width; it does not cover that another judge or " +
    "other contexts might differ.",
  f1: "2·TP / (2·TP + FP + FN) of the judge's yes.",
  auc:
    "Probability that a context in which the latent fires is given a larger P(1) / (P(0) + P(1)) than one in which it does " +
    "not, ties counting half; P from the log-probabilities of the answer's tokens at its place, over the alternatives the " +
    "endpoint names. Only where every verdict has it.",
  judged: `Contexts with a verdict that could be read. Fewer than ${MIN_JUDGED} of either kind: no score.`,
} as const;

/** @returns null with fewer than {@link MIN_JUDGED} judged contexts of either kind */
export function scoreOf(judgements: readonly Judgement[]): Score | null {
  const positives = judgements.filter(({ isPositive }) => isPositive);
  const negatives = judgements.filter(({ isPositive }) => !isPositive);
  if (Math.min(positives.length, negatives.length) < MIN_JUDGED) return null;
  const tp = positives.filter(({ says }) => says).length;
  const fp = negatives.filter(({ says }) => says).length;
  const right = [binomial(positives.length, tp), binomial(negatives.length, negatives.length - fp)] as const;
  return {
    accuracy: (tp / positives.length + 1 - fp / negatives.length) / 2,
    ...accuracyInterval(...right),
    f1: tp === 0 ? 0 : (2 * tp) / (2 * tp + fp + positives.length - tp),
    auc: areaUnderRoc(positives, negatives),
  };
}

/** P(i right among n drawn with replacement from n of which k are right), i = 0 … n. */
function binomial(n: number, k: number): Float64Array {
  const chances = new Float64Array(n + 1);
  chances[0] = 1;
  for (let drawn = 1; drawn <= n; drawn++)
    for (let i = drawn; i >= 0; i--)
      chances[i] = chances[i] * (1 - k / n) + (i > 0 ? chances[i - 1] * (k / n) : 0);
  return chances;
}

/** What the middle 95 % of (i/n + j/m) / 2 span, i and j independent. */
function accuracyInterval(positives: Float64Array, negatives: Float64Array): { low: number; high: number } {
  const [n, m] = [positives.length - 1, negatives.length - 1];
  const values = [...positives].flatMap((p, i) =>
    Array.from(negatives, (q, j) => ({ value: (i / n + j / m) / 2, chance: p * q })),
  );
  values.sort((a, b) => a.value - b.value);
  const quantile = (share: number) => {
    let below = 0;
    for (const { value, chance } of values) {
      below += chance;
      if (below >= share - 1e-12) return value;
    }
    return values[values.length - 1].value;
  };
  return { low: quantile((1 - LEVEL) / 2), high: quantile((1 + LEVEL) / 2) };
}

/** Mann–Whitney: all pairs of a positive and a negative. */
function areaUnderRoc(positives: readonly Judgement[], negatives: readonly Judgement[]): number | null {
  let won = 0;
  for (const { probability: p } of positives)
    for (const { probability: q } of negatives) {
      if (p === null || q === null) return null;
      won += p > q ? 1 : p === q ? 0.5 : 0;
    }
  return won / (positives.length * negatives.length);
}
