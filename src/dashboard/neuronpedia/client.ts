/**
 * Neuronpedia's public API, as far as uploads need it. The key goes to the endpoint's own origin and nowhere else, and stands
 * in no message. A batch is one transaction there: it arrived whole or not at all, which is asked before it is sent again.
 */
import { HubError } from "../../errors.ts";
import { causeOf, isWorthAnotherTry, pause } from "../../hub/hub-fetch.ts";
import { type UploadBatch, uploadBatch } from "./schemas.ts";

export interface ClientSettings {
  /** origin; https, or http on this machine */
  readonly endpoint: string;
  /** kept behind a function, so that no object that might be printed holds it */
  readonly key: () => string | undefined;
  /** default 6 */
  readonly attempts?: number;
  /** before the second try; doubled each time; default 1000 */
  readonly retryDelayMs?: number;
  /** default 2 minutes */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export const NEURONPEDIA = "https://www.neuronpedia.org";
export const KEY_VARIABLE = "NEURONPEDIA_API_KEY";

/** The server said: too many requests. Nothing of such a request was done. */
const TOO_MANY = 429;
const SHOWN_LETTERS = 300;

export class NeuronpediaClient {
  readonly endpoint: string;
  readonly #key: string;
  readonly #settings: Required<Pick<ClientSettings, "attempts" | "retryDelayMs" | "timeoutMs">>;
  readonly #signal: AbortSignal | undefined;

  /** @throws {HubError} no key, or an address that a key is not sent to */
  constructor({
    endpoint,
    key,
    attempts = 6,
    retryDelayMs = 1000,
    timeoutMs = 120_000,
    signal,
  }: ClientSettings) {
    this.endpoint = originOf(endpoint);
    const secret = key();
    if (secret === undefined || secret === "" || /[^\x21-\x7e]/.test(secret))
      throw new HubError(`no API key of Neuronpedia in ${KEY_VARIABLE}`, {
        hint: "neuronpedia.org → Account → API key; --dry-run needs none",
      });
    this.#key = secret;
    this.#settings = { attempts, retryDelayMs, timeoutMs };
    this.#signal = signal;
  }

  /** Sends one batch; sent again after failures, unless it has arrived. @throws {HubError} refused, or no answer */
  async upload(batch: UploadBatch): Promise<void> {
    const body = JSON.stringify(uploadBatch.parse(batch));
    const { modelId, source, features } = batch;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#ask("POST", "/api/feature/upload-batch", body);
      if (answer.status === 200) return;
      if (!isWorthAnotherTry(answer.status) && answer.status !== NO_ANSWER) throw this.#refusal(answer);
      if (attempt >= this.#settings.attempts) throw this.#refusal(answer);
      await pause(this.#settings, attempt, answer.retryAfter, this.#signal);
      if (answer.status !== TOO_MANY && (await this.has(modelId, source, features[0].index))) return;
    }
  }

  /** Whether there is such a latent. @throws {HubError} no answer */
  async has(modelId: string, source: string, index: number): Promise<boolean> {
    const path = `/api/feature/${encodeURIComponent(modelId)}/${encodeURIComponent(source)}/${index}`;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#ask("GET", path);
      if (answer.status === 200) return true;
      if (answer.status === 404) return false;
      if (attempt >= this.#settings.attempts) throw this.#refusal(answer);
      if (!isWorthAnotherTry(answer.status) && answer.status !== NO_ANSWER) throw this.#refusal(answer);
      await pause(this.#settings, attempt, answer.retryAfter, this.#signal);
    }
  }

  async #ask(method: "GET" | "POST", path: string, body?: string): Promise<Answer> {
    const timeout = AbortSignal.timeout(this.#settings.timeoutMs);
    const signal = this.#signal === undefined ? timeout : AbortSignal.any([this.#signal, timeout]);
    try {
      const response = await fetch(this.endpoint + path, {
        method,
        headers: {
          "x-api-key": this.#key,
          accept: "application/json",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        body,
        redirect: "manual", // the key does not follow
        signal,
      });
      const text = await response.text();
      return {
        what: `${method} ${path}`,
        status: response.status,
        text,
        retryAfter: response.headers.get("retry-after"),
      };
    } catch (error) {
      this.#signal?.throwIfAborted();
      return { what: `${method} ${path}`, status: NO_ANSWER, text: causeOf(error), retryAfter: null };
    }
  }

  #refusal({ what, status, text }: Answer): HubError {
    const said = text.replaceAll(this.#key, "…").replaceAll(/\s+/g, " ").slice(0, SHOWN_LETTERS);
    const answered = status === NO_ANSWER ? "no answer" : `answered ${status}`;
    return new HubError(
      `${this.endpoint}: ${answered} to ${what}${said === "" ? "" : ` (${said})`}`,
      hintFor(status) === undefined ? {} : { hint: hintFor(status) },
    );
  }
}

/** In place of a status: the connection failed, or took too long. */
const NO_ANSWER = 0;

interface Answer {
  readonly what: string;
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | null;
}

function hintFor(status: number): string | undefined {
  if (status === 401 || status === 403)
    return `is the key in ${KEY_VARIABLE} right, and its owner the set's creator?`;
  if (status >= 300 && status < 400) return "the address redirects: name the one it redirects to";
  if (status >= 500)
    return "do the model, the source set and the source exist there? Neuronpedia makes them with its own client; run it again to go on";
  if (status === TOO_MANY || status === NO_ANSWER) return "run it again later: it goes on where it stopped";
  return undefined;
}

/** @throws {HubError} no address, or one that would carry the key in the clear */
function originOf(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null;
  const isLocal = url !== null && ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  if (url === null || !(url.protocol === "https:" || (url.protocol === "http:" && isLocal)))
    throw new HubError(
      `${JSON.stringify(endpoint)} is no address of a Neuronpedia that a key may be sent to`,
      {
        hint: `https is wanted, as in ${NEURONPEDIA}`,
      },
    );
  return url.origin;
}
