/** What is asked of a language model, and what it answers, whoever carries it. Types only. */

export interface ChatMessage {
  readonly role: "system" | "user";
  readonly content: string;
}

/** What is asked: all that decides the answer, and what the cache goes by. */
export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  /** the answer ends after so many tokens */
  readonly maxAnswerTokens: number;
  readonly temperature: number;
  readonly seed: number;
  /** ask for the log-probabilities of the answer's tokens */
  readonly logprobs: boolean;
}

/** A token of an answer with its log-probability, and the likeliest ones in its place. */
export interface TokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly alternatives: readonly { readonly token: string; readonly logprob: number }[];
}

export interface ChatAnswer {
  readonly text: string;
  /** "stop": it ended by itself; "length": it was cut off; "refusal": `text` says why; else what the server says */
  readonly finish: string;
  /** null: not offered */
  readonly logprobs: readonly TokenLogprob[] | null;
  /** null: the server does not count */
  readonly usage: { readonly promptTokens: number; readonly answerTokens: number } | null;
}
