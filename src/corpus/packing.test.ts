/** One document a window, and what both packings say about documents and roles. SAELens' cases: test/golden. */
import { describe, expect, it } from "vitest";
import { ConcatPacker, DocumentPacker, type PackableDocument } from "./packing.ts";

function document(index: number, tokenIds: number[]): PackableDocument {
  return { index, tokenIds, roles: new Uint8Array(tokenIds.length).fill(1) };
}

describe("one document a window", () => {
  const packer = new DocumentPacker({ contextSize: 5, bosTokenId: 2, padTokenId: 0 });
  const pack = (index: number, ids: number[]) => [...packer.add(document(index, ids))];

  it("puts BOS first and pads on the right", () => {
    const [window] = pack(7, [10, 11]);
    expect(window.length).toBe(3);
    expect(Array.from(window.tokenIds)).toEqual([2, 10, 11, 0, 0]);
    expect(Array.from(window.role)).toEqual([5, 1, 1, 5, 5]);
    expect(Array.from(window.document)).toEqual([7, 7, 7, 7, 7]);
  });

  it("leaves a BOS that is there, cuts at the window's end, and drops the rest", () => {
    const windows = pack(0, [2, 10, 11, 12, 13, 14, 15]);
    expect(windows.map(({ tokenIds }) => Array.from(tokenIds))).toEqual([[2, 10, 11, 12, 13]]);
  });

  it("leaves out what makes fewer than two tokens", () => {
    expect(pack(0, [])).toEqual([]);
    expect(pack(0, [2])).toEqual([]);
    expect(pack(0, [10])).toHaveLength(1);
  });
});

describe("chats one after the other", () => {
  it("have the template's BOS as their separator, and no second one", () => {
    const packer = new ConcatPacker({
      contextSize: 6,
      beginBatchTokenId: 2,
      sequenceSeparatorTokenId: 2,
    });
    const windows = [
      document(0, [2, 10, 11]),
      document(1, [2, 20, 21, 22]),
      document(2, [2, 30, 31, 32]),
    ].flatMap((chat) => [...packer.add(chat)]);
    expect(windows.map(({ tokenIds }) => Array.from(tokenIds))).toEqual([
      [2, 10, 11, 2, 20, 21],
      [2, 22, 2, 30, 31, 32],
    ]);
    expect(Array.from(windows[0].document)).toEqual([0, 0, 0, 1, 1, 1]);
    expect(Array.from(windows[1].document)).toEqual([1, 1, 2, 2, 2, 2]);
    expect(windows[0].documents.map(({ index }) => index)).toEqual([0, 1]);
  });
});
