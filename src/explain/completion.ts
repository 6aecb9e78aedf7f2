/**
 * The wire format: a request as the body of POST …/chat/completions, and the body of its answer. Follows OpenAI's API
 * reference, of which a look-alike need give no more than `choices[0].message.content`.
 */
import { z } from "zod";
import type { ChatAnswer, ChatRequest } from "./chat.ts";

/** Alternatives asked for at each token; servers allow 5 at least. */
const TOP_LOGPROBS = 5;

/** What some servers do without: left out once a server has refused it. */
export type OptionalField = (typeof OPTIONAL_FIELDS)[number];
const OPTIONAL_FIELDS = ["logprobs", "seed", "temperature", "max_tokens"] as const;

/** How servers say that they do not take a parameter; one that is too large is another matter. */
const NOT_TAKEN = /unsupported|not support|not allowed|not permitted|unrecognized|unknown|unexpected/i;

/** `refused`: fields to leave out; instead of max_tokens its newer name is sent. */
export function requestBody(
  request: ChatRequest,
  refused: ReadonlySet<OptionalField>,
): Record<string, unknown> {
  const { model, messages, maxAnswerTokens, temperature, seed, logprobs } = request;
  return {
    model,
    messages,
    stream: false,
    ...(refused.has("max_tokens")
      ? { max_completion_tokens: maxAnswerTokens }
      : { max_tokens: maxAnswerTokens }),
    ...(refused.has("temperature") ? {} : { temperature }),
    ...(refused.has("seed") ? {} : { seed }),
    ...(logprobs && !refused.has("logprobs") ? { logprobs: true, top_logprobs: TOP_LOGPROBS } : {}),
  };
}

/** The field that an error says is not taken, of those that have not been left out yet. */
export function fieldNotTaken(text: string, refused: ReadonlySet<OptionalField>): OptionalField | undefined {
  if (!NOT_TAKEN.test(text)) return undefined;
  return OPTIONAL_FIELDS.find((name) => !refused.has(name) && text.includes(name));
}

const logprob = z.object({ token: z.string(), logprob: z.number() });
const COMPLETION = z.object({
  choices: z.array(
    z.object({
      message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }),
      finish_reason: z.string().nullish(),
      logprobs: z
        .object({ content: z.array(logprob.extend({ top_logprobs: z.array(logprob).nullish() })).nullish() })
        .nullish(),
    }),
  ),
  usage: z
    .object({ prompt_tokens: z.int().nonnegative(), completion_tokens: z.int().nonnegative() })
    .nullish(),
});

/** An answer; or half of one, or an error in its place; or JSON of another shape. */
export type Completion =
  | ({ readonly kind: "answer" } & ChatAnswer)
  | { readonly kind: "half" | "other shape"; readonly reason: string };

export function parseCompletion(text: string): Completion {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { kind: "half", reason: `half an answer: ${text.length} characters that are not JSON` };
  }
  const parsed = COMPLETION.safeParse(json);
  if (!parsed.success) {
    const { error } = (json ?? {}) as { error?: unknown };
    if (error !== undefined) return { kind: "half", reason: `an error for an answer: ${errorMessage(text)}` };
    const where = parsed.error.issues[0].path.join(".") || "all of it";
    return { kind: "other shape", reason: `no chat completion (${where})` };
  }
  const { choices, usage } = parsed.data;
  if (choices.length === 0) return { kind: "half", reason: "an answer without choices" };
  const [{ message, finish_reason, logprobs }] = choices;
  return {
    kind: "answer",
    text: message.refusal || (message.content ?? ""),
    finish: message.refusal ? "refusal" : (finish_reason ?? "stop"),
    logprobs:
      logprobs?.content?.map(({ token, logprob, top_logprobs }) => ({
        token,
        logprob,
        alternatives: (top_logprobs ?? []).map(({ token, logprob }) => ({ token, logprob })),
      })) ?? null,
    usage: usage ? { promptTokens: usage.prompt_tokens, answerTokens: usage.completion_tokens } : null,
  };
}

/** What an error's body says, in brief. */
export function errorMessage(text: string): string {
  try {
    const { error, message } = JSON.parse(text) as { error?: unknown; message?: unknown };
    const inner =
      error !== null && typeof error === "object" ? (error as { message?: unknown }).message : error;
    return brief(String(inner ?? message ?? ""));
  } catch {
    return brief(text);
  }
}

/** One line of at most 200 characters, no control characters. */
export function brief(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\s]+/gu, " ").trim();
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}
