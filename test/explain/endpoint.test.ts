/** The endpoint: what is sent, what is tried again, what stops at once; and that nothing goes elsewhere, least of all the key. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ChatRequest } from "../../src/explain/chat.ts";
import { Endpoint, type EndpointOptions } from "../../src/explain/endpoint.ts";
import { ChatServer, type ChatServerOptions } from "./chat-server.ts";

const KEY = "sk-made-up-0123456789";
const request: ChatRequest = {
  model: "made-up-model",
  messages: [
    { role: "system", content: "You judge." },
    { role: "user", content: "Pattern: x\n\nPieces:\n1. a\n2. b" },
  ],
  maxAnswerTokens: 50,
  temperature: 0,
  seed: 3,
  logprobs: true,
};

let server: ChatServer;
beforeEach(async () => {
  server = await ChatServer.start({ answer: () => "[1, 0]", logprobs: true });
});
afterEach(() => server.stop());

function endpoint(changes: Partial<EndpointOptions> = {}): Endpoint {
  return new Endpoint({
    url: server.url,
    key: () => KEY,
    timeoutMs: 10_000,
    retryDelayMs: 1,
    attempts: 3,
    ...changes,
  });
}

async function restart(changes: Partial<ChatServerOptions>): Promise<void> {
  await server.stop();
  server = await ChatServer.start({ answer: () => "[1, 0]", ...changes });
}

describe("a request", () => {
  it("is sent as the protocol says, and its answer is read with usage and log-probabilities", async () => {
    const outcome = await endpoint().ask(request);
    expect(outcome).toMatchObject({ kind: "answer", text: "[1, 0]", finish: "stop" });
    if (outcome.kind !== "answer") throw new Error("no answer");
    expect(outcome.usage).toEqual({ promptTokens: server.tokens - 2, answerTokens: 2 });
    expect(outcome.logprobs?.map(({ token }) => token).join("")).toBe("[1, 0]");
    expect(outcome.logprobs?.[1].alternatives).toHaveLength(2);
    const [{ url, authorization, body }] = server.seen;
    expect({ url, authorization }).toEqual({ url: "/v1/chat/completions", authorization: `Bearer ${KEY}` });
    expect(body).toEqual({
      model: "made-up-model",
      messages: request.messages,
      stream: false,
      max_tokens: 50,
      temperature: 0,
      seed: 3,
      logprobs: true,
      top_logprobs: 5,
    });
  });

  it("does without what the server does not take, and without what it does not give", async () => {
    await restart({ without: ["logprobs", "seed", "max_tokens", "temperature"], usage: false });
    const client = endpoint({ key: undefined });
    expect(await client.ask(request)).toMatchObject({ kind: "answer", logprobs: null, usage: null });
    expect(server.seen).toHaveLength(5);
    await client.ask(request); // what was refused once is not sent again
    expect(server.seen).toHaveLength(6);
    expect(Object.keys(server.seen[5].body).sort()).toEqual([
      "max_completion_tokens",
      "messages",
      "model",
      "stream",
    ]);
    expect(server.seen[5].authorization).toBeUndefined();
    expect(client.refused).toEqual(["logprobs", "seed", "max_tokens", "temperature"]);
  });
});

describe("a failure that may pass", () => {
  it.each([
    ["429", { kind: "status", status: 429, retryAfter: "0" }, false],
    ["500", { kind: "status", status: 500 }, false],
    ["503", { kind: "status", status: 503, body: "busy" }, false],
    ["529", { kind: "status", status: 529 }, false],
    ["a lost connection", { kind: "reset" }, true],
    ["silence", { kind: "hang" }, true],
    ["half an answer", { kind: "truncated" }, true],
    ["a page that is no answer", { kind: "not json" }, true],
    ["an answer without choices", { kind: "no choices" }, true],
  ] as const)("%s: asked again", async (_name, fault, mayHaveCost) => {
    server.faults.push(fault);
    let nLost = 0;
    const timeoutMs = fault.kind === "hang" ? 1000 : 10_000;
    const outcome = await endpoint({ timeoutMs }).ask(request, undefined, () => ++nLost > 0);
    expect(outcome).toMatchObject({ kind: "answer", text: "[1, 0]" });
    expect(server.seen).toHaveLength(2);
    expect(nLost).toBe(mayHaveCost ? 1 : 0);
  });

  it("waits as long as the server asks for", async () => {
    server.faults.push({ kind: "status", status: 429, retryAfter: "1" });
    const started = performance.now();
    await endpoint().ask(request);
    expect(performance.now() - started).toBeGreaterThan(950);
  });

  it("is a failure with its reason after the last try; a server that answered is no outage", async () => {
    server.faultOf = () => ({ kind: "status", status: 500 });
    expect(await endpoint().ask(request)).toEqual({
      kind: "failure",
      reason: "the endpoint answered 500: made-up fault 500 (3 tries)",
      isOutage: true,
    });
    server.faultOf = () => ({ kind: "hang" });
    expect(await endpoint({ attempts: 1, timeoutMs: 50 }).ask(request)).toMatchObject({
      reason: "no answer within 0.05 s (1 tries)",
    });
    server.faultOf = () => ({ kind: "no choices" });
    expect(await endpoint().ask(request)).toMatchObject({ kind: "failure", isOutage: false });
  });

  it("is not tried again once there is no budget for it", async () => {
    server.faultOf = () => ({ kind: "reset" });
    expect(await endpoint().ask(request, undefined, () => false)).toEqual({ kind: "left out" });
    expect(server.seen).toHaveLength(1);
  });
});

describe("a failure that will not pass", () => {
  it.each([
    [401, undefined, /refused the key \(401/],
    [403, undefined, /refused the key \(403/],
    [402, undefined, /no quota left/],
    [
      429,
      JSON.stringify({ error: { code: "insufficient_quota", message: "you are out of it" } }),
      /no quota left/,
    ],
    [404, undefined, /no such address or model/],
    [307, undefined, /a redirect, which is not followed/],
  ])("%i stops at once", async (status, body, message) => {
    server.faults.push({ kind: "status", status, ...(body === undefined ? {} : { body }) });
    await expect(endpoint().ask(request)).rejects.toThrow(message);
    expect(server.seen).toHaveLength(1);
  });

  it("a parameter that is too large is no parameter that is not taken", async () => {
    const body = JSON.stringify({
      error: { message: "'max_tokens' is too large: 5000, the context has 4096" },
    });
    server.faults.push({ kind: "status", status: 400, body });
    const client = endpoint();
    expect(await client.ask(request)).toMatchObject({ kind: "failure" });
    expect(client.refused).toEqual([]);
  });

  it("an answer of another shape is not asked for again: it would cost again", async () => {
    server.faults.push({ kind: "shape", body: { output: "[1, 0]" } });
    expect(await endpoint().ask(request)).toEqual({
      kind: "failure",
      reason: "no chat completion (choices)",
      isOutage: false,
      mayHaveCost: true,
    });
    expect(server.seen).toHaveLength(1);
    server.faults.push({ kind: "shape", body: { error: { message: "upstream is busy", code: 502 } } });
    expect(await endpoint().ask(request)).toMatchObject({ kind: "answer" });
  });

  it("400 is this request's failure alone", async () => {
    server.faults.push({
      kind: "status",
      status: 400,
      body: JSON.stringify({ error: { message: "too long" } }),
    });
    expect(await endpoint().ask(request)).toEqual({
      kind: "failure",
      reason: "the endpoint answered 400: too long",
      isOutage: false,
    });
  });

  it("takes a key with a line break at its end, and none with one inside", async () => {
    await endpoint({ key: () => `${KEY}\n` }).ask(request);
    expect(server.seen[0].authorization).toBe(`Bearer ${KEY}`);
    await expect(endpoint({ key: () => `${KEY}\nx` }).ask(request)).rejects.toThrow(
      /^the key holds characters/,
    );
    expect(server.seen).toHaveLength(1);
  });

  it("never shows the key, even if the server does", async () => {
    const body = JSON.stringify({ error: { message: `Incorrect API key provided: ${KEY}` } });
    server.faults.push(
      { kind: "status", status: 401, body },
      { kind: "status", status: 400, body },
      { kind: "says", text: `I saw ${KEY}` },
      { kind: "status", status: 403, body: body.replaceAll("-", "\\u002d") },
    );
    await expect(endpoint().ask(request)).rejects.toThrow(/provided: \[key\]/);
    expect(JSON.stringify(await endpoint().ask(request))).not.toContain(KEY);
    expect(await endpoint().ask(request)).toMatchObject({ text: "I saw [key]" });
    await expect(endpoint().ask(request)).rejects.toThrow(/provided: \[key\]/);
  });
});

describe("an address", () => {
  it.each([
    ["http://192.0.2.7:8000/v1", /over http, unencrypted/],
    ["ftp://127.0.0.1/v1", /over ftp/],
    ["https://user:secret@example.com/v1", /holds a user name or password/],
    ["127.0.0.1:8000", /over 127\.0\.0\.1|not an address/],
  ])("%s is refused", (url, message) => {
    expect(() => new Endpoint({ url })).toThrow(message);
  });

  it("is not waited for longer than can be kept to", () => {
    expect(() => endpoint({ timeoutMs: 301_000 })).toThrow(/301 s cannot be kept/);
  });

  it("may be plain http on this machine, https anywhere, and http elsewhere if that is wished", () => {
    for (const url of [
      "http://localhost:1/v1",
      "http://[::1]:1/v1",
      "https://example.com/v1/chat/completions",
    ])
      expect(new Endpoint({ url }).host).toBe(new URL(url).host);
    expect(new Endpoint({ url: "http://192.0.2.7:8000/v1", insecure: true }).host).toBe("192.0.2.7:8000");
  });
});

it("stops when told to, in the middle of a request", async () => {
  server.faultOf = () => ({ kind: "hang" });
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 50);
  await expect(endpoint({ timeoutMs: 10_000 }).ask(request, stop.signal)).rejects.toThrow(/abort/i);
});
