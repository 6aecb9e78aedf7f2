/**
 * Who may ask. The server listens on this machine alone, but every web page that is open on it can send requests there:
 * names that resolve to it (DNS rebinding), pages of other origins, forms, and frames are turned away here.
 */
import type { IncomingMessage } from "node:http";
import type { LiveError } from "../live.ts";

export interface Refusal {
  readonly status: number;
  readonly error: LiveError;
  readonly headers?: Readonly<Record<string, string>>;
}

const MAX_URL = 2048;

/** Null: it may be answered. `port`: the one that is listened on. */
export function refusal(request: IncomingMessage, port: number): Refusal | null {
  const { method = "", url = "", rawHeaders, headers } = request;
  const names = rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
  const hosts = LOOPBACK.map((name) => `${name}:${port}`);
  const { host } = headers;
  if (names.filter((name) => name === "host").length !== 1 || !hosts.includes(host?.toLowerCase() ?? ""))
    return refused(403, "HOST", `this server is called ${hosts[0]}`);
  if (!METHODS.includes(method))
    return refused(405, "METHOD", "GET, HEAD and POST are understood", { Allow: METHODS.join(", ") });
  if (!url.startsWith("/") || url.length > MAX_URL) return refused(400, "PATH", "no such address");
  const origins = hosts.map((name) => `http://${name}`);
  const { origin } = headers;
  if (origin !== undefined && !origins.includes(origin.toLowerCase()))
    return refused(403, "ORIGIN", "pages of other origins are not answered");
  if (!isFromHere(headers, method))
    return refused(403, "ORIGIN", "requests that another site causes are not answered");
  return null;
}

const LOOPBACK = ["127.0.0.1", "localhost", "[::1]"];
const METHODS = ["GET", "HEAD", "POST"];

/** By what browsers say of a request's cause: this page, the user, or a link that opens the page in its own tab. */
function isFromHere(headers: IncomingMessage["headers"], method: string): boolean {
  const site = headers["sec-fetch-site"];
  if (site === undefined || site === "same-origin") return true;
  const opensPage =
    method !== "POST" && headers["sec-fetch-mode"] === "navigate" && headers["sec-fetch-dest"] === "document";
  return opensPage || (site === "none" && method !== "POST");
}

function refused(
  status: number,
  code: string,
  message: string,
  headers?: Readonly<Record<string, string>>,
): Refusal {
  return { status, error: { code, message }, headers };
}
