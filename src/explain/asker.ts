/** Asks through cache, budget and endpoint: what was answered before is not sent, and what does not fit is not sent. */
import { EndpointError } from "../errors.ts";
import { type Budget, mostTokens, spentTokens } from "./budget.ts";
import { type AnswerCache, requestHash } from "./cache.ts";
import type { ChatAnswer, ChatRequest } from "./chat.ts";
import type { Endpoint } from "./endpoint.ts";

/** An answer; or why there is none; or not asked, since the budget is used up. */
export type Asked =
  | { readonly kind: "answer"; readonly answer: ChatAnswer }
  | { readonly kind: "failure"; readonly reason: string }
  | { readonly kind: "left out" };

export interface AskerCounts {
  /** requests sent and answered, tries not counted */
  readonly sent: number;
  /** answers that were in the cache */
  readonly cached: number;
  readonly failed: number;
  readonly spentTokens: number;
}

/** After so many requests in a row without any answer, there is no use in going on. */
const MAX_OUTAGES = 5;

export class Asker {
  readonly #endpoint: Endpoint;
  readonly #cache: AnswerCache;
  readonly #budget: Budget;
  /** requests on their way, by hash: the same one is not sent twice at once */
  readonly #pending = new Map<string, Promise<Asked>>();
  /** of the answers that were used, by hash */
  readonly #usage = new Map<string, ChatAnswer["usage"]>();
  #sent = 0;
  #cached = 0;
  #failed = 0;
  #outages = 0;

  constructor(endpoint: Endpoint, cache: AnswerCache, budget: Budget) {
    this.#endpoint = endpoint;
    this.#cache = cache;
    this.#budget = budget;
  }

  get counts(): AskerCounts {
    return { sent: this.#sent, cached: this.#cached, failed: this.#failed, spentTokens: this.#budget.spent };
  }

  /** Tokens of all answers used, cached ones included, as the endpoint counts; null: of some it did not say. */
  get tokens(): { readonly prompt: number | null; readonly answer: number | null } {
    let [prompt, answer] = [0, 0];
    for (const usage of this.#usage.values()) {
      if (usage === null) return { prompt: null, answer: null };
      prompt += usage.promptTokens;
      answer += usage.answerTokens;
    }
    return { prompt, answer };
  }

  /** @throws {EndpointError} the endpoint refuses, or does not answer request after request */
  async ask(request: ChatRequest, signal: AbortSignal): Promise<Asked> {
    const hash = requestHash(request);
    const pending = this.#pending.get(hash) ?? this.#askOnce(request, hash, signal);
    this.#pending.set(hash, pending);
    try {
      return await pending;
    } finally {
      this.#pending.delete(hash);
    }
  }

  async #askOnce(request: ChatRequest, hash: string, signal: AbortSignal): Promise<Asked> {
    const known = await this.#cache.get(hash);
    if (known !== null) {
      this.#cached++;
      this.#usage.set(hash, known.usage);
      return { kind: "answer", answer: known };
    }
    const most = mostTokens(request);
    if (!(await this.#budget.reserve(most))) return { kind: "left out" };
    let reserved = most;
    let spent = 0;
    try {
      signal.throwIfAborted();
      const outcome = await this.#endpoint.ask(request, signal, () => {
        const mayGoOn = this.#budget.spendAndReserveAgain(most);
        if (!mayGoOn) reserved = 0;
        return mayGoOn;
      });
      if (outcome.kind === "left out") return outcome;
      if (outcome.kind === "answer") {
        spent = spentTokens(request, outcome);
        this.#outages = 0;
        this.#sent++;
        this.#usage.set(hash, outcome.usage);
        await this.#cache.put(hash, outcome);
        return { kind: "answer", answer: outcome };
      }
      this.#failed++;
      if (outcome.mayHaveCost) spent = most;
      this.#outages = outcome.isOutage ? this.#outages + 1 : 0;
      if (this.#outages >= MAX_OUTAGES)
        throw new EndpointError(
          `${this.#endpoint.host} left ${MAX_OUTAGES} requests in a row without an answer: ${outcome.reason}`,
          { hint: "what was answered is kept; the same command goes on from there" },
        );
      return { kind: "failure", reason: outcome.reason };
    } finally {
      if (reserved > 0) this.#budget.settle(reserved, spent);
    }
  }
}
