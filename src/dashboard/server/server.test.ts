/** The server, attacked: what is let in, what comes out, byte for byte and header for header. */
import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DataError } from "../../errors.ts";
import type { Live } from "../live/live-model.ts";
import type { SteerEvent } from "../live.ts";
import { diskFile, filesUnder, jsonFile } from "../site-files.ts";
import { type RunningServer, type ServerEvent, startServer } from "./server.ts";

const BYTES = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251));
const SHA = "ab".repeat(32);
const encodeBody = { index: "a", input: { kind: "text", text: "hi" } };
const steerBody = {
  ...encodeBody,
  interventions: [],
  positions: "all",
  nTokens: 3,
  sampling: { temperature: 0, topK: null, seed: 0 },
};

let folder: string;
let server: RunningServer;
const events: ServerEvent[] = [];
let atWork = 0;
let open = () => {};
const gate = new Promise<void>((resolve) => {
  open = resolve;
});
let stopped = 0;

const token: SteerEvent = { kind: "token", side: "plain", id: 1, text: "é\n" };
/** Says tokens until it is stopped, or fails where the text says so. */
const live: Live = {
  async encode({ input }) {
    atWork += 1;
    expect(atWork).toBe(1);
    if (input.kind === "text" && input.text === "wait") await gate;
    atWork -= 1;
    if (input.kind === "text" && input.text === "bad")
      throw new DataError("no such thing", { hint: "another" });
    return { tokens: [], truncated: false };
  },
  async *steer({ input, nTokens }, signal) {
    if (input.kind === "text" && input.text === "bad") throw new DataError("no such thing");
    for (let i = 0; i < nTokens; i++) {
      if (signal.aborted) {
        stopped += 1;
        signal.throwIfAborted();
      }
      yield token;
      if (input.kind === "text" && input.text === "slow")
        await new Promise((resolve) => setTimeout(resolve, 10));
      if (input.kind === "text" && input.text === "breaks") throw new DataError("broke");
    }
    yield { kind: "done", seconds: 0, nForwards: 1 };
  },
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lapidary-server-"));
  await mkdir(join(folder, "page/assets"), { recursive: true });
  await writeFile(join(folder, "secret.txt"), "secret");
  await writeFile(join(folder, "page/index.html"), "<!doctype html>");
  await writeFile(join(folder, "page/assets/app-1a.js"), "1");
  await writeFile(join(folder, "latents.parquet"), BYTES);
  await writeFile(join(folder, "empty.parquet"), "");
  await writeFile(join(folder, "changing.json"), "{}");
  await symlink(join(folder, "secret.txt"), join(folder, "page/linked.txt"));
  server = await startServer({
    files: [
      ...(await filesUnder(join(folder, "page"))),
      await diskFile("data/a/latents.parquet", join(folder, "latents.parquet"), SHA),
      await diskFile("data/a/empty.parquet", join(folder, "empty.parquet")),
      await diskFile("data/a/changing.json", join(folder, "changing.json")),
      jsonFile("data/site.json", { title: "é" }),
    ],
    live,
    notLive: null,
    port: 0,
    onEvent: (event) => events.push(event),
  });
});
afterAll(async () => {
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly headers: Map<string, string>;
  readonly body: Buffer;
}

/** Sends bytes as they are and reads until the server closes. */
function raw(request: string | Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, "127.0.0.1");
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => {
      const all = Buffer.concat(chunks);
      const end = all.indexOf("\r\n\r\n");
      const [first, ...lines] = all.subarray(0, end).toString("latin1").split("\r\n");
      const headers = lines.map((line): [string, string] => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      });
      resolve({
        status: Number(first.split(" ")[1]),
        headers: new Map(headers),
        body: all.subarray(end + 4),
      });
    });
    socket.write(request);
  });
}

