/**
 * The local server of a site: the page, its data by byte ranges, and what is live. Listens on 127.0.0.1 alone; reads what
 * is listed and writes nothing; sets no cookies and asks for no password, because `guard.ts` lets nobody else in.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { StateError } from "../../errors.ts";
import type { Live } from "../live/live-model.ts";
import type { SiteFile } from "../site-files.ts";
import { liveError, SAFE_HEADERS, sendJson } from "./answers.ts";
import { refusal } from "./guard.ts";
import { LiveApi, type LiveEvent } from "./live-api.ts";
import { StaticFiles } from "./static-files.ts";

/** What is served, and where. */
export interface ServerOptions {
  readonly files: readonly SiteFile[];
  /** null: nothing can be typed or steered, and `notLive` says why */
  readonly live: Live | null;
  readonly notLive: string | null;
  /** 0: any that is free */
  readonly port: number;
  readonly onEvent?: (event: ServerEvent) => void;
}

/** What is told while the server runs: live requests that are over, requests turned away, and what failed. */
export type ServerEvent =
  | LiveEvent
  | { readonly kind: "refused"; readonly status: number; readonly message: string }
  | { readonly kind: "failed"; readonly message: string };

/** A server that listens. */
export interface RunningServer {
  readonly url: string;
  readonly port: number;
  /** Stops what is live, answers no more, ends. */
  close(): Promise<void>;
}

const HOST = "127.0.0.1";
const LIVE_PATHS = new Map([
  ["/api/encode", "encode"],
  ["/api/steer", "steer"],
] as const);

/** Serves a site on 127.0.0.1. @throws {StateError} the port is in use, or may not be listened on */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const site = new SiteServer(options);
  const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000 }, (request, response) =>
    site.answer(request, response, (server.address() as AddressInfo).port),
  );
  server.maxConnections = 128;
  await listen(server, options.port);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${HOST}:${port}/`,
    port,
    async close() {
      site.stopping.abort();
      const ended = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await ended;
    },
  };
}

async function listen(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        new StateError(
          cause.code === "EADDRINUSE"
            ? `port ${port} is in use`
            : `cannot listen on port ${port} (${cause.message})`,
          "--port 0 takes any that is free",
        ),
      ),
    );
    server.listen({ port, host: HOST, exclusive: true }, resolve);
  });
}

class SiteServer {
  readonly stopping = new AbortController();
  readonly #files: StaticFiles;
  readonly #api: LiveApi | null;
  readonly #notLive: string;
  readonly #onEvent: (event: ServerEvent) => void;

  constructor({ files, live, notLive, onEvent = () => {} }: ServerOptions) {
    this.#files = new StaticFiles(files);
    this.#api = live === null ? null : new LiveApi(live, onEvent);
    this.#notLive = notLive ?? "nothing is live here";
    this.#onEvent = onEvent;
  }

  /** Never throws: what goes wrong is answered, or ends the connection. */
  answer(request: IncomingMessage, response: ServerResponse, port: number): void {
    for (const [name, value] of Object.entries(SAFE_HEADERS)) response.setHeader(name, value);
    this.#dispatch(request, response, port).catch((error: unknown) => {
      if (!response.closed) this.#onEvent({ kind: "failed", message: liveError(error).message });
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, liveError(error));
    });
  }

  async #dispatch(request: IncomingMessage, response: ServerResponse, port: number): Promise<void> {
    const refused = refusal(request, port);
    if (refused !== null) {
      const { status, error, headers } = refused;
      this.#onEvent({ kind: "refused", status, message: error.message });
      response.shouldKeepAlive = false; // a body, if there is one, is not read
      return sendJson(response, status, error, headers);
    }
    const kind = LIVE_PATHS.get((request.url ?? "") as "/api/encode");
    const isPost = request.method === "POST";
    if ((kind !== undefined) !== isPost) {
      response.shouldKeepAlive = false;
      const Allow = kind === undefined ? "GET, HEAD" : "POST";
      return sendJson(response, 405, { code: "METHOD", message: `${Allow} is understood here` }, { Allow });
    }
    if (kind === undefined) return this.#files.answer(request, response);
    if (this.#api === null) {
      response.shouldKeepAlive = false;
      return sendJson(response, 404, { code: "STATE", message: this.#notLive });
    }
    return this.#api.answer(request, response, kind, this.stopping.signal);
  }
}
