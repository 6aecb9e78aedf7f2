/** The cap holds in any order of reserving and settling; the cache gives back what was put, and nothing else. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Philox } from "../random/philox.ts";
import { Budget, estimatedTokens, mostTokens, spentTokens } from "./budget.ts";
import { AnswerCache, requestHash } from "./cache.ts";
import type { ChatRequest } from "./chat.ts";
import { inParallel } from "./in-parallel.ts";

const request: ChatRequest = {
  model: "m",
  messages: [{ role: "user", content: "häuser" }],
  maxAnswerTokens: 10,
  temperature: 0,
  seed: 0,
  logprobs: true,
};

describe("Budget", () => {
  it("never lets what is spent and under way exceed the cap, whatever requests cost", async () => {
    const draw = new Philox(1, "costs");
    const budget = new Budget(1000);
    let underWay = 0;
    let spent = 0;
    const granted = await inParallel(
      Array.from({ length: 200 }, (_, i) => i),
      7,
      async (i) => {
        const most = 1 + Math.floor(60 * draw.uniform(2 * i));
        if (!(await budget.reserve(most))) return false;
        underWay += most;
        expect(spent + underWay).toBeLessThanOrEqual(1000);
        await new Promise((resolve) => setTimeout(resolve, i % 3));
        const cost = Math.floor(most * draw.uniform(2 * i + 1));
        underWay -= most;
        spent += cost;
        budget.settle(most, cost);
        return true;
      },
    );
    expect(budget.spent).toBe(spent);
    expect(budget.isClosed).toBe(true);
    expect(spent).toBeGreaterThan(900);
    expect(granted.lastIndexOf(true) - granted.indexOf(false)).toBeLessThan(14); // once closed, closed
  });

  it("counts a lost try in full, and asks for room for the next", async () => {
    const budget = new Budget(100);
    await budget.reserve(40);
    expect(budget.spendAndReserveAgain(40)).toBe(true);
    expect(budget.spendAndReserveAgain(40)).toBe(false);
    expect(budget.spent).toBe(80);
    expect(budget.isClosed).toBe(true);
  });

  it("knows the most a request can cost: its bytes, and more", () => {
    expect(mostTokens(request)).toBe(7 + 16 + 10);
    expect(estimatedTokens(request, 5)).toBe(3 + 8 + 5);
    const answer = { text: "abc", finish: "stop", logprobs: null };
    expect(spentTokens(request, { ...answer, usage: { promptTokens: 4, answerTokens: 2 } })).toBe(6);
    expect(spentTokens(request, { ...answer, usage: null })).toBe(3 + 8 + 1);
  });
});

describe("AnswerCache", () => {
  it("finds an answer by all that decides it, and asks again for one that was damaged", async () => {
    const folder = await mkdtemp(join(tmpdir(), "lapidary-answers-"));
    try {
      const cache = new AnswerCache(folder);
      const hash = requestHash(request);
      const answer = {
        text: "[1]",
        finish: "stop",
        logprobs: [{ token: "[1]", logprob: -0.1, alternatives: [] }],
        usage: { promptTokens: 3, answerTokens: 1 },
      };
      expect(await cache.get(hash)).toBeNull();
      await cache.put(hash, answer);
      expect(await cache.get(hash)).toEqual(answer);
      for (const change of [
        { model: "n" },
        { seed: 1 },
        { temperature: 1 },
        { logprobs: false },
        { maxAnswerTokens: 9 },
        { messages: [] },
      ])
        expect(requestHash({ ...request, ...change })).not.toBe(hash);
      const [name] = (await readdir(folder, { recursive: true })).filter((each) => each.endsWith(".json"));
      const bytes = await readFile(join(folder, name));
      for (const damaged of [
        "",
        "{}",
        bytes.subarray(0, -9),
        bytes.toString().replace(hash, "0".repeat(64)),
      ]) {
        await writeFile(join(folder, name), damaged);
        expect(await cache.get(hash)).toBeNull();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("inParallel", () => {
  it("keeps the order, and after an error begins nothing further and ends what is going on", async () => {
    expect(await inParallel([30, 5, 1], 3, (ms) => new Promise((go) => setTimeout(go, ms, ms)))).toEqual([
      30, 5, 1,
    ]);
    const begun: number[] = [];
    let aborted = 0;
    const work = async (n: number, signal: AbortSignal) => {
      begun.push(n);
      if (n === 2) throw new Error("two");
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      aborted++;
    };
    await expect(inParallel([0, 1, 2, 3, 4, 5], 3, work)).rejects.toThrow("two");
    expect(begun).toEqual([0, 1, 2]);
    expect(aborted).toBe(2);
  });
});
