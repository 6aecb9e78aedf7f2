/** What every answer carries: headers that let a page load from here and nowhere else; and errors as JSON. */
import type { ServerResponse } from "node:http";
import { type ErrorCode, LapidaryError } from "../../errors.ts";
import type { LiveError } from "../live.ts";
import { PAGE_POLICY } from "../page-policy.ts";

/** On every answer, errors too. */
export const SAFE_HEADERS: Readonly<Record<string, string>> = {
  "Content-Security-Policy": `${PAGE_POLICY}; frame-ancestors 'none'`,
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
};

export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, {
    "Content-Type": "application/json; charset=utf-8",
    "Content-Length": body.length,
    "Cache-Control": "no-store",
    ...headers,
  });
  response.end(response.req.method === "HEAD" ? undefined : body);
}

export function liveError(error: unknown): LiveError {
  if (!(error instanceof LapidaryError))
    return { code: "UNEXPECTED", message: error instanceof Error ? error.message : String(error) };
  const { code, message, hint } = error;
  return hint === undefined ? { code, message } : { code, message, hint };
}

/** HTTP's number for what went wrong: what was asked, what there is, or we ourselves. */
export function statusOf(error: unknown): number {
  if (!(error instanceof LapidaryError)) return 500;
  return STATUS[error.code] ?? 500;
}

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  DATA: 400,
  SHAPE: 400,
  UNSUPPORTED: 400,
  RESOURCES: 503,
  STATE: 503,
};
