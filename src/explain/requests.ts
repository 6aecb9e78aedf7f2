/** From what is to be known to what is sent. */
import type { ScorerName } from "../dashboard/explanations.ts";
import type { ChatRequest } from "./chat.ts";
import type { Context } from "./contexts.ts";
import { explainPrompt, judgePrompt } from "./prompts.ts";
import type { Subject } from "./subjects.ts";

export interface RequestOptions {
  readonly model: string;
  readonly judge: string;
  readonly temperature: number;
  readonly seed: number;
  /** longest answers, in tokens */
  readonly explainAnswerTokens: number;
  readonly judgeAnswerTokens: number;
}

export function explainRequest({ shown, facts, promoted }: Subject, options: RequestOptions): ChatRequest {
  return {
    model: options.model,
    messages: explainPrompt(shown, facts.maxAct, promoted),
    maxAnswerTokens: options.explainAnswerTokens,
    temperature: options.temperature,
    seed: options.seed,
    logprobs: false,
  };
}

export function judgeRequest(
  scorer: ScorerName,
  description: string,
  contexts: readonly Context[],
  options: RequestOptions,
): ChatRequest {
  return {
    model: options.judge,
    messages: judgePrompt(
      scorer,
      description,
      contexts.map(({ texts }) => texts[scorer]),
    ),
    maxAnswerTokens: options.judgeAnswerTokens,
    temperature: 0,
    seed: options.seed,
    logprobs: true,
  };
}

/** As equal as can be, none larger than `size`: a last one of a single context would be judged otherwise than the rest. */
export function batches<T>(items: readonly T[], size: number): T[][] {
  const n = Math.ceil(items.length / size);
  return Array.from({ length: n }, (_, i) =>
    items.slice(Math.floor((i * items.length) / n), Math.floor(((i + 1) * items.length) / n)),
  );
}
