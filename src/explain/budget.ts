/**
 * Tokens: what a request will cost, before it is sent, and a cap that holds. A request is sent only if the most it can
 * cost fits into what is left; what it did cost is then what the endpoint counts, or, where that does not count, the
 * estimate.
 */
import type { ChatAnswer, ChatRequest } from "./chat.ts";

/** Estimates: UTF-8 bytes a token. English text has 4 and more, with marks and numbers in it a little over 3. */
const BYTES_PER_TOKEN = 3;
/** What a message costs beside its text. */
const TOKENS_PER_MESSAGE = 8;

export const BUDGET_DEFINITION =
  `Estimated tokens of a request: its UTF-8 bytes / ${BYTES_PER_TOKEN} + ${TOKENS_PER_MESSAGE} a message. The most it can cost, by ` +
  "which the cap goes: its bytes (no token is shorter) + 16 a message + the longest answer allowed. After the answer: what " +
  "the endpoint counts, else the estimate. A try that was lost on the way counts with the most it can have cost.";

/** Prompt and answer, as expected. `answerTokens`: of a usual answer. */
export function estimatedTokens(request: ChatRequest, answerTokens: number): number {
  return (
    Math.ceil(promptBytes(request) / BYTES_PER_TOKEN) +
    TOKENS_PER_MESSAGE * request.messages.length +
    answerTokens
  );
}

/** The most tokens a request can cost. */
export function mostTokens(request: ChatRequest): number {
  return promptBytes(request) + 16 * request.messages.length + request.maxAnswerTokens;
}

/** What an answer did cost. */
export function spentTokens(request: ChatRequest, { usage, text }: ChatAnswer): number {
  if (usage !== null) return usage.promptTokens + usage.answerTokens;
  return estimatedTokens(request, Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN));
}

function promptBytes({ messages }: ChatRequest): number {
  return messages.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
}

/** Tokens reserved for requests on their way, and spent. Once a request has found no room, none gets any. */
export class Budget {
  readonly cap: number;
  #spent = 0;
  #reserved = 0;
  #isClosed = false;
  #waiting: (() => void)[] = [];

  constructor(cap: number) {
    this.cap = cap;
  }

  get spent(): number {
    return this.#spent;
  }
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Waits while requests on their way may still leave room. False: there is none. */
  async reserve(tokens: number): Promise<boolean> {
    while (!this.#isClosed) {
      if (this.#spent + this.#reserved + tokens <= this.cap) {
        this.#reserved += tokens;
        return true;
      }
      if (this.#reserved === 0) this.#close();
      else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return false;
  }

  /** A reservation ends, having cost `spent`. */
  settle(reserved: number, spent: number): void {
    this.#reserved -= reserved;
    this.#spent += spent;
    this.#wake();
  }

  /** A try was lost and counts in full; is there room for another without waiting? If not, the reservation has ended. */
  spendAndReserveAgain(tokens: number): boolean {
    this.settle(tokens, tokens);
    if (this.#isClosed || this.#spent + this.#reserved + tokens > this.cap) {
      if (this.#reserved === 0) this.#close();
      return false;
    }
    this.#reserved += tokens;
    return true;
  }

  #close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  #wake(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }
}
