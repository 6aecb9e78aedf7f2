/**
 * Answers by the hash of what was asked: model, messages and settings, not where. A request that was answered is never
 * sent again; this is also how an interrupted command goes on. Neither prompts nor keys are written, only answers.
 */
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomically } from "../storage/atomic.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashValue } from "../storage/hash.ts";
import { readJson } from "../storage/json.ts";
import type { ChatAnswer, ChatRequest } from "./chat.ts";

const MAX_ENTRY_BYTES = 8 * 1024 * 1024;

const logprob = z.object({ token: z.string(), logprob: z.number() });
const ENTRY = z.object({
  format: z.literal("lapidary-answer"),
  version: z.literal(1),
  request: z.string(),
  answer: z.object({
    text: z.string(),
    finish: z.string(),
    logprobs: z.array(logprob.extend({ alternatives: z.array(logprob) })).nullable(),
    usage: z.object({ promptTokens: z.number(), answerTokens: z.number() }).nullable(),
  }),
});

/** What the cache and "the same request" go by. */
export function requestHash({
  model,
  messages,
  maxAnswerTokens,
  temperature,
  seed,
  logprobs,
}: ChatRequest): string {
  return hashValue({ model, messages, maxAnswerTokens, temperature, seed, logprobs });
}

export class AnswerCache {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The answer to the request of this hash; null: there is none, or its file is damaged. */
  async get(hash: string): Promise<ChatAnswer | null> {
    const path = this.#path(hash);
    const info = await statIfPresent(path);
    if (info === null) return null;
    const json = await readJson(path, { maxBytes: MAX_ENTRY_BYTES }).catch(() => null);
    const entry = ENTRY.safeParse(json);
    return entry.success && entry.data.request === hash ? entry.data.answer : null;
  }

  async put(hash: string, answer: ChatAnswer): Promise<void> {
    const { text, finish, logprobs, usage } = answer;
    const entry = {
      format: "lapidary-answer",
      version: 1,
      request: hash,
      answer: { text, finish, logprobs, usage },
    };
    await writeFileAtomically(this.#path(hash), `${JSON.stringify(entry)}\n`);
  }

  #path(hash: string): string {
    return join(this.#folder, hash.slice(0, 2), `${hash}.json`);
  }
}