const get = (path: string, headers: Record<string, string> = {}, method = "GET") => {
  const all = { Host: `127.0.0.1:${server.port}`, Connection: "close", ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return raw(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
};

const post = (path: string, body: unknown, headers: Record<string, string> = {}) => {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const all = {
    Host: `127.0.0.1:${server.port}`,
    Connection: "close",
    "Content-Type": "application/json",
    "Content-Length": String(bytes.length),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return raw(Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join("")}\r\n`), bytes]));
};
const json = ({ body }: Answer) => JSON.parse(body.toString()) as Record<string, unknown>;

describe("who may ask", () => {
  it("this machine by its own names, and nothing that only resolves to it", async () => {
    for (const host of ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
      expect((await get("/", { Host: `${host}:${server.port}` })).status).toBe(200);
    for (const host of [
      "evil.example",
      `evil.example:${server.port}`,
      "127.0.0.1",
      "127.0.0.1:1",
      `127.0.0.1.nip.io:${server.port}`,
      `127.0.0.1:${server.port}.evil.example`,
      `x@127.0.0.1:${server.port}`,
      "",
    ]) {
      const answer = await get("/", { Host: host });
      expect([host, answer.status, json(answer).code]).toEqual([host, 403, "HOST"]);
    }
    const twice = `Host: 127.0.0.1:${server.port}\r\nHost: evil.example\r\nConnection: close\r\n\r\n`;
    expect((await raw(`GET / HTTP/1.1\r\n${twice}`)).status).toBeGreaterThanOrEqual(400);
    expect((await raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n")).status).toBe(400);
    expect((await raw("GET / HTTP/1.0\r\n\r\n")).status).toBe(403);
  });

  it("no page of another origin, neither by GET nor by POST", async () => {
    const own = `http://127.0.0.1:${server.port}`;
    for (const origin of [
      "http://evil.example",
      "null",
      "http://127.0.0.1:1",
      `https://127.0.0.1:${server.port}`,
    ]) {
      expect((await get("/data/site.json", { Origin: origin })).status).toBe(403);
      expect((await post("/api/encode", encodeBody, { Origin: origin })).status).toBe(403);
    }
    expect((await get("/data/site.json", { Origin: own })).status).toBe(200);
    expect((await post("/api/encode", encodeBody, { Origin: own })).status).toBe(200);
  });

  it("by what browsers say of a request's cause: this page, or a person; another site may only link here", async () => {
    const site = (value: string, more = {}) => ({ "Sec-Fetch-Site": value, ...more });
    const link = { "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document" };
    const frame = { "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe" };
    for (const [headers, status] of [
      [site("same-origin"), 200],
      [site("none"), 200],
      [site("cross-site", link), 200],
      [site("cross-site"), 403],
      [site("same-site"), 403],
      [site("cross-site", frame), 403],
      [site("anything"), 403],
    ] as const)
      expect((await get("/", headers)).status).toBe(status);
    for (const [headers, status] of [
      [site("same-origin"), 200],
      [site("none"), 403],
      [site("same-site"), 403],
      [site("cross-site", link), 403],
    ] as const)
      expect((await post("/api/encode", encodeBody, headers)).status).toBe(status);
  });

  it.each(["OPTIONS", "PUT", "DELETE", "TRACE", "PATCH"])("%s is not understood", async (method) => {
    const answer = await get("/", {}, method);
    expect(answer.status).toBe(405);
    expect(answer.headers.get("access-control-allow-origin")).toBeUndefined();
  });

  it("every answer is fenced in, refusals too; none sets a cookie", async () => {
    for (const answer of [
      await get("/"),
      await get("/nothing"),
      await get("/", { Host: "evil.example" }),
      await get("/data/a/latents.parquet", { Range: "bytes=2000-" }),
      await post("/api/encode", "{"),
      await post("/api/steer", steerBody),
    ]) {
      const policy = answer.headers.get("content-security-policy");
      expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/);
      expect(policy).toMatch(/frame-ancestors 'none'$/);
      expect(policy).not.toMatch(/unsafe|http|\*/);
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect(answer.headers.get("referrer-policy")).toBe("no-referrer");
      expect(answer.headers.get("cross-origin-opener-policy")).toBe("same-origin");
      expect(answer.headers.get("cross-origin-resource-policy")).toBe("same-origin");
      expect(answer.headers.has("set-cookie")).toBe(false);
      expect(answer.headers.has("access-control-allow-origin")).toBe(false);
    }
  });

  it("listens on the loopback address alone", () => {
    expect(server.url).toBe(`http://127.0.0.1:${server.port}/`);
  });
});

