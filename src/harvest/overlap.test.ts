/** Work that goes on meanwhile: order, bounds, and where errors come up. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ahead, Background } from "./overlap.ts";

async function turns(n: number): Promise<void> {
  for (let i = 0; i < n; i++) await nextTurn();
}

describe("calls ahead of their turn", () => {
  it.each([0, 1, 2, 5, 9])(
    "with depth %i: results in order, that many begun besides the one in hand",
    async (depth) => {
      const items = [5, 1, 4, 1, 3, 2];
      let begun = 0;
      let received = 0;
      const calls = ahead(items, depth, async (item) => {
        begun += 1;
        await turns(item);
        return item * 10;
      });
      for await (const { item, result } of calls) {
        expect([item, result]).toEqual([items[received], items[received] * 10]);
        received += 1;
        expect(begun).toBe(Math.min(items.length, received + depth));
        await turns(1);
      }
      expect(received).toBe(items.length);
    },
  );

  it("an error of the work comes up in its turn, after the results before it", async () => {
    const seen: number[] = [];
    const run = async () => {
      const calls = ahead([1, 2, 3, 4], 2, async (item) => {
        if (item === 3) throw new Error("third");
        await turns(3);
        return item;
      });
      for await (const { result } of calls) seen.push(result);
    };
    await expect(run()).rejects.toThrow("third");
    expect(seen).toEqual([1, 2]);
  });

  it("an error of the items comes up, and calls under way that fail later are no unhandled rejections", async () => {
    async function* items() {
      yield 1;
      yield 2;
      throw new Error("no more");
    }
    const run = async () => {
      for await (const _ of ahead(items(), 5, async () =>
        turns(2).then(() => Promise.reject(new Error("late"))),
      ));
    };
    await expect(run()).rejects.toThrow("no more");
    await turns(5);
  });

  it("a receiver that stops ends the items", async () => {
    let ended = false;
    function* items() {
      try {
        for (let i = 0; ; i++) yield i;
      } finally {
        ended = true;
      }
    }
    for await (const { item } of ahead(items(), 2, async (i) => i)) if (item === 3) break;
    expect(ended).toBe(true);
  });
});

describe("a task in the background", () => {
  it("goes on meanwhile, one at a time", async () => {
    const log: string[] = [];
    const background = new Background();
    const task = (name: string) => async () => {
      log.push(`${name} begins`);
      await turns(3);
      log.push(`${name} ends`);
    };
    await background.start(task("a"));
    log.push("meanwhile");
    await background.start(task("b"));
    await background.done();
    expect(log).toEqual(["a begins", "meanwhile", "a ends", "b begins", "b ends"]);
  });

  it("that failed says so when asked, and lets no other begin", async () => {
    const background = new Background();
    await background.start(() => Promise.reject(new Error("disk full")));
    await background.settled();
    expect(() => background.check()).toThrow("disk full");
    await expect(background.start(async () => {})).rejects.toThrow("disk full");
    await expect(background.done()).rejects.toThrow("disk full");
  });
});
