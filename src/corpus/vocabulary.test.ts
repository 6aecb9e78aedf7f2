/** Bytes of tokens, for each way in which tokenizer.json spells a vocabulary. */
import { describe, expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { Vocabulary } from "./vocabulary.ts";

const of = (tokenizer: Record<string, unknown>) => new Vocabulary({ dir: "model", tokenizer });
const text = (bytes: Uint8Array | null) => bytes && Buffer.from(bytes).toString("latin1");

describe("the bytes of a token", () => {
  it("byte-level BPE: each character is a byte", () => {
    const vocabulary = of({ model: { vocab: { Ġcafe: 0, Ã: 1, "✓": 2 } }, decoder: { type: "ByteLevel" } });
    expect(text(vocabulary.bytesOf(0))).toBe(" cafe");
    expect(text(vocabulary.bytesOf(1))).toBe("\xc3");
    expect(vocabulary.bytesOf(2)).toBeNull(); // no character of the byte-level alphabet
  });

  it("SentencePiece: ▁ is a space, <0xE2> a byte", () => {
    const vocabulary = of({ model: { vocab: { "▁the": 5, "<0xE2>": 6, é: 7 } } });
    expect(text(vocabulary.bytesOf(5))).toBe(" the");
    expect(text(vocabulary.bytesOf(6))).toBe("\xe2");
    expect(text(vocabulary.bytesOf(7))).toBe("\xc3\xa9");
  });

  it("Unigram: the id is the place in the list", () => {
    const vocabulary = of({
      model: {
        vocab: [
          ["<unk>", 0],
          ["▁a", -1.5],
        ],
      },
    });
    expect(text(vocabulary.bytesOf(1))).toBe(" a");
  });

  it("added tokens come first; an id that is not there has none", () => {
    const vocabulary = of({ model: { vocab: { x: 0 } }, added_tokens: [{ id: 0, content: "<bos>" }] });
    expect(text(vocabulary.bytesOf(0))).toBe("<bos>");
    expect(vocabulary.bytesOf(9)).toBeNull();
  });

  it("refuses a vocabulary of another shape", () => {
    expect(() => of({ model: {} })).toThrow(FormatError);
  });
});