describe("files", () => {
  it("are the listed ones, under their own addresses", async () => {
    for (const [path, type, body] of [
      ["/", "text/html; charset=utf-8", "<!doctype html>"],
      ["/index.html?x=1", "text/html; charset=utf-8", "<!doctype html>"],
      ["/assets/app-1a.js", "text/javascript; charset=utf-8", "1"],
      ["/data/site.json", "application/json; charset=utf-8", '{"title":"é"}'],
      ["/data/a/empty.parquet", "application/octet-stream", ""],
    ]) {
      const answer = await get(path);
      expect([answer.status, answer.headers.get("content-type"), answer.body.toString()]).toEqual([
        200,
        type,
        body,
      ]);
    }
    expect((await get("/assets/app-1a.js")).headers.get("cache-control")).toMatch(/immutable/);
    expect((await get("/data/site.json")).headers.get("cache-control")).toBe("no-cache");
    expect((await get("/data/a/latents.parquet")).body).toEqual(BYTES);
  });

  it.each([
    "/../secret.txt",
    "/assets/../../secret.txt",
    "/assets/..%2f..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/..\\secret.txt",
    "/assets/%5c..%5c..%5csecret.txt",
    "/index.html%00.js",
    "//index.html",
    "/./index.html",
    "/INDEX.HTML",
    "/index.html/",
    "/assets",
    "/assets/",
    "/linked.txt",
    "/data/a",
    "/data/constructor",
    "/__proto__",
    "/%",
  ])("%s is nothing", async (path) => {
    const answer = await get(path);
    expect(answer.status).toBe(404);
    expect(answer.body.toString()).not.toContain("secret");
  });

  it("whole addresses, and long ones, are refused", async () => {
    expect((await get(`http://127.0.0.1:${server.port}/`)).status).toBe(400);
    expect((await get("*")).status).toBe(400);
    expect((await get(`/${"x".repeat(3000)}`)).status).toBe(400);
    expect((await get("/index.html\0")).status).toBe(400);
  });

  it("come in ranges, as whoever reads Parquet asks for them", async () => {
    const path = "/data/a/latents.parquet";
    const head = await get(path, { Range: "bytes=0-9" }, "HEAD");
    expect([head.status, head.headers.get("content-length"), head.body.length]).toEqual([200, "1000", 0]);
    expect(head.headers.get("accept-ranges")).toBe("bytes");
    expect(head.headers.get("etag")).toBe(`"${SHA}"`);
    for (const [range, from, to] of [
      ["bytes=0-0", 0, 1],
      ["bytes=100-199", 100, 200],
      ["bytes=990-5000", 990, 1000],
      ["bytes=-8", 992, 1000],
    ] as const) {
      const answer = await get(path, { Range: range });
      expect(answer.status).toBe(206);
      expect(answer.headers.get("content-range")).toBe(`bytes ${from}-${to - 1}/1000`);
      expect(answer.body).toEqual(BYTES.subarray(from, to));
    }
    const beyond = await get(path, { Range: "bytes=1000-" });
    expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, "bytes */1000"]);
    expect((await get(path, { Range: "bytes=0-1,4-5" })).status).toBe(200);
    expect((await get("/data/a/empty.parquet", { Range: "bytes=0-" })).status).toBe(416);
    expect((await get("/data/site.json", { Range: "bytes=1-3" })).body.toString()).toBe('"ti');
  });

  it("are not sent again where they are known, and not in part where they are not what they were", async () => {
    const path = "/data/a/latents.parquet";
    const known = await get(path, { "If-None-Match": `W/"x", "${SHA}"` });
    expect([known.status, known.body.length]).toEqual([304, 0]);
    expect((await get(path, { Range: "bytes=0-1", "If-Range": `"${SHA}"` })).status).toBe(206);
    expect((await get(path, { Range: "bytes=0-1", "If-Range": '"other"' })).status).toBe(200);
  });

  it("that changed on the disk, or were replaced by a link, are refused", async () => {
    const path = join(folder, "changing.json");
    expect((await get("/data/a/changing.json")).status).toBe(200);
    await utimes(path, 1, 1);
    const answer = await get("/data/a/changing.json");
    expect([answer.status, json(answer).code]).toEqual([409, "CHANGED"]);
    await rm(path);
    expect((await get("/data/a/changing.json")).status).toBe(409);
    await symlink(join(folder, "secret.txt"), path);
    expect((await get("/data/a/changing.json")).status).toBe(409);
  });
});

