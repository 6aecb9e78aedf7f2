/** Chunks and the calls made ahead of their turn: order, how many at once, and how failures and stops end them. */
import { describe, expect, it } from "vitest";
import { D_IN, normals, rowsFor } from "../../test/evals/fixtures.ts";
import { ShapeError } from "../errors.ts";
import { AHEAD, ahead, rowsSource } from "./token-source.ts";

const x = normals(20 * D_IN, "x");
const source = rowsSource(
  { ...rowsFor(x), document: Uint32Array.from({ length: 20 }, (_, t) => t) },
  { chunkRows: 3, limit: 17 },
);

/** Work that ends when it is told to. */
function workshop() {
  const calls: { first: number; done: boolean; end: (error?: Error) => void }[] = [];
  const work = (chunk: Float32Array) =>
    new Promise<number>((resolve, reject) => {
      const call = {
        first: chunk[0],
        done: false,
        end(error?: Error) {
          call.done = true;
          if (error) reject(error);
          else resolve(chunk[0]);
        },
      };
      calls.push(call);
    });
  return { calls, work, underWay: () => calls.filter(({ done }) => !done).length };
}
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

describe("rows in memory", () => {
  it("come in chunks up to the limit, as often as one likes, with the labels that are known", () => {
    for (const _time of [1, 2]) {
      const chunks = [...(source.chunks() as Iterable<{ nRows: number; document: Uint32Array }>)];
      expect(chunks.map(({ nRows }) => nRows)).toEqual([3, 3, 3, 3, 3, 2]);
      expect(chunks.flatMap(({ document }) => [...document])).toEqual(
        Array.from({ length: 17 }, (_, t) => t),
      );
    }
    expect(source.known).toEqual({ document: true, position: false, tokenIds: false, role: false });
  });

  it("are refused with labels of other rows", () => {
    const role = new Uint8Array(19);
    expect(() => rowsSource({ ...rowsFor(x), role }, {})).toThrow(ShapeError);
  });
});

describe("calls ahead", () => {
  it("give results in order, and never wait for who looks at them", async () => {
    const { calls, work, underWay } = workshop();
    const seen: number[] = [];
    const done = (async () => {
      for await (const { rows, made } of ahead(source.chunks(), work)) {
        expect(rows.activations[0]).toBe(made);
        expect(underWay()).toBe(Math.min(AHEAD, 6 - seen.length - 1)); // at work while we look
        seen.push(made);
      }
    })();
    for (let i = 0; i < 6; i++) {
      await settled();
      expect(underWay()).toBe(Math.min(AHEAD + 1, 6 - i));
      calls[i].end();
    }
    await done;
    expect(seen).toEqual(Array.from({ length: 6 }, (_, i) => x[i * 3 * D_IN]));
  });

  it("fail in their turn, after those under way have ended", async () => {
    const { calls, work } = workshop();
    let failure: unknown = null;
    const done = (async () => {
      for await (const _ of ahead(source.chunks(), work));
    })().catch((error: unknown) => {
      failure = error;
    });
    await settled();
    calls[1].end(new Error("out of memory"));
    await settled();
    expect(failure).toBeNull();
    calls[0].end();
    await settled();
    expect(failure).toBeNull(); // two more were begun
    for (const call of calls.slice(2)) call.end();
    await done;
    expect(String(failure)).toBe("Error: out of memory");
  });

  it("are waited for when the receiver stops", async () => {
    const { calls, work, underWay } = workshop();
    let stopped = false;
    const done = (async () => {
      for await (const _ of ahead(source.chunks(), work)) break;
      stopped = true;
    })();
    await settled();
    calls[0].end();
    await settled();
    expect([underWay(), stopped]).toEqual([AHEAD, false]);
    for (const call of calls.slice(1)) call.end();
    await done;
    expect(stopped).toBe(true);
  });
});
