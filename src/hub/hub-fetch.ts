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

/** The network failed (as opposed to: the hub answered no). */
export class NetworkError extends HubError {}

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
    try {
      const response = await followed(settings, url, init);
      if (!WORTH_ANOTHER_TRY.has(response.status) || attempt >= settings.attempts) return response;
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
    await sleep(settings.retryDelayMs * 2 ** (attempt - 1), undefined, { signal: init.signal });
  }
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

/** One request without following; fails when the headers take longer than `settings.stallMs`. */
async function answered(settings: HubSettings, target: URL, init: HubRequest): Promise<Response> {
  const stalled = new AbortController();
  const timer = setTimeout(
    () => stalled.abort(new Error(`no answer for ${settings.stallMs / 1000} s`)),
    settings.stallMs,
  );
  const signal = init.signal === undefined ? stalled.signal : AbortSignal.any([init.signal, stalled.signal]);
  try {
    return await fetch(target, { ...init, redirect: "manual", signal });
  } finally {
    clearTimeout(timer);
  }
}

/** The error for an answer that is not a success. */
export function refusal(what: string, response: { status: number; headers?: Headers }): HubError {
  const status = response.status;
  const hint =
    status === 401 || status === 403
      ? "it may be private or gated: accept its terms on the hub and set HF_TOKEN"
      : status === 404
        ? "check the spelling of the name, the path and the revision; private repositories need HF_TOKEN"
        : status === 429
          ? "too many requests: wait a little, or set HF_TOKEN"
          : undefined;
  return new HubError(`${what}: the hub answered ${status}`, { hint });
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
