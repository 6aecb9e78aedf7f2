/**
 * Answers GET and HEAD with the site's listed files. An address is looked up in a table, as it was sent: it is never
 * decoded, and never joined onto a folder.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { hashBytes } from "../../storage/hash.ts";
import { bytesOfFile, type SiteFile } from "../site-files.ts";
import { sendJson } from "./answers.ts";
import { byteRange } from "./byte-range.ts";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  json: "application/json; charset=utf-8",
  svg: "image/svg+xml",
  png: "image/png",
  ico: "image/x-icon",
  woff2: "font/woff2",
  txt: "text/plain; charset=utf-8",
};

/** The page's own files have their content's hash in their names. */
const IMMUTABLE = /^assets\//;

export class StaticFiles {
  readonly #files: ReadonlyMap<string, SiteFile>;

  constructor(files: readonly SiteFile[]) {
    this.#files = new Map(files.map((file) => [addressOf(file.path), file]));
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [address] = (request.url ?? "").split("?", 1);
    const file = this.#files.get(address === "/" ? "/index.html" : address);
    if (file === undefined)
      return sendJson(response, 404, { code: "ABSENT", message: "there is nothing at this address" });
    const opened = file.source.kind === "file" ? await openListed(file.source) : null;
    if (opened === "changed")
      return sendJson(response, 409, {
        code: "CHANGED",
        message: `${file.path} is not what it was when the server started`,
        hint: "start the server again",
      });
    try {
      await send(request, response, file, opened);
    } finally {
      await opened?.close();
    }
  }
}

function addressOf(path: string): string {
  return `/${path.split("/").map(encodeURIComponent).join("/")}`;
}

/** The file, if it is still the one that was listed; a link put in its place is not followed. */
async function openListed(listed: SiteFile["source"] & { kind: "file" }): Promise<FileHandle | "changed"> {
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0);
  const handle = await open(listed.file, flags).catch(() => null);
  if (handle === null) return "changed";
  const info = await handle.stat();
  if (info.isFile() && info.size === listed.bytes && info.mtimeMs === listed.mtimeMs) return handle;
  await handle.close();
  return "changed";
}

/** `handle` null: the file is in memory. */
async function send(
  request: IncomingMessage,
  response: ServerResponse,
  file: SiteFile,
  handle: FileHandle | null,
): Promise<void> {
  const { headers, method } = request;
  const size = bytesOfFile(file);
  const etag = etagOf(file);
  const cached = {
    ETag: etag,
    "Cache-Control": IMMUTABLE.test(file.path) ? "public, max-age=31536000, immutable" : "no-cache",
  };
  if (matches(headers["if-none-match"], etag)) {
    response.writeHead(304, cached);
    response.end();
    return;
  }
  const asked = method === "GET" && (headers["if-range"] ?? etag) === etag ? headers.range : undefined;
  const range = byteRange(asked, size);
  if (range === "unsatisfiable")
    return sendJson(
      response,
      416,
      { code: "RANGE", message: `the file has ${size} bytes` },
      { "Content-Range": `bytes */${size}` },
    );
  const { from, to } = range ?? { from: 0, to: size - 1 };
  response.writeHead(range === null ? 200 : 206, {
    ...cached,
    "Content-Type": TYPES[file.path.split(".").at(-1) ?? ""] ?? "application/octet-stream",
    "Content-Length": to - from + 1,
    "Accept-Ranges": "bytes",
    ...(range === null ? {} : { "Content-Range": `bytes ${from}-${to}/${size}` }),
  });
  if (method === "HEAD" || size === 0) response.end();
  else if (file.source.kind === "memory") response.end(file.source.content.subarray(from, to + 1));
  else if (handle !== null)
    await pipeline(handle.createReadStream({ start: from, end: to, autoClose: false }), response);
}

/** Changes whenever the bytes do. */
function etagOf({ source }: SiteFile): string {
  if (source.kind === "memory") return `"${hashBytes(source.content)}"`;
  return `"${source.sha256 ?? `${source.bytes.toString(16)}-${Math.round(source.mtimeMs * 1000).toString(16)}`}"`;
}

/** `If-None-Match`: a list of tags, or any. */
function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(",").some((tag) => [etag, "*"].includes(tag.trim().replace(/^W\//, "")));
}
