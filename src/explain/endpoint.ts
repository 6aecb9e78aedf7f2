/**
 * Chat completions over HTTP, as OpenAI defined them and most servers, hosted or local, speak them: one request, one
 * answer or a failure with a reason. Nothing is sent anywhere but to the address that was given: redirects are refused.
 * The key goes into one header; whatever a server says is stripped of it before anyone sees it.
 */
import { z } from "zod";
import { EndpointError, LapidaryError } from "../errors.ts";
import { causeOf, isWorthAnotherTry, pause } from "../hub/hub-fetch.ts";

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

/** An answer, or why there is none. */
export type ChatOutcome = ({ readonly kind: "answer" } & ChatAnswer) | ChatFailure;

export interface ChatFailure {
  readonly kind: "failure";
  readonly reason: string;
  /** the server did not answer at all: another request may fare no better */
  readonly isOutage: boolean;
}

/** Where requests go, and how long they are waited for. */
export interface EndpointOptions {
  /** base address, e.g. http://127.0.0.1:8000/v1, or the whole …/chat/completions */
  readonly url: string;
  /** read when a request is sent; no object holds the key */
  readonly key?: () => string | undefined;
  /** allow plain http to another machine: texts and key can then be read on the way */
  readonly insecure?: boolean;
  /** of one try, until the last byte of the answer; default 120 000 */
  readonly timeoutMs?: number;
  /** of one request; default 5 */
  readonly attempts?: number;
  /** before the second try, doubled each time; default 500 */
  readonly retryDelayMs?: number;
}

/** Longest answer that is read. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Alternatives asked for at each token; servers allow 5 at least. */
const TOP_LOGPROBS = 5;

/** The key of the environment: LAPIDARY_EXPLAIN_KEY, else OPENAI_API_KEY. */
export function keyFromEnvironment(): string | undefined {
  return process.env.LAPIDARY_EXPLAIN_KEY || process.env.OPENAI_API_KEY || undefined;
}

/** What some servers do without: left out once a server has refused it. */
type Optional = "logprobs" | "seed" | "temperature" | "max_tokens";

export class Endpoint {
  readonly #url: URL;
  readonly #options: EndpointOptions;
  readonly #refused = new Set<Optional>();

  /** @throws {EndpointError} not an address that may be sent to */
  constructor(options: EndpointOptions) {
    this.#url = completionsUrl(options.url, options.insecure ?? false);
    this.#options = options;
  }

  /** Host and port, for people. */
  get host(): string {
    return this.#url.host;
  }

  /**
   * Sends one request; asks again after 429, 5xx, a timeout, a lost connection or half an answer. After a try that may
   * have cost tokens and brought nothing, `mayGoOn` says whether there is to be another.
   * @throws {EndpointError} the key or the address is refused: no other request will do better
   */
  async ask(
    request: ChatRequest,
    signal?: AbortSignal,
    mayGoOn: () => boolean = () => true,
  ): Promise<ChatOutcome | { readonly kind: "left out" }> {
    const { attempts = 5, retryDelayMs = 500 } = this.#options;
    for (let attempt = 1; ; ) {
      const tried = await this.#tryOnce(request, signal);
      if (tried.kind === "without") {
        this.#refused.add(tried.field);
        continue; // at most once a field
      }
      if (tried.kind !== "again") return tried;
      const goOn = !tried.mayHaveCost || mayGoOn();
      if (!goOn) return { kind: "left out" };
      if (attempt >= attempts)
        return { kind: "failure", reason: `${tried.reason} (${attempts} tries)`, isOutage: tried.isOutage };
      await pause({ retryDelayMs }, attempt, tried.retryAfter, signal);
      attempt++;
    }
  }

