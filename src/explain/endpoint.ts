/**
 * Chat completions over HTTP, as OpenAI defined them and most servers, hosted or local, speak them: one request, one
 * answer or a failure with a reason. Nothing is sent anywhere but to the address that was given: redirects are refused.
 * The key goes into one header; whatever a server says is stripped of it before anyone sees it.
 */
import { EndpointError, LapidaryError } from "../errors.ts";
import { causeOf, isWorthAnotherTry, pause } from "../hub/hub-fetch.ts";
import type { ChatAnswer, ChatRequest } from "./chat.ts";
import {
  errorMessage,
  fieldNotTaken,
  type OptionalField,
  parseCompletion,
  requestBody,
} from "./completion.ts";

/** An answer, or why there is none. */
export type ChatOutcome = ({ readonly kind: "answer" } & ChatAnswer) | ChatFailure;

export interface ChatFailure {
  readonly kind: "failure";
  readonly reason: string;
  /** the server did not answer at all: another request may fare no better */
  readonly isOutage: boolean;
  /** it answered something that is no answer, which may have cost tokens */
  readonly mayHaveCost?: true;
}

/** Where requests go, and how long they are waited for. */
export interface EndpointOptions {
  /** base address, e.g. http://127.0.0.1:8000/v1, or the whole …/chat/completions */
  readonly url: string;
  /** read when a request is sent; no object holds the key */
  readonly key?: () => string | undefined;
  /** allow plain http to another machine: texts and key can then be read on the way */
  readonly insecure?: boolean;
  /** of one try, until the last byte of the answer; default 120 000, at most 300 000 */
  readonly timeoutMs?: number;
  /** of one request; default 5 */
  readonly attempts?: number;
  /** before the second try, doubled each time; default 500 */
  readonly retryDelayMs?: number;
}

/** Longest answer that is read. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Longest wait for an answer that the runtime allows. */
const MAX_TIMEOUT_MS = 300_000;

/** The key of the environment: LAPIDARY_EXPLAIN_KEY, else OPENAI_API_KEY. */
export function keyFromEnvironment(): string | undefined {
  return process.env.LAPIDARY_EXPLAIN_KEY || process.env.OPENAI_API_KEY || undefined;
}

export class Endpoint {
  readonly #url: URL;
  readonly #options: EndpointOptions;
  readonly #refused = new Set<OptionalField>();

  /** @throws {EndpointError} not an address that may be sent to */
  constructor(options: EndpointOptions) {
    if ((options.timeoutMs ?? 0) > MAX_TIMEOUT_MS)
      throw new EndpointError(`a timeout of ${options.timeoutMs! / 1000} s cannot be kept`, {
        hint: `at most ${MAX_TIMEOUT_MS / 1000} s: --timeout ${MAX_TIMEOUT_MS / 1000}`,
      });
    this.#url = completionsUrl(options.url, options.insecure ?? false);
    this.#options = options;
  }

  /** Host and port, for people. */
  get host(): string {
    return this.#url.host;
  }

  /** What the server was found not to take, and is no longer sent. */
  get refused(): readonly string[] {
    return [...this.#refused];
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
    const key = this.#key();
    const without = (text: string) => (key === undefined ? text : text.replaceAll(key, "[key]"));
    const timeout = AbortSignal.timeout(timeoutMs);
    const refused = new Set(this.#refused);
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        },
        body: JSON.stringify(requestBody(request, refused)),
        redirect: "manual",
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      const text = without(plainJson(await readCapped(response)));
      if (response.ok) return readAnswer(text);
      return this.#refusal(response, text, refused);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof LapidaryError) throw error;
      const reason = timeout.aborted ? `no answer within ${timeoutMs / 1000} s` : without(causeOf(error));
      return { kind: "again", reason, retryAfter: null, mayHaveCost: true, isOutage: true };
    }
  }

  #key(): string | undefined {
    const key = this.#options.key?.()?.trim() || undefined;
    if (key !== undefined && !/^[\x21-\x7e]+$/.test(key))
      throw new EndpointError("the key holds characters that no key has", {
        hint: "set LAPIDARY_EXPLAIN_KEY (or OPENAI_API_KEY) anew, without spaces or line breaks in it",
      });
    return key;
  }

  #refusal(response: Response, text: string, refused: ReadonlySet<OptionalField>): Tried {
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
      const field = fieldNotTaken(text, refused);
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

/** What came of one try. */
type Tried = ChatOutcome | Retry | { readonly kind: "without"; readonly field: OptionalField };

/** Worth another try. */
interface Retry {
  readonly kind: "again";
  readonly reason: string;
  readonly retryAfter: string | null;
  readonly mayHaveCost: boolean;
  readonly isOutage: boolean;
}

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

/** JSON without escapes that are not needed: what is spelled `\\u002d` in it is found as `-`. Other text as it is. */
function plainJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text;
  }
}

/** An answer of the right shape; half of one is worth another try, one of another shape would only cost again. */
function readAnswer(text: string): ChatOutcome | Retry {
  const found = parseCompletion(text);
  if (found.kind === "answer") return found;
  const { reason } = found;
  if (found.kind === "other shape") return { kind: "failure", reason, isOutage: false, mayHaveCost: true };
  return { kind: "again", reason, retryAfter: null, mayHaveCost: true, isOutage: false };
}
