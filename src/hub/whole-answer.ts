/** Answers of the hub that are read to their end before anybody looks at them: JSON, not files. */
import { type HubRequest, hubFetch, NetworkError, pause, withoutQuery } from "./hub-fetch.ts";
import type { HubSettings } from "./settings.ts";

/** `hubFetch` whose answer has been read to its end; one that breaks off is asked for again. */
export async function wholeAnswer(
  settings: HubSettings,
  url: string,
  request: HubRequest,
): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const { status, headers, ...response } = await answerOf(settings, url, request);
    if (response.body !== null) return new Response(response.body, { status, headers });
    if (attempt >= settings.attempts)
      throw new NetworkError(`${withoutQuery(url)}: the answer broke off`, {
        hint: "check the network, and run the same command again",
      });
    await pause(settings, attempt, null, request.signal);
  }
}

/** `body` null: it did not arrive whole. */
async function answerOf(settings: HubSettings, url: string, request: HubRequest) {
  const response = await hubFetch(settings, url, request);
  const { status, headers } = response;
  const body = await withStallLimit(response.arrayBuffer(), settings.stallMs).catch(() => null);
  request.signal?.throwIfAborted();
  return { status, headers, body };
}

/** Rejects when nothing arrives for so long. */
export async function withStallLimit<T>(reading: Promise<T>, stallMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const stalled = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no byte for ${stallMs / 1000} s`)), stallMs);
  });
  try {
    return await Promise.race([reading, stalled]);
  } finally {
    clearTimeout(timer);
  }
}
