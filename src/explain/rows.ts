/** From answers to a row of explanations.parquet, and the means over rows. */
import type { ScorerName } from "../dashboard/explanations.ts";
import type { Verdict } from "./answers.ts";
import type { ChatAnswer } from "./chat.ts";
import type { Context } from "./contexts.ts";
import type { ExplanationRow } from "./explanations.ts";
import { type Case, SCORER_NAMES, type Tested } from "./plan.ts";
import { type Judgement, MIN_JUDGED, type Score, scoreOf } from "./scores.ts";

/** An explanation, or why there is none. */
export interface Explained {
  readonly explanation: string | null;
  readonly failure: string | null;
  readonly usage: ChatAnswer["usage"];
}

/** What a judge said to one request; `verdicts` null: nothing that could be read. */
export interface Verdicts {
  readonly latent: number;
  readonly tested: Tested;
  readonly scorer: ScorerName;
  readonly contexts: readonly Context[];
  readonly verdicts: readonly Verdict[] | null;
  readonly usage: ChatAnswer["usage"];
  /** not asked: the cap on tokens was reached */
  readonly isLeftOut: boolean;
}

export interface RowOptions {
  readonly method: string;
  readonly model: string;
  readonly judge: string;
  /** whose explanation served as control */
  readonly control: number | null;
}

export function rowOf(
  { subject, testSet }: Case,
  { explanation, failure, usage }: Explained,
  judged: readonly Verdicts[],
  options: RowOptions,
): ExplanationRow {
  const wasScored = explanation !== null && testSet !== null;
  const set = wasScored && !("failure" in testSet) ? testSet : null;
  const scores = set === null ? {} : scoresOf(judged);
  const usages = judged.map((each) => each.usage).filter((each) => each !== null);
  const hasAll = SCORER_NAMES.every((scorer) => (scores[`${scorer}_accuracy`] ?? null) !== null);
  return {
    latent: subject.facts.latent,
    method: options.method,
    model: options.model,
    judge: set === null ? null : options.judge,
    explanation,
    failure,
    score_failure: !wasScored
      ? null
      : "failure" in testSet
        ? testSet.failure
        : hasAll
          ? null
          : judged.some(({ tested, isLeftOut }) => tested === "explanation" && isLeftOut)
            ? "the cap on tokens was reached"
            : `fewer than ${MIN_JUDGED} contexts of a kind with a verdict that could be read`,
    n_shown: subject.shown.length,
    n_positives: set?.nPositives ?? null,
    n_negatives: set?.nNegatives ?? null,
    n_hard_negatives: set?.nHard ?? null,
    n_matched_negatives: set?.nMatched ?? null,
    negative_error: set?.negativeError ?? null,
    control_latent: set === null ? null : options.control,
    ...scores,
    explain_prompt_tokens: usage?.promptTokens ?? null,
    explain_answer_tokens: usage?.answerTokens ?? null,
    score_prompt_tokens:
      set === null || usages.length === 0 ? null : total(usages.map((u) => u.promptTokens)),
    score_answer_tokens:
      set === null || usages.length === 0 ? null : total(usages.map((u) => u.answerTokens)),
  };
}

function scoresOf(judged: readonly Verdicts[]): Record<string, number | null> {
  const columns: Record<string, number | null> = {};
  for (const scorer of SCORER_NAMES) {
    const of = (tested: Tested) => judged.filter((each) => each.scorer === scorer && each.tested === tested);
    const own = of("explanation");
    const score = scoreAll(own);
    const [control, baseline] = [scoreAll(of("control")), scoreAll(of("baseline"))];
    const nContexts = (each: readonly Verdicts[]) => total(each.map(({ contexts }) => contexts.length));
    const isWhole = !own.some(({ isLeftOut }) => isLeftOut);
    Object.assign(columns, {
      [`${scorer}_accuracy`]: score?.accuracy ?? null,
      [`${scorer}_low`]: score?.low ?? null,
      [`${scorer}_high`]: score?.high ?? null,
      [`${scorer}_f1`]: score?.f1 ?? null,
      [`${scorer}_auc`]: score?.auc ?? null,
      [`${scorer}_judged`]: isWhole ? nContexts(own.filter(({ verdicts }) => verdicts !== null)) : null,
      [`${scorer}_failed`]: isWhole ? nContexts(own.filter(({ verdicts }) => verdicts === null)) : null,
      [`${scorer}_control`]: control?.accuracy ?? null,
      [`${scorer}_control_auc`]: control?.auc ?? null,
      [`${scorer}_baseline`]: baseline?.accuracy ?? null,
      [`${scorer}_baseline_auc`]: baseline?.auc ?? null,
    });
  }
  return columns;
}

/** Of all batches of one scorer and one text; null where one was not asked, or too little could be read. */
function scoreAll(judged: readonly Verdicts[]): Score | null {
  if (judged.some(({ isLeftOut }) => isLeftOut)) return null;
  const judgements = judged.flatMap(({ contexts, verdicts }) =>
    (verdicts ?? []).map((verdict, i): Judgement => ({ ...verdict, isPositive: contexts[i].isPositive })),
  );
  return scoreOf(judgements);
}

/** Mean of each score over the rows that have it, and how many have. */
export function meansOf(rows: readonly ExplanationRow[]): Record<string, number | null> {
  const names = SCORER_NAMES.flatMap((scorer) =>
    ["accuracy", "auc", "control", "control_auc", "baseline", "baseline_auc"].map(
      (what) => `${scorer}_${what}`,
    ),
  );
  return Object.fromEntries(
    [...names, "negative_error"].map((name) => {
      const values = rows.map((row) => row[name] ?? null).filter((value) => typeof value === "number");
      return [name, values.length === 0 ? null : total(values) / values.length];
    }),
  );
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
