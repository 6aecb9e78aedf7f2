/**
 * From a judge's verdicts to numbers. Verdicts that could not be read are not among them. Every number has its definition
 * beside it, in {@link SCORE_DEFINITIONS}, which results carry.
 */
import { percentileInterval } from "../evals/bootstrap.ts";
import { Philox } from "../random/philox.ts";
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
const REPLICATES = 1000;

export const SCORE_DEFINITIONS = {
  accuracy:
    "Balanced accuracy: (share of the contexts in which the latent fires that the judge says fit + share of those in which " +
    "it does not that the judge says do not) / 2. 0.5 is chance, whatever the judge's bias.",
  interval:
    `95 % percentile bootstrap: ${REPLICATES} replicates, contexts drawn with replacement among those where the latent fires ` +
    "and among those where it does not, each by itself. Of verdicts that are all alike the interval has no width; it does " +
    "not cover that another judge or other contexts might differ.",
  f1: "2·TP / (2·TP + FP + FN) of the judge's yes.",
  auc:
    "Probability that a context in which the latent fires is given a larger P(1) / (P(0) + P(1)) than one in which it does " +
    "not, ties counting half; P from the log-probabilities of the answer's tokens at its place, over the alternatives the " +
    "endpoint names. Only where every verdict has it.",
  judged: `Contexts with a verdict that could be read. Fewer than ${MIN_JUDGED} of either kind: no score.`,
} as const;

/** @returns null with fewer than {@link MIN_JUDGED} judged contexts of either kind */
export function scoreOf(judgements: readonly Judgement[], seed: number): Score | null {
  const positives = judgements.filter(({ isPositive }) => isPositive);
  const negatives = judgements.filter(({ isPositive }) => !isPositive);
  if (Math.min(positives.length, negatives.length) < MIN_JUDGED) return null;
  const tp = positives.filter(({ says }) => says).length;
  const fp = negatives.filter(({ says }) => says).length;
  const interval = accuracyInterval(positives, negatives, seed);
  return {
    accuracy: (tp / positives.length + 1 - fp / negatives.length) / 2,
    ...interval,
    f1: tp === 0 ? 0 : (2 * tp) / (2 * tp + fp + positives.length - tp),
    auc: areaUnderRoc(positives, negatives),
  };
}

function accuracyInterval(positives: readonly Judgement[], negatives: readonly Judgement[], seed: number) {
  const draw = new Philox(seed, "explain/bootstrap");
  let at = 0;
  const shareOfYes = (judgements: readonly Judgement[]) => {
    let yes = 0;
    for (let i = 0; i < judgements.length; i++)
      if (judgements[Math.floor(draw.uniform(at++) * judgements.length)].says) yes++;
    return yes / judgements.length;
  };
  const values = Float64Array.from(
    { length: REPLICATES },
    () => (shareOfYes(positives) + 1 - shareOfYes(negatives)) / 2,
  );
  return percentileInterval(values)!; // of finite numbers
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
