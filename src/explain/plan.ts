/** What explaining some latents would take, from the requests themselves; nothing is sent. */
import { SCORERS, type ScorerName } from "../dashboard/explanations.ts";
import { estimatedTokens } from "./budget.ts";
import type { ChatRequest } from "./chat.ts";
import type { Context, TestSet } from "./contexts.ts";
import { labelDescription } from "./prompts.ts";
import { batches, explainRequest, judgeRequest, type RequestOptions } from "./requests.ts";
import type { Subject } from "./subjects.ts";

export const SCORER_NAMES = Object.keys(SCORERS) as ScorerName[];

/** Whose text is under test: the explanation, another latent's, the baseline label. */
export type Tested = "explanation" | "control" | "baseline";

/** A latent, what is asked about it, and its test set or why there is none; null: it is not to be scored. */
export interface Case {
  readonly subject: Subject;
  readonly testSet: TestSet | { readonly failure: string } | null;
}

/** Requests and tokens, counted from the requests themselves. */
export interface ExplainPlan {
  readonly nLatents: number;
  /** of them, those that never fire, of which nothing is asked */
  readonly nSilent: number;
  readonly nToScore: number;
  /** asked to be scored, and cannot be */
  readonly nUnscorable: number;
  readonly explaining: Cost;
  readonly scoring: Cost;
  /** expected, both together */
  readonly tokens: number;
  readonly cap: number;
  /** two requests as they would be sent: an explanation's, and a judge's with a made-up description */
  readonly samples: readonly ChatRequest[];
}

export interface Cost {
  readonly requests: number;
  readonly tokens: number;
}

/** Tokens of a usual explanation with a thought before it, and of one verdict. */
const EXPLANATION_TOKENS = 120;
const VERDICT_TOKENS = 3;
/** Stands for explanations there are not yet; of a usual length. */
const PLACEHOLDER =
  "(an explanation of about this length: at most twenty words that say on which tokens and in which texts it is active)";

export interface PlanOptions extends RequestOptions {
  readonly contextsPerRequest: number;
  readonly control: boolean;
  readonly baseline: boolean;
  readonly maxTokensTotal: number;
}

export function planExplaining(cases: readonly Case[], options: PlanOptions): ExplainPlan {
  const asked = cases.filter(({ subject }) => subject.shown.length > 0);
  const toScore = cases.filter(({ testSet }) => testSet !== null);
  const explaining = asked.map(({ subject }) => explainRequest(subject, options));
  const scoring = asked.flatMap(({ subject, testSet }) => {
    if (testSet === null || "failure" in testSet) return [];
    const { label, labelKind } = subject.facts;
    const texts = [
      PLACEHOLDER,
      ...(options.control ? [PLACEHOLDER] : []),
      ...(options.baseline ? [labelDescription(label, labelKind)] : []),
    ].filter((text) => text !== null);
    return texts.flatMap((text) => judgeRequests(text, testSet.contexts, options));
  });
  const cost = (requests: readonly { request: ChatRequest; answerTokens: number }[]): Cost => ({
    requests: requests.length,
    tokens: requests.reduce((sum, each) => sum + estimatedTokens(each.request, each.answerTokens), 0),
  });
  const costs = {
    explaining: cost(
      explaining.map((request) => ({
        request,
        answerTokens: Math.min(EXPLANATION_TOKENS, options.explainAnswerTokens),
      })),
    ),
    scoring: cost(
      scoring.map(({ request, contexts }) => ({ request, answerTokens: VERDICT_TOKENS * contexts.length })),
    ),
  };
  return {
    nLatents: cases.length,
    nSilent: cases.length - asked.length,
    nToScore: toScore.length,
    nUnscorable: toScore.filter(({ testSet }) => testSet !== null && "failure" in testSet).length,
    ...costs,
    tokens: costs.explaining.tokens + costs.scoring.tokens,
    cap: options.maxTokensTotal,
    samples: [...explaining.slice(0, 1), ...scoring.slice(0, 1).map(({ request }) => request)],
  };
}

export interface JudgeRequest {
  readonly scorer: ScorerName;
  readonly contexts: readonly Context[];
  readonly request: ChatRequest;
}

/** All that is asked about a text under test: the same batches, whatever the text. */
export function judgeRequests(
  text: string,
  contexts: readonly Context[],
  options: RequestOptions & { readonly contextsPerRequest: number },
): JudgeRequest[] {
  return SCORER_NAMES.flatMap((scorer) =>
    batches(contexts, options.contextsPerRequest).map((batch) => ({
      scorer,
      contexts: batch,
      request: judgeRequest(scorer, text, batch, options),
    })),
  );
}
