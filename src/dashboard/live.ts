/** What the page sends to `api/encode` and `api/steer`, and what comes back. Types only, safe in a browser. */

export type LiveInput =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] };

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** POST api/encode, JSON. Answer: {@link Encoded}; an error: {@link LiveError} with status 4xx or 5xx. */
export interface EncodeRequest {
  readonly index: string;
  readonly input: LiveInput;
}

/** Typed text, token by token. */
export interface Encoded {
  readonly tokens: readonly EncodedToken[];
  /** true: the input was longer than the context size and its end was left out */
  readonly truncated: boolean;
}

/** A token, and the latents that are active on it. */
export interface EncodedToken {
  readonly id: number;
  readonly text: string;
  readonly role: string;
  /** false: BOS or another excluded position: the SAE was not run there, and what follows is empty or null */
  readonly kept: boolean;
  /** active latents, largest activation first */
  readonly latents: readonly number[];
  readonly acts: readonly number[];
  /** ‖x‖² and ‖x − x̂‖² at the hook point */
  readonly squaredNorm: number | null;
  readonly squaredError: number | null;
}

/**
 * What is done to a latent's activation a at each chosen position; the residual stream moves by (a′ − a) · wDec. Several on
 * one latent follow one another.
 */
export interface Intervention {
  readonly latent: number;
  /** add: a + value · scale: a · value · clamp: value · ablate: 0 */
  readonly kind: "add" | "scale" | "clamp" | "ablate";
  /** in units of activation (scale: a factor); absent for ablate */
  readonly value?: number;
}

/** POST api/steer, JSON. Answer: a stream of {@link SteerEvent}, one JSON a line. Closing the request stops it. */
export interface SteerRequest {
  readonly index: string;
  readonly input: LiveInput;
  readonly interventions: readonly Intervention[];
  /** where: every kept position, those of the prompt, or those generated */
  readonly positions: "all" | "prompt" | "generated";
  /** at most, 1 … 256 */
  readonly nTokens: number;
  /** temperature 0: greedy */
  readonly sampling: { readonly temperature: number; readonly topK: number | null; readonly seed: number };
}

/** What comes while text is generated, one side and the other. */
export type SteerEvent =
  | {
      readonly kind: "token";
      readonly side: "plain" | "steered";
      readonly id: number;
      /** what shows now: "" while a character's bytes are not all there */
      readonly text: string;
    }
  | {
      readonly kind: "end";
      readonly side: "plain" | "steered";
      readonly why: "length" | "stop" | "context";
      /** what waited for the rest of a character that did not come, spelled out; nearly always "" */
      readonly text: string;
    }
  | { readonly kind: "done"; readonly seconds: number; readonly nForwards: number }
  | { readonly kind: "error"; readonly error: LiveError };

export interface LiveError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}
