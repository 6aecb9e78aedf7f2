/** From a batch to rows: only kept positions, runs of them at once, and turns for the event loop in between. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { PIECE_ENTRIES } from "../activations/packed-rows.ts";
import type { WindowBatch } from "../corpus/windows.ts";
import { Block } from "./block.ts";

/** Windows [lengths.length, contextSize] with ids 10, 11, 12 …, kept where `keep` says so. */
function windowsOf(contextSize: number, lengths: readonly number[], keep: readonly number[]): WindowBatch {
  const n = lengths.length * contextSize;
  return {
    first: 100,
    nWindows: lengths.length,
    contextSize,
    tokenIds: Uint32Array.from({ length: n }, (_, at) => 10 + at),
    lengths: Uint32Array.from(lengths),
    keep: Uint8Array.from(keep),
    role: new Uint8Array(n),
    document: new Uint32Array(n),
  };
}

describe("a block of windows", () => {
  const block = new Block(windowsOf(4, [4, 1, 3], [0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0]));

  it("labels the kept positions, in window order", () => {
    expect([...block.labels.tokenIds]).toEqual([11, 12, 13, 18, 20]);
    expect([...block.labels.window]).toEqual([100, 100, 100, 102, 102]);
    expect([...block.labels.position]).toEqual([1, 2, 3, 0, 2]);
  });

  it("makes rectangles as long as the longest member, and of two tokens at least", () => {
    const { tokens } = block.batch([2, 1]);
    expect(tokens).toEqual({
      nWindows: 2,
      seqLen: 3,
      tokenIds: Uint32Array.of(18, 19, 20, 14, 15, 16),
      lengths: Uint32Array.of(3, 1),
    });
    expect(block.batch([1]).tokens).toMatchObject({ seqLen: 2, tokenIds: Uint32Array.of(14, 15) });
  });

  it("places runs of kept positions by the rows they have, whatever the order of the batch", async () => {
    const placed: number[][] = [];
    const sink = {
      set: (...args: [number, number, Float32Array, number]) => placed.push([args[0], args[1], args[3]]),
    };
    await block.place(block.batch([2, 0]), [new Float32Array(2 * 4 * 5)], [sink], 5);
    expect(placed).toEqual([
      [3, 1, 0],
      [4, 1, 2 * 5],
      [0, 3, (4 + 1) * 5],
    ]);
  });

  it("gives the event loop a turn at least every piece", async () => {
    const dIn = PIECE_ENTRIES / 8;
    const all = new Block(windowsOf(64, [64, 64], new Array(128).fill(1)));
    let [sinceTurn, most, total] = [0, 0, 0];
    const sink = {
      set(_row: number, n: number) {
        sinceTurn += n * dIn;
        total += n * dIn;
        most = Math.max(most, sinceTurn);
      },
    };
    const residual = new Float32Array(0); // the sink does not look at it
    let isDone = false;
    const placing = all.place(all.batch([0, 1]), [residual, residual], [sink, sink], dIn).then(() => {
      isDone = true;
    });
    while (!isDone) {
      sinceTurn = 0;
      await nextTurn();
    }
    await placing;
    expect(total).toBe(2 * 128 * dIn);
    expect(most).toBeLessThanOrEqual(PIECE_ENTRIES);
  });
});
