/** The live part of the site: encoding typed text, and steering, whose tokens come one by one. */
import type {
  Encoded,
  EncodeRequest,
  LiveError,
  SteerEvent,
  SteerRequest,
} from "../../../src/dashboard/live.ts";

/** What the server refused, in its words. */
export class LiveRefusal extends Error {
  readonly hint: string | undefined;

  constructor({ message, hint }: LiveError) {
    super(message);
    this.hint = hint;
  }
}

async function post(path: string, body: unknown, signal: AbortSignal): Promise<Response> {
  const response = await fetch(new URL(path, document.baseURI), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (response.ok) return response;
  const error = (await response.json().catch(() => null)) as (LiveError & { error?: LiveError }) | null;
  throw new LiveRefusal(
    error?.error ?? {
      code: error?.code ?? "http",
      message: error?.message ?? `the server answered ${response.status} ${response.statusText}`,
      hint: error?.hint,
    },
  );
}

/** @throws {LiveRefusal} the server could not, and says why */
export async function encode(request: EncodeRequest, signal: AbortSignal): Promise<Encoded> {
  return (await post("api/encode", request, signal)).json();
}

/** Events in the order they come; ends with the stream. @throws {LiveRefusal} it was refused before it began */
export async function* steer(request: SteerRequest, signal: AbortSignal): AsyncGenerator<SteerEvent> {
  const response = await post("api/steer", request, signal);
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : (lines.pop() ?? "");
    for (const line of lines) if (line.trim() !== "") yield JSON.parse(line) as SteerEvent;
    if (done) return;
  }
}
