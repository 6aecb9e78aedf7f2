/**
 * `fetch` for the hub: sends the token to the hub's own origin and nowhere else (redirects are followed by hand),
 * tries again when the network or the server fails, and turns refusals into errors that say what to do.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { HubError } from "../errors.ts";
import type { HubSettings } from "./settings.ts";

const MAX_REDIRECTS = 8;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const WORTH_ANOTHER_TRY = new Set([408, 425, 429, 500, 502, 503, 504]);
/** However long a server asks to be left alone (`Retry-After`), it is asked again after so many milliseconds. */
const MAX_PAUSE_MS = 5 * 60_000;

/** The network failed (as opposed to: the hub answered no). */
export class NetworkError extends HubError {}

/** The hub answered no. */
export class RefusedError extends HubError {
  readonly status: number;

  constructor(message: string, status: number, hint?: string) {
    super(message, { hint });
    this.status = status;
  }
}

export interface HubRequest {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: RequestInit["body"];
  readonly signal?: AbortSignal;
}

/**
 * One request, redirects followed and failures tried again. The answer may be any status that is not worth another
 * try; `refusal` turns one into an error.
 * @throws {NetworkError} no answer after `settings.attempts` tries
 */
export async function hubFetch(settings: HubSettings, url: string, init: HubRequest = {}): Promise<Response> {
  if (settings.offline)
    throw new NetworkError(`${withoutQuery(url)} is not cached, and HF_HUB_OFFLINE is set`, {
      hint: "unset HF_HUB_OFFLINE once to download it",
    });
  for (let attempt = 1; ; attempt++) {
    let asked: string | null = null;
    try {
      const response = await followed(settings, url, init);
      if (!isWorthAnotherTry(response.status) || attempt >= settings.attempts) return response;
      asked = response.headers.get("retry-after");
      await response.body?.cancel();
    } catch (error) {
      init.signal?.throwIfAborted();
      if (error instanceof HubError) throw error;
      if (attempt >= settings.attempts)
        throw new NetworkError(`${withoutQuery(url)}: no answer (${causeOf(error)})`, {
          hint: "check the network, or HF_ENDPOINT if you use a mirror",
          cause: error,
        });
    }
    await pause(settings, attempt, asked, init.signal);
  }
}

/** Whether a server that answered so may answer otherwise a little later. */
export function isWorthAnotherTry(status: number): boolean {
  return WORTH_ANOTHER_TRY.has(status);
}

/** Waits after failed try `attempt`: retryDelayMs · 2^(attempt − 1), or as long as the server asked for in `Retry-After`. */
export async function pause(
  settings: Pick<HubSettings, "retryDelayMs">,
  attempt: number,
  retryAfter: string | null,
  signal: AbortSignal | undefined,
): Promise<void> {
  const asked = retryAfter === null ? Number.NaN : Number(retryAfter) * 1000;
  const until = retryAfter === null ? Number.NaN : Date.parse(retryAfter) - Date.now();
  const wanted = [asked, until].find((ms) => ms >= 0) ?? 0;
  const ms = Math.max(settings.retryDelayMs * 2 ** (attempt - 1), Math.min(wanted, MAX_PAUSE_MS));
  await sleep(ms, undefined, { signal });
}

async function followed(settings: HubSettings, url: string, init: HubRequest): Promise<Response> {
  const home = new URL(settings.endpoint).origin;
  let target = new URL(url);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    if (target.protocol !== "https:" && target.protocol !== "http:")
      throw new HubError(`${withoutQuery(url)}: redirected to ${target.protocol}, expected http or https`);
    const token = target.origin === home ? settings.token() : undefined;
    const headers = { ...init.headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
    const response = await answered(settings, target, { ...init, headers });
    const location = response.headers.get("location");
    if (!REDIRECTS.has(response.status) || location === null) return response;
    await response.body?.cancel();
    target = new URL(location, target);
  }
  throw new HubError(`${withoutQuery(url)}: more than ${MAX_REDIRECTS} redirects`);
}

/** One request without following; fails when for `settings.stallMs` neither a body goes out nor headers come in. */
async function answered(settings: HubSettings, target: URL, init: HubRequest): Promise<Response> {
  const stalled = new AbortController();
  const timer = setTimeout(
    () => stalled.abort(new Error(`no answer for ${settings.stallMs / 1000} s`)),
    settings.stallMs,
  );
  const signal = init.signal === undefined ? stalled.signal : AbortSignal.any([init.signal, stalled.signal]);
  const body = init.body instanceof Blob ? new WatchedBlob(init.body, () => timer.refresh()) : init.body;
  try {
    return await fetch(target, { ...init, body, redirect: "manual", signal });
  } finally {
    clearTimeout(timer);
  }
}

/** Bytes to send, wherever they lie, that tell when some of them are taken: a long upload that moves is not a stall. */
class WatchedBlob extends Blob {
  readonly #content: Blob;
  readonly #onTaken: () => void;

  constructor(content: Blob, onTaken: () => void) {
    super([], { type: content.type });
    this.#content = content;
    this.#onTaken = onTaken;
    Object.defineProperty(this, "size", { value: content.size });
  }

  override stream(): ReturnType<Blob["stream"]> {
    const onTaken = this.#onTaken;
    const watch = new TransformStream<Uint8Array, Uint8Array>({
      transform(bytes, controller) {
        onTaken();
        controller.enqueue(bytes);
      },
    });
    return this.#content.stream().pipeThrough(watch) as ReturnType<Blob["stream"]>;
  }
}

/** The error for an answer that is not a success. */
export function refusal(what: string, response: { status: number; headers?: Headers }): RefusedError {
  const status = response.status;
  const hint =
    status === 401 || status === 403
      ? "it may be private or gated: accept its terms on the hub and set HF_TOKEN"
      : status === 404
        ? "check the spelling of the name, the path and the revision; private repositories need HF_TOKEN"
        : status === 429
          ? "too many requests: wait a little, or set HF_TOKEN"
          : undefined;
  return new RefusedError(`${what}: the hub answered ${status}`, status, hint);
}

/** Addresses are shown without their query, which may be signed. */
export function withoutQuery(url: string): string {
  return url.split("?")[0];
}

/** The innermost reason of a failed fetch. */
export function causeOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return inner instanceof Error ? inner.message || inner.name : String(inner);
}
