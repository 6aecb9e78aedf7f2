/** POST api/encode and api/steer: JSON in, JSON or a line a event out; stopped when whoever asked goes away. */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { DataError, ResourceError } from "../../errors.ts";
import { Turns } from "../../kernels/turns.ts";
import type { Live } from "../live/live-model.ts";
import { parseEncodeRequest, parseSteerRequest } from "../live/requests.ts";
import type { SteerEvent } from "../live.ts";
import { liveError, sendJson, statusOf } from "./answers.ts";

/** A text of the greatest length, every character escaped, and room for the rest. */
const MAX_BODY_BYTES = 512 * 1024;
/** Requests that wait for their turn, beside the one at work: there is one model. */
const MAX_WAITING = 8;

/** What is told of a request that is over. */
export interface LiveEvent {
  readonly kind: "encode" | "steer";
  readonly index: string;
  readonly seconds: number;
  /** null: it went well */
  readonly problem: string | null;
}

export class LiveApi {
  readonly #live: Live;
  readonly #onEvent: (event: LiveEvent) => void;
  readonly #turns = new Turns();
  #waiting = 0;

  constructor(live: Live, onEvent: (event: LiveEvent) => void) {
    this.#live = live;
    this.#onEvent = onEvent;
  }

  /** `stopping`: aborts when the server stops. */
  async answer(
    request: IncomingMessage,
    response: ServerResponse,
    kind: LiveEvent["kind"],
    stopping: AbortSignal,
  ): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const signal = AbortSignal.any([gone.signal, stopping]);
    const start = performance.now();
    let index = "";
    let problem: string | null = null;
    try {
      const body = await readBody(request);
      if (kind === "encode") {
        const asked = parseEncodeRequest(body);
        index = asked.index;
        await this.#inTurn(signal, async () => {
          const encoded = await this.#live.encode(asked, signal);
          signal.throwIfAborted();
          sendJson(response, 200, encoded);
        });
      } else {
        const asked = parseSteerRequest(body);
        index = asked.index;
        await this.#inTurn(signal, () => sendLines(response, this.#live.steer(asked, signal), signal));
      }
    } catch (error) {
      problem = signal.aborted ? "stopped" : liveError(error).message;
      if (signal.aborted) response.destroy();
      else if (response.headersSent) response.end();
      else if (error instanceof Refused) {
        response.shouldKeepAlive = false; // what is left of the body is not read
        sendJson(response, error.status, { code: "REQUEST", message: error.message });
      } else sendJson(response, statusOf(error), liveError(error));
    }
    this.#onEvent({ kind, index, seconds: (performance.now() - start) / 1000, problem });
  }

  /** @throws {ResourceError} too many wait already  @throws the signal's reason, if whoever asked has gone meanwhile */
  async #inTurn(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    if (this.#waiting > MAX_WAITING)
      throw new ResourceError("the model is busy, and others are waiting", "ask again in a while");
    this.#waiting += 1;
    try {
      await this.#turns.take(() => {
        signal.throwIfAborted();
        return work();
      });
    } finally {
      this.#waiting -= 1;
    }
  }
}

/** A request that is turned away with a status of its own. */
class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The body, as JSON. @throws {Refused} another type, coding or length  @throws {DataError} not JSON */
async function readBody(request: IncomingMessage): Promise<unknown> {
  const { headers } = request;
  if (!/^application\/json(;\s*charset=utf-8)?$/i.test(headers["content-type"] ?? ""))
    throw new Refused(415, "the body must be application/json");
  if (headers["content-encoding"] !== undefined) throw new Refused(415, "the body must not be compressed");
  const chunks: Buffer[] = [];
  let bytes = 0;
  const tooLong = `the body may have ${MAX_BODY_BYTES} bytes`;
  if (Number(headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw new Refused(413, tooLong);
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Refused(413, tooLong);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks))) as unknown;
  } catch (cause) {
    throw new DataError("the body is not JSON", { cause });
  }
}

/**
 * One JSON a line, as events come; no faster than they are taken. What fails before the first event is thrown; after it,
 * it is the last line.
 */
async function sendLines(
  response: ServerResponse,
  events: AsyncIterable<SteerEvent>,
  signal: AbortSignal,
): Promise<void> {
  const iterator = events[Symbol.asyncIterator]();
  let next = await iterator.next();
  response.writeHead(200, {
    "Content-Type": "application/x-ndjson; charset=utf-8",
    "Cache-Control": "no-store",
  });
  try {
    while (next.done !== true) {
      if (!response.write(`${JSON.stringify(next.value)}\n`)) await once(response, "drain", { signal });
      next = await iterator.next();
    }
    response.end();
  } catch (error) {
    if (!signal.aborted)
      response.end(`${JSON.stringify({ kind: "error", error: liveError(error) } satisfies SteerEvent)}\n`);
    throw error;
  } finally {
    await iterator.return?.();
  }
}
