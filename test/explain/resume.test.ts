/** Killed, capped, cut off: the same command goes on, sends nothing twice, never exceeds its cap and ends in the same file. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { commandLine } from "../run/command-line.ts";
import { startCli } from "../run/small-recipe.ts";
import { ChatServer, type ChatServerOptions } from "./chat-server.ts";
import { WORLD } from "./made-up-index.ts";
import { knowsTheRule } from "./seen-prompt.ts";
import { against, explain, readManifest, readRows, Worlds } from "./worlds.ts";

const KEY = "sk-made-up-9876543210";

let worlds: Worlds;
let server: ChatServer;
beforeAll(async () => {
  worlds = await Worlds.open();
});
afterAll(() => worlds.remove());
afterEach(() => server?.stop());

async function serve(changes: Partial<ChatServerOptions> = {}): Promise<ChatServer> {
  server = await ChatServer.start({ answer: knowsTheRule, logprobs: true, ...changes });
  return server;
}

const asked = () => server.seen.map(({ body }) => JSON.stringify(body));

async function bytesOf(folder: string): Promise<Buffer[]> {
  return Promise.all(
    ["explanations.parquet", "explanations.json"].map((name) => readFile(join(folder, name))),
  );
}

describe("killed in the middle", () => {
  it("goes on: the same file, and nothing that was answered is sent again", async () => {
    await serve({ delayOf: () => 25 });
    const [killed, undisturbed] = [await worlds.copy(), await worlds.copy()];
    const args = [
      "--endpoint",
      server.url,
      "--model",
      "m",
      "--latents",
      "0-3,13",
      "--concurrency",
      "4",
      "--quiet",
    ];
    const { child, finished } = startCli(killed, ["explain", killed, ...args], { OPENAI_API_KEY: KEY });
    while (server.seen.length < 25) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill("SIGKILL");
    expect((await finished).code).toBeNull();
    expect((await readdir(killed)).filter((name) => name.startsWith("explanations"))).toEqual([]);
    const nBefore = server.seen.length;

    const resumed = await commandLine(killed, "explain", killed, ...args);
    expect(resumed, resumed.stderr).toMatchObject({ code: 0 });
    const all = asked();
    const nTwice = all.length - new Set(all).size;
    expect(nTwice).toBeLessThanOrEqual(4); // those on their way when it was killed
    expect(nBefore).toBeGreaterThan(20);

    const nThen = server.seen.length;
    const again = await commandLine(killed, "explain", killed, ...args);
    expect(again.stdout).toMatch(/0 requests sent, 0 tokens; \d+ answers were in the cache/);
    expect(server.seen.length).toBe(nThen);

    await commandLine(undisturbed, "explain", undisturbed, ...args);
    expect(await bytesOf(undisturbed)).toEqual(await bytesOf(killed));
  });
});

describe("a cap on tokens", () => {
  it.each([0, 1000, 12_000])("of %i is never exceeded; a larger one goes on", async (maxTokensTotal) => {
    await serve();
    const folder = await worlds.copy();
    const options = against(server, { latents: [0, 1, 2, WORLD.evenTwin], maxTokensTotal });
    const { isCapped, counts } = await explain(folder, options);
    expect(server.tokens).toBeLessThanOrEqual(maxTokensTotal);
    expect(counts.spentTokens).toBe(server.tokens);
    expect(isCapped).toBe(true);
    const [{ counts: of }] = (await readManifest(folder)).runs;
    expect(of.explained + of.leftOut).toBe(4);
    for (const row of await readRows(folder))
      if (row.detection_accuracy === null) expect(row.score_failure).toBe("the cap on tokens was reached");
    const whole = await explain(folder, { ...options, maxTokensTotal: 500_000 });
    expect(whole.isCapped).toBe(false);
    expect((await readRows(folder)).every((row) => row.detection_accuracy !== null)).toBe(true);
  });

  it("counts tries that were lost on the way in full", async () => {
    await serve();
    const folder = await worlds.copy();
    let n = 0;
    server.faultOf = () => (n++ % 2 === 0 ? { kind: "reset" } : null);
    const { counts } = await explain(folder, against(server, { latents: [0], score: 0 }));
    expect(server.seen).toHaveLength(2);
    const bytes = (server.seen[0].body.messages as { content: string }[]).reduce(
      (sum, { content }) => sum + Buffer.byteLength(content),
      0,
    );
    expect(counts.spentTokens).toBe(server.tokens + bytes + 2 * 16 + 400);
  });

  it("holds by the estimate where the endpoint does not count", async () => {
    await serve({ usage: false });
    const folder = await worlds.copy();
    const { counts, isCapped } = await explain(
      folder,
      against(server, { latents: [0, 1, 2], maxTokensTotal: 9000 }),
    );
    expect(isCapped).toBe(true);
    expect(counts.spentTokens).toBeGreaterThan(1000);
    expect(counts.spentTokens).toBeLessThanOrEqual(9000);
    expect((await readManifest(folder)).runs[0].tokens).toEqual({ prompt: null, answer: null });
  });
});

describe("an endpoint that refuses", () => {
  it("the key: nothing more is sent; what was answered is kept", async () => {
    await serve();
    const folder = await worlds.copy();
    const options = against(server, { latents: [0, 1, 2, 3], concurrency: 1 });
    let n = 0;
    server.faultOf = () => (n++ < 6 ? null : { kind: "status", status: 401 });
    await expect(explain(folder, options)).rejects.toThrow(/refused the key/);
    expect(server.seen).toHaveLength(7);
    server.faultOf = () => null;
    const { counts } = await explain(folder, options);
    expect(counts.cached).toBe(6);
  });

  it("request after request: stops after five, and says so", async () => {
    await serve();
    const folder = await worlds.copy();
    server.faultOf = () => ({ kind: "status", status: 503 });
    const options = against(server, { latents: Array.from({ length: 12 }, (_, i) => i), concurrency: 2 });
    await expect(explain(folder, options)).rejects.toThrow(/left 5 requests in a row without an answer/);
    expect(server.seen.length).toBeLessThanOrEqual(3 * 7);
  });

  it("one request of many: that one alone fails, and is asked again next time", async () => {
    await serve();
    const folder = await worlds.copy();
    const options = against(server, { latents: [0, 1, 2], score: 0 });
    server.faultOf = (prompt) => (prompt.text.includes("«bank»") ? { kind: "status", status: 500 } : null);
    await explain(folder, options);
    expect((await readRows(folder)).map(({ failure }) => failure)).toEqual([
      null,
      "the endpoint answered 500: made-up fault 500 (3 tries)",
      null,
    ]);
    server.faultOf = () => null;
    const { counts } = await explain(folder, options);
    expect(counts).toMatchObject({ sent: 1, cached: 2 });
    expect((await readRows(folder)).map(({ failure }) => failure)).toEqual([null, null, null]);
  });
});

describe("the command line", () => {
  it("says its plan first, asks nothing, and shows the key nowhere", async () => {
    await serve();
    const folder = await worlds.copy();
    process.env.LAPIDARY_EXPLAIN_KEY = KEY;
    try {
      server.faults.push({ kind: "says", text: `EXPLANATION: the word ${KEY}` });
      const done = await commandLine(
        folder,
        "explain",
        folder,
        "--endpoint",
        server.url,
        "--model",
        "m",
        "--latents",
        "0,1",
        "--json",
      );
      expect(done.code, done.stderr).toBe(0);
      expect(server.seen.every(({ authorization }) => authorization === `Bearer ${KEY}`)).toBe(true);
      const lines = done.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(lines.find(({ kind }) => kind === "note")?.message).toMatch(
        /2 latents to explain.*\n.*to score.*\nAbout .* the cap is 500 000/,
      );
      expect(lines.at(-1)).toMatchObject({ kind: "result", result: { isCapped: false } });
      expect(done.stdout + done.stderr).not.toContain(KEY);
      const files = await readdir(join(folder, ".."), { recursive: true, withFileTypes: true });
      for (const file of files.filter((each) => each.isFile()))
        expect((await readFile(join(file.parentPath ?? file.path, file.name))).includes(KEY), file.name).toBe(
          false,
        );
    } finally {
      delete process.env.LAPIDARY_EXPLAIN_KEY;
    }
  });

  it("shows two prompts in full and sends nothing with --dry-run", async () => {
    const folder = await worlds.copy();
    const { code, stdout } = await commandLine(folder, "explain", folder, "--dry-run", "--latents", "1");
    expect(code).toBe(0);
    expect(stdout).toMatch(/Nothing is sent\./);
    expect(stdout).toMatch(
      /An explaining request[\s\S]*«bank»[\s\S]*A judging request[\s\S]*JSON array of 5 numbers/,
    );
    expect(await readdir(folder)).not.toContain("explanations.json");
  });

  it.each([
    [["--model", "m"], /where is the language model/],
    [["--endpoint", "http://127.0.0.1:9/v1"], /which model/],
    [["--dry-run", "--latents", "1", "--sample", "3"], /--latents and --sample were both given/],
    [["--dry-run", "--latents", "5-2"], /no latent and no range/],
    [["--dry-run", "--layer", "4"], /is an index already/],
    [["--endpoint", "http://192.0.2.7/v1", "--model", "m"], /unencrypted/],
  ])("refuses %j", async (args, message) => {
    const folder = await worlds.copy();
    const { code, stderr } = await commandLine(folder, "explain", folder, ...args);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(message);
  });
});
