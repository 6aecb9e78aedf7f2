/**
 * A plain file server for tests of the page: the built page, a made-up site, ranges, the headers of the real server,
 * and live answers made up from the text. Not the real server; that has its own tests.
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import type {
  Encoded,
  EncodeRequest,
  LiveInput,
  SteerEvent,
  SteerRequest,
} from "../../src/dashboard/live.ts";
import { SAFE_HEADERS } from "../../src/dashboard/server/answers.ts";
import type { Site } from "../../src/dashboard/site.ts";

const PAGE = fileURLToPath(new URL("../../web/dist", import.meta.url));
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".json": "application/json",
};

export interface SiteServer {
  readonly url: string;
  /** "path range" of each request of data, in order */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

export interface SiteServerOptions {
  /** under which path of the host the site lies */
  readonly path?: string;
  /** false: as a host that knows no ranges */
  readonly ranges?: boolean;
  /** answered as data/site.json instead of the file */
  readonly site?: Site;
}

/** Serves the page and `<folder>/data`. */
export async function serveSite(folder: string, options: SiteServerOptions = {}): Promise<SiteServer> {
  const { path = "some/path" } = options;
  const asked: string[] = [];
  const server = createServer((request, response) => {
    answer(request, response, folder, options, asked).catch(() => {
      if (!response.headersSent) response.writeHead(404);
      response.end();
    });
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/${path}/`, asked, close: () => close(server) };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  folder: string,
  { path: base = "some/path", ranges = true, site }: SiteServerOptions,
  asked: string[],
): Promise<void> {
  const at = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
  if (!at.startsWith(`/${base}/`)) throw new Error("outside");
  const path = normalize(at.slice(base.length + 2)) || "index.html";
  for (const [name, value] of Object.entries(SAFE_HEADERS)) response.setHeader(name, value);
  if (path.startsWith("api")) return live(path, request, response);
  if (path === "data/site.json" && site !== undefined) {
    response.end(JSON.stringify(site));
    return;
  }
  const file = path.startsWith("data") ? join(folder, path) : join(PAGE, path === "." ? "index.html" : path);
  const { size } = await stat(file);
  if (path.startsWith("data")) asked.push(`${path} ${request.headers.range ?? "whole"}`);
  response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  if (!ranges || first === undefined) {
    response.writeHead(200, { "Content-Length": size });
    createReadStream(file).pipe(response);
    return;
  }
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size - 1 : Math.min(size - 1, Number(last));
  response.writeHead(206, {
    "Content-Length": end - start + 1,
    "Content-Range": `bytes ${start}-${end}/${size}`,
  });
  createReadStream(file, { start, end }).pipe(response);
}

async function live(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = "";
  for await (const chunk of request) body += chunk;
  if (path === "api/encode") {
    const { input } = JSON.parse(body) as EncodeRequest;
    if (textOf(input).includes("refuse")) {
      response.writeHead(422, { "Content-Type": "application/json" });
      response.end(
        JSON.stringify({ code: "refused", message: "this text is refused <b>", hint: "type another" }),
      );
      return;
    }
    response.end(JSON.stringify(encoded(input)));
    return;
  }
  response.writeHead(200, { "Content-Type": "application/x-ndjson" });
  for (const event of steered(JSON.parse(body) as SteerRequest)) {
    if (response.destroyed) return;
    response.write(`${JSON.stringify(event)}\n`);
    await new Promise((later) => setTimeout(later, 5));
  }
  response.end();
}

const textOf = (input: LiveInput) =>
  input.kind === "text"
    ? input.text
    : input.messages.map(({ role, content }) => `<${role}>${content}`).join("\n");

/** Latents 7 and 10 + the token's length fire on each word. */
function encoded(input: LiveInput): Encoded {
  const texts = textOf(input).match(/\n|\s?[^\s]+|\s/g) ?? [];
  return {
    truncated: false,
    tokens: [
      {
        id: 0,
        text: "<bos>",
        role: "bos",
        kept: false,
        latents: [],
        acts: [],
        squaredNorm: null,
        squaredError: null,
      },
      ...texts.map((text, i) => ({
        id: i + 1,
        text,
        role: "user",
        kept: true,
        latents: [10 + text.length, 7],
        acts: [5 + text.length, 1 + (i % 3)],
        squaredNorm: 100,
        squaredError: 5 + 3 * text.length,
      })),
    ],
  };
}

function* steered({ nTokens, interventions }: SteerRequest): Generator<SteerEvent> {
  for (let i = 0; i < nTokens; i++) {
    yield { kind: "token", side: "plain", id: i, text: ` word${i}` };
    const text = i < 2 ? ` word${i}` : ` ${interventions[0].kind}<b>${interventions[0].latent}`;
    yield { kind: "token", side: "steered", id: i, text };
  }
  yield { kind: "end", side: "plain", why: "length", text: "" };
  yield { kind: "end", side: "steered", why: "stop", text: "⟨0xF0⟩" };
  yield { kind: "done", seconds: 0.5, nForwards: 2 * nTokens };
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((done) => server.close(() => done()));
}