  async #tryOnce(request: ChatRequest, signal: AbortSignal | undefined): Promise<Tried> {
    signal?.throwIfAborted();
    const { timeoutMs = 120_000 } = this.#options;
    const key = this.#options.key?.();
    const without = (text: string) =>
      key === undefined || key === "" ? text : text.replaceAll(key, "[key]");
    const timeout = AbortSignal.timeout(timeoutMs);
    const refused = new Set(this.#refused);
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        },
        body: JSON.stringify(body(request, refused)),
        redirect: "manual",
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      const text = without(await readCapped(response));
      if (response.ok) return answerOf(text);
      return this.#refusal(response, text, refused);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof LapidaryError) throw error;
      const reason = timeout.aborted ? `no answer within ${timeoutMs / 1000} s` : without(causeOf(error));
      return { kind: "again", reason, retryAfter: null, mayHaveCost: true, isOutage: true };
    }
  }

  #refusal(response: Response, text: string, refused: ReadonlySet<Optional>): Tried {
    const { status } = response;
    const said = errorMessage(text);
    const reason = `the endpoint answered ${status}${said === "" ? "" : `: ${said}`}`;
    if (status >= 300 && status < 400)
      throw new EndpointError(`${this.host} answered ${status}, a redirect, which is not followed`, {
        hint: "give the address it leads to as --endpoint, if you trust it",
      });
    if (status === 401 || status === 403)
      throw new EndpointError(`${this.host} refused the key (${status}${said === "" ? "" : `: ${said}`})`, {
        hint: "set LAPIDARY_EXPLAIN_KEY (or OPENAI_API_KEY) to a key that may use this model",
      });
    if (status === 402 || (status === 429 && /insufficient_quota/.test(text)))
      throw new EndpointError(`${this.host} has no quota left (${status}${said === "" ? "" : `: ${said}`})`, {
        hint: "what was answered is kept; the same command goes on from there",
      });
    if (status === 404 || status === 405)
      throw new EndpointError(
        `${this.host} knows no such address or model (${status}${said === "" ? "" : `: ${said}`})`,
        {
          hint: "--endpoint is the base address, often ending in /v1; --model as the server names it",
        },
      );
    if (status === 400 || status === 422) {
      const field = OPTIONAL.find((name) => !refused.has(name) && text.includes(name));
      if (field !== undefined) return { kind: "without", field };
    }
    if (isWorthAnotherTry(status) || status === 529)
      return {
        kind: "again",
        reason,
        retryAfter: response.headers.get("retry-after"),
        mayHaveCost: false,
        isOutage: true,
      };
    return { kind: "failure", reason, isOutage: false };
  }
}

type Tried =
  | ChatOutcome
  | { readonly kind: "without"; readonly field: Optional }
  | {
      readonly kind: "again";
      readonly reason: string;
      readonly retryAfter: string | null;
      readonly mayHaveCost: boolean;
      readonly isOutage: boolean;
    };

const OPTIONAL: readonly Optional[] = ["logprobs", "seed", "temperature", "max_tokens"];

function completionsUrl(address: string, insecure: boolean): URL {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new EndpointError(`${JSON.stringify(address)} is not an address`, {
      hint: "--endpoint http://127.0.0.1:8000/v1, or a hosted one, https://…/v1",
    });
  }
  if (url.username !== "" || url.password !== "")
    throw new EndpointError("the endpoint's address holds a user name or password", {
      hint: "a key comes from LAPIDARY_EXPLAIN_KEY or OPENAI_API_KEY, never from the command line",
    });
  const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && (isLoopback || insecure)))
    throw new EndpointError(
      `texts and key would go to ${url.host} over ${url.protocol.slice(0, -1)}, unencrypted`,
      {
        hint: "use an https address, or allow http to this machine with --insecure",
      },
    );
  if (!/\/chat\/completions\/?$/.test(url.pathname))
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/chat/completions`;
  return url;
}

function body(request: ChatRequest, refused: ReadonlySet<Optional>): Record<string, unknown> {
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

async function readCapped(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let nBytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    nBytes += chunk.length;
    if (nBytes > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
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

function answerOf(text: string): Tried {
  const lost = (reason: string): Tried => ({
    kind: "again",
    reason,
    retryAfter: null,
    mayHaveCost: true,
    isOutage: false,
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return lost(`half an answer: ${text.length} characters that are not JSON`);
  }
  const parsed = COMPLETION.safeParse(json);
  if (!parsed.success) return lost(`not a chat completion: ${parsed.error.issues[0].path.join(".")}`);
  const { choices, usage } = parsed.data;
  if (choices.length === 0) return lost("an answer without choices");
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
function errorMessage(text: string): string {
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