describe("live", () => {
  it("answers JSON with JSON", async () => {
    const answer = await post("/api/encode", encodeBody, {
      "Content-Type": "application/json; charset=UTF-8",
    });
    expect([answer.status, json(answer)]).toEqual([200, { tokens: [], truncated: false }]);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(events.at(-1)).toMatchObject({ kind: "encode", index: "a", problem: null });
  });

  it("takes JSON alone, of a bounded length, in words it knows", async () => {
    const status = async (body: unknown, headers = {}) => (await post("/api/encode", body, headers)).status;
    expect(await status(encodeBody, { "Content-Type": "text/plain" })).toBe(415);
    expect(await status(encodeBody, { "Content-Type": "application/json-seq" })).toBe(415);
    expect(await status(encodeBody, { "Content-Encoding": "gzip" })).toBe(415);
    expect(await status("{")).toBe(400);
    expect(await status(Buffer.from([0xff]).toString("latin1"))).toBe(400);
    expect(await status({ ...encodeBody, more: 1 })).toBe(400);
    expect(await status(steerBody)).toBe(400);
    const bad = await post("/api/encode", { index: "a", input: { kind: "text", text: "bad" } });
    expect([bad.status, json(bad)]).toEqual([
      400,
      { code: "DATA", message: "no such thing", hint: "another" },
    ]);
  });

  it("bodies that are too long are refused before they are read, or while they are", async () => {
    const long = JSON.stringify({ ...encodeBody, index: "x".repeat(600_000) });
    expect((await post("/api/encode", long.slice(0, 10), { "Content-Length": String(10 ** 9) })).status).toBe(
      413,
    );
    const head = `POST /api/encode HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`;
    const chunk = `${(60_000).toString(16)}\r\n${"x".repeat(60_000)}\r\n`;
    expect((await raw(head + chunk.repeat(10))).status).toBe(413);
  });

  it("is asked by POST, and pages are not", async () => {
    expect((await get("/api/encode")).status).toBe(405);
    expect((await post("/index.html", encodeBody)).status).toBe(405);
    expect((await post("/api/other", encodeBody)).status).toBe(405);
  });

  it("streams a line an event; what fails first has a status, what fails later is the last line", async () => {
    const lines = ({ body }: Answer) =>
      body
        .toString()
        .split("\r\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as SteerEvent);
    const answer = await post("/api/steer", steerBody);
    expect(answer.headers.get("content-type")).toBe("application/x-ndjson; charset=utf-8");
    expect(lines(answer)).toEqual([token, token, token, { kind: "done", seconds: 0, nForwards: 1 }]);
    const bad = await post("/api/steer", { ...steerBody, input: { kind: "text", text: "bad" } });
    expect([bad.status, json(bad).code]).toEqual([400, "DATA"]);
    const breaks = await post("/api/steer", { ...steerBody, input: { kind: "text", text: "breaks" } });
    expect(lines(breaks)).toEqual([token, { kind: "error", error: { code: "DATA", message: "broke" } }]);
  });

  it("one request at a time, so many waiting, the others told to come again", async () => {
    const waits = { ...encodeBody, input: { kind: "text", text: "wait" } };
    const statuses: number[] = [];
    const asked = Array.from({ length: 14 }, async () => {
      statuses.push((await post("/api/encode", waits)).status);
    });
    await expect.poll(() => statuses).toEqual(Array(5).fill(503));
    open();
    await Promise.all(asked);
    expect(statuses.slice(5)).toEqual(Array(9).fill(200));
  });

  it("stops when whoever asked goes away", async () => {
    const slow = JSON.stringify({ ...steerBody, nTokens: 256, input: { kind: "text", text: "slow" } });
    const before = stopped;
    const socket = connect(server.port, "127.0.0.1");
    socket.write(
      `POST /api/steer HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nContent-Type: application/json\r\nContent-Length: ${slow.length}\r\n\r\n${slow}`,
    );
    await new Promise((resolve) => socket.once("data", resolve));
    socket.destroy();
    await expect.poll(() => stopped).toBe(before + 1);
    await expect.poll(() => events.at(-1)).toMatchObject({ kind: "steer", problem: "stopped" });
    expect((await post("/api/encode", encodeBody)).status).toBe(200);
  });

  it("a static site says why nothing is live; a port in use is told; closing ends what is under way", async () => {
    const other = await startServer({ files: [], live: null, notLive: "no model", port: 0 });
    const answer = await fetch(`${other.url}api/encode`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(encodeBody),
    });
    expect([answer.status, await answer.json()]).toEqual([404, { code: "STATE", message: "no model" }]);
    await expect(startServer({ files: [], live: null, notLive: null, port: other.port })).rejects.toThrow(
      /port \d+ is in use/,
    );
    await other.close();
    const slow = await startServer({ files: [], live, notLive: null, port: 0 });
    const asked = await fetch(`${slow.url}api/steer`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...steerBody, nTokens: 256, input: { kind: "text", text: "slow" } }),
    });
    await slow.close();
    await expect(asked.text()).rejects.toThrow();
  });
});
