/**
 * A small chat-completions server on this machine, for tests: answers in the shape that OpenAI's API and its look-alikes
 * give, with usage and, if it is to, log-probabilities. It notes every request and can fail in every way that was seen.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { promptOf, type SeenPrompt } from "./seen-prompt.ts";

export interface SeenRequest {
  readonly url: string;
  readonly authorization: string | undefined;
  readonly body: Record<string, unknown>;
  readonly prompt: SeenPrompt;
}

/** What goes wrong with a request, once. */
export type Fault =
  | { readonly kind: "status"; readonly status: number; readonly body?: string; readonly retryAfter?: string }
  | { readonly kind: "hang" | "reset" | "truncated" | "no choices" | "not json" }
  | { readonly kind: "shape"; readonly body: unknown }
  | { readonly kind: "refusal"; readonly text: string }
  /** another text than the answer */
  | { readonly kind: "says"; readonly text: string; readonly finish?: string };

export interface ChatServerOptions {
  /** what a model would say to a prompt */
  readonly answer: (prompt: SeenPrompt) => string;
  readonly logprobs?: boolean;
  readonly usage?: boolean;
  /** requests with these fields are refused with 400, as some servers do */
  readonly without?: readonly string[];
  /** milliseconds before an answer */
  readonly delayOf?: () => number;
}

/** Tokens as the server counts them. */
export const countTokens = (text: string): number => Math.ceil(text.length / 4);

export class ChatServer {
  readonly seen: SeenRequest[] = [];
  /** tokens of all answers, as they were counted */
  tokens = 0;
  /** requests on their way at once, at most */
  mostAtOnce = 0;
  /** what is wrong with the next requests, in order */
  readonly faults: Fault[] = [];
  /** what is wrong with a request, by what it asks; after `faults` */
  faultOf: (prompt: SeenPrompt) => Fault | null = () => null;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #options: ChatServerOptions;
  #atOnce = 0;

  private constructor(options: ChatServerOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#on(request, response).catch((error: Error) => response.destroy(error));
    });
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  static async start(options: ChatServerOptions): Promise<ChatServer> {
    const server = new ChatServer(options);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #on(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#atOnce++;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#atOnce);
    response.on("close", () => this.#atOnce--);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Record<string, unknown>;
    const prompt = promptOf(body.messages as { content: string }[]);
    this.seen.push({ url: request.url ?? "", authorization: request.headers.authorization, body, prompt });
    const refused = (this.#options.without ?? []).find((field) => field in body);
    if (refused !== undefined) {
      send(response, 400, {
        error: { message: `Unsupported parameter: '${refused}'`, type: "invalid_request_error" },
      });
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, this.#options.delayOf?.() ?? 0));
    const fault = this.faults.shift() ?? this.faultOf(prompt);
    const text = this.#options.answer(prompt);
    if (fault === null) send(response, 200, this.#completion(body, text));
    else this.#fail(response, body, text, fault);
  }

  #fail(response: ServerResponse, body: Record<string, unknown>, text: string, fault: Fault): void {
    switch (fault.kind) {
      case "status":
        response.writeHead(fault.status, {
          "content-type": "application/json",
          ...(fault.retryAfter === undefined ? {} : { "retry-after": fault.retryAfter }),
          ...(fault.status === 307 ? { location: "http://127.0.0.1:9/v1/chat/completions" } : {}),
        });
        response.end(fault.body ?? JSON.stringify({ error: { message: `made-up fault ${fault.status}` } }));
        return;
      case "hang":
        return;
      case "reset":
        response.destroy();
        return;
      case "truncated":
        response.writeHead(200, { "content-type": "application/json" });
        response.end(JSON.stringify(this.#completion(body, text)).slice(0, -20));
        return;
      case "not json":
        response.writeHead(200, { "content-type": "text/html" });
        response.end("<html>busy</html>");
        return;
      case "no choices":
        send(response, 200, { ...this.#completion(body, text), choices: [] });
        return;
      case "shape":
        send(response, 200, fault.body);
        return;
      case "refusal":
        send(response, 200, this.#completion(body, null, { refusal: fault.text }));
        return;
      case "says":
        send(response, 200, this.#completion(body, fault.text, { finish: fault.finish }));
    }
  }

  #completion(
    body: Record<string, unknown>,
    text: string | null,
    { refusal = null, finish = "stop" }: { refusal?: string | null; finish?: string } = {},
  ): Record<string, unknown> {
    const prompt = (body.messages as { content: string }[]).reduce(
      (n, { content }) => n + countTokens(content) + 4,
      0,
    );
    const answer = Math.min(
      countTokens(text ?? refusal ?? ""),
      Number(body.max_tokens ?? body.max_completion_tokens),
    );
    this.tokens += prompt + answer;
    const logprobs =
      this.#options.logprobs && body.logprobs === true && text !== null ? { content: tokensOf(text) } : null;
    return {
      id: `chatcmpl-${this.seen.length}`,
      object: "chat.completion",
      created: 1_760_000_000,
      model: `${String(body.model)}-2026-01-01`,
      choices: [
        { index: 0, message: { role: "assistant", content: text, refusal }, logprobs, finish_reason: finish },
      ],
      ...(this.#options.usage === false
        ? {}
        : { usage: { prompt_tokens: prompt, completion_tokens: answer, total_tokens: prompt + answer } }),
    };
  }
}

/** A token a character; a digit with its rival beside it, 0.9 to 0.1. */
function tokensOf(text: string) {
  return [...text].map((token) => {
    const isDigit = token === "0" || token === "1";
    const likely = isDigit
      ? [
          { token, logprob: Math.log(0.9), bytes: null },
          { token: token === "0" ? "1" : "0", logprob: Math.log(0.1), bytes: null },
        ]
      : [{ token, logprob: -0.001, bytes: null }];
    return { ...likely[0], top_logprobs: likely };
  });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
