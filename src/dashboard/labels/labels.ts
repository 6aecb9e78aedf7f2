/** Labels without a language model: which token, or which few tokens in a row, a latent fires on. Types only. */

/** All indexed tokens, in store order; ids of the vocabulary. */
export interface IndexedTokens {
  readonly nTokens: number;
  /** [nTokens] */
  readonly tokenIds: Uint32Array;
  /** [nTokens] the token before it in its window, kept or not; NO_TOKEN at a window's start */
  readonly previous: Uint32Array;
  /** [nTokens] the one before that */
  readonly previous2: Uint32Array;
}

export const NO_TOKEN = 0xffffffff;

export interface Label {
  /** for people, e.g. `" bank"` or `" of the"`; empty: none */
  readonly text: string;
  /** output: nothing it fires on explains it, so its top logits are named */
  readonly kind: "token" | "ngram" | "output" | "none";
  /** share of the trigger's indexed occurrences on which the latent fires; null for output and none */
  readonly precision: number | null;
  /** share of the tokens on which the latent fires that are the trigger's */
  readonly recall: number | null;
}
