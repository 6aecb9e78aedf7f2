/** Classes of tokens: what each rule says, with the embedded byte-level tokenizer and with a SentencePiece one. */
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../corpus/tokenizer.ts";
import { readTokenizerFolder, type TokenizerFolder } from "../corpus/tokenizer-folder.ts";
import { classOfBytes, TOKEN_CLASSES, TOKEN_CLASSES_DEFINITION, TokenClasses } from "./token-classes.ts";

const folder = await readTokenizerFolder(
  fileURLToPath(new URL("../../assets/tiny-gemma/it", import.meta.url)),
);
const bytes = (text: string) => new TextEncoder().encode(text);

describe("the class of a token's bytes", () => {
  it.each([
    [" the", "word start"],
    ["\n\nThe", "word start"],
    ["(x", "word start"],
    ["@lists", "word start"],
    [" 'tis", "continuation"],
    ["the", "continuation"],
    ["The", "continuation"],
    ["été", "continuation"],
    ["'s", "continuation"],
    ["’s", "continuation"],
    ["1st", "continuation"],
    ["\u0301", "continuation"],
    ["7", "digit"],
    [" 2026", "digit"],
    ["٣", "digit"],
    ["3.", "digit"],
    [".", "punctuation"],
    [" —", "punctuation"],
    ["。", "punctuation"],
    ["😀", "punctuation"],
    ["\u0000", "punctuation"],
    [" ", "whitespace"],
    ["\r\n\t", "whitespace"],
    ["\u00a0", "whitespace"],
    [" мир", "other script"],
    ["中", "other script"],
    ["ー", "other script"],
    ["aя", "other script"],
    ["α1", "other script"],
  ] as const)("%j is %s", (text, wanted) => {
    expect(classOfBytes(bytes(text))).toBe(wanted);
  });

  it("pieces of a character are of another script, whatever stands beside them", () => {
    expect(classOfBytes(Uint8Array.of(0xe2, 0x80))).toBe("other script");
    expect(classOfBytes(Uint8Array.of(0x99))).toBe("other script");
    expect(classOfBytes(Uint8Array.of(0x20, 0x61, 0xc3))).toBe("other script");
  });

  it("any bytes have a class, and the definition names it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 8 }), (some) => {
        const found = classOfBytes(some);
        expect(TOKEN_CLASSES).toContain(found);
        expect(TOKEN_CLASSES_DEFINITION).toContain(`${found}:`);
      }),
    );
  });
});

describe("the embedded byte-level tokenizer", () => {
  const tokenizer = new Tokenizer(folder);
  const classes = new TokenClasses(tokenizer, folder.facts);
  const classesIn = (text: string) => tokenizer.encode(text).map((id) => classes.of(id));

  it("a space before a word begins it, the rest continues", () => {
    expect(classesIn(" the")).toEqual(["word start"]);
    const long = classesIn(" Przewalskioids");
    expect(long.length).toBeGreaterThan(1);
    expect(long).toEqual(["word start", ...long.slice(1).map(() => "continuation")]);
  });

  it("digits, punctuation, whitespace", () => {
    expect(classesIn("42")).toEqual(["digit", "digit"]);
    expect(new Set(classesIn("!?;"))).toEqual(new Set(["punctuation"]));
    expect(classesIn("\n")).toEqual(["whitespace"]);
  });

  it("characters that are spread over tokens are of another script", () => {
    expect(tokenizer.encode("漢").length).toBeGreaterThan(1);
    expect(new Set(classesIn("漢字"))).toEqual(new Set(["other script"]));
  });

  it("special tokens and ids beyond the vocabulary are special", () => {
    for (const id of folder.facts.specialTokenIds) expect(classes.of(id)).toBe("special");
    expect(classes.of(1_000_000)).toBe("special");
  });
});

describe("a SentencePiece tokenizer", () => {
  const vocab = ["<unk>", "<bos>", "▁the", "ing", "▁", "▁▁▁", "<0x0A>", "<0xE2>", "▁7", "'", "▁мир", "▁("];
  const sentencePiece = {
    ...folder,
    tokenizer: {
      added_tokens: [{ id: 1, content: "<bos>", special: true }],
      normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
      pre_tokenizer: null,
      post_processor: null,
      decoder: { type: "Replace", pattern: { String: "▁" }, content: " " },
      model: {
        type: "BPE",
        byte_fallback: true,
        unk_token: "<unk>",
        vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
        merges: [],
      },
    },
    config: {},
  } as unknown as TokenizerFolder;
  const classes = new TokenClasses(new Tokenizer(sentencePiece), { specialTokenIds: [0, 1] });

  it.each([
    ["<unk>", "special"],
    ["<bos>", "special"],
    ["▁the", "word start"],
    ["ing", "continuation"],
    ["▁", "whitespace"],
    ["▁▁▁", "whitespace"],
    ["<0x0A>", "whitespace"],
    ["<0xE2>", "other script"],
    ["▁7", "digit"],
    ["'", "punctuation"],
    ["▁мир", "other script"],
    ["▁(", "punctuation"],
  ])("%s is %s", (token, wanted) => {
    expect(classes.of(vocab.indexOf(token))).toBe(wanted);
  });
});
