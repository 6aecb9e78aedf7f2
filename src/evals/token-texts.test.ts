/** Text around tokens: the right ones, cut at the window's ends, with nothing in it that a terminal would obey. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildCorpusSet } from "../corpus/build.ts";
import { Tokenizer } from "../corpus/tokenizer.ts";
import { readTokenizerFolder } from "../corpus/tokenizer-folder.ts";
import { Vocabulary } from "../corpus/vocabulary.ts";
import { openWindowSet } from "../corpus/window-set.ts";
import type { WindowBatch, WindowSet } from "../corpus/windows.ts";
import { ShapeError } from "../errors.ts";
import { TokenTexts, textOf } from "./token-texts.ts";

const folder = await readTokenizerFolder(
  fileURLToPath(new URL("../../assets/tiny-gemma/it", import.meta.url)),
);
const tokenizer = new Tokenizer(folder);

/** Windows in memory, padded with BOS; only what is read of them. */
function windowsOf(contextSize: number, windows: readonly (readonly number[])[]): WindowSet {
  return {
    dir: "",
    manifest: { nWindows: windows.length, contextSize } as WindowSet["manifest"],
    async read(from: number, to: number): Promise<WindowBatch> {
      const chosen = windows.slice(from, to);
      const tokenIds = new Uint32Array(chosen.length * contextSize).fill(2);
      for (const [i, ids] of chosen.entries()) tokenIds.set(ids, i * contextSize);
      const lengths = Uint32Array.from(chosen, (ids) => ids.length);
      return { first: from, nWindows: chosen.length, contextSize, tokenIds, lengths } as WindowBatch;
    },
  };
}

describe("text around a token", () => {
  const text =
    "It was a bright cold day in April, and the clocks were striking thirteen. ‘Ça va?’ said 漢字.";
  const ids = tokenizer.encode(text);
  const texts = new TokenTexts(windowsOf(ids.length + 5, [[2, 12], ids]), tokenizer, {
    tokensEachSide: ids.length,
  });

  it("before, token and after are the tokens of the window", async () => {
    const few = new TokenTexts(windowsOf(64, [[2, ...ids]]), tokenizer, { tokensEachSide: 3 });
    expect(await few.around(0, 3)).toEqual({
      before: textOf([2, ids[0], ids[1]], tokenizer),
      token: textOf([ids[2]], tokenizer),
      after: textOf(ids.slice(3, 6), tokenizer),
    });
    expect((await few.around(0, 3)).before).toBe("<bos>It was");
  });

  it("shows twelve tokens on each side unless told otherwise", async () => {
    const long = Array.from({ length: 40 }, () => ids[0]);
    const { before, after } = await new TokenTexts(windowsOf(40, [long]), tokenizer).around(0, 20);
    expect([before, after]).toEqual(["It".repeat(12), "It".repeat(12)]);
  });

  it("the three parts make the whole window, padding left out, wherever characters are not cut", async () => {
    const whole = await texts.around(1, 2);
    expect(whole.before + whole.token + whole.after).toBe(text);
    expect((await texts.around(1, ids.length - 1)).after).toBe("");
    expect((await texts.around(1, 0)).before).toBe("");
  });

  it("a character cut by the token's border is shown as its bytes", async () => {
    const cut = tokenizer.encode("漢");
    const parts = new TokenTexts(windowsOf(8, [cut]), tokenizer);
    const { before, token, after } = await parts.around(0, 1);
    expect(before + token + after).toBe("\\xE6\\xBC\\xA2");
    expect(textOf(cut, tokenizer)).toBe("漢");
  });

  it("refuses a position that is padding, or outside", async () => {
    await expect(texts.around(0, 2)).rejects.toThrow(ShapeError);
    await expect(texts.around(0, -1)).rejects.toThrow(ShapeError);
    await expect(texts.around(0, 0.5)).rejects.toThrow(/within its 2 tokens/);
  });
});

it("reads a set on disk: a window's text is its document's", async () => {
  const dir = await mkdtemp(join(tmpdir(), "token-texts-"));
  try {
    const location = join(dir, "texts.jsonl");
    const text =
      "Call me Ishmael. Some years ago, never mind how long, I thought I would sail about a little.";
    await writeFile(location, `${JSON.stringify({ text })}\n`);
    await buildCorpusSet(
      {
        dir: join(dir, "set"),
        set: "train",
        contextSize: 64,
        tokens: 10,
        packing: "document",
        prependBos: true,
        sources: [{ name: "texts", kind: "text", location, weight: 1 }],
        excludeSpecialTokens: true,
        tokenizerDir: folder.dir,
      },
      { tokenizer: { workers: 1 } },
    );
    const texts = new TokenTexts(await openWindowSet(join(dir, "set")), new Vocabulary(folder), {
      tokensEachSide: 64,
    });
    const { before, token, after } = await texts.around(0, 4);
    expect(before + token + after).toBe(`<bos>${text}`);
    expect(token).toBe(textOf([tokenizer.encode(text)[3]], tokenizer));
  } finally {
    await rm(dir, { recursive: true });
  }
});

describe("bytes made readable", () => {
  const of = (...bytes: number[]) => textOf([0], { bytesOf: () => Uint8Array.from(bytes) });

  it("spells out control characters, changes of direction, and what is no UTF-8; keeps newlines and tabs", () => {
    expect(of(0x1b, 0x5b, 0x0a, 0x09)).toBe("\\u{1B}[\n\t");
    expect(of(0xe2, 0x80, 0xae)).toBe("\\u{202E}");
    expect(of(0xc0, 0xaf, 0xed, 0xa0, 0x80)).toBe("\\xC0\\xAF\\xED\\xA0\\x80");
    expect(of(0xef, 0xbb, 0xbf)).toBe("\ufeff");
  });

  it("names an id that has no bytes", () => {
    expect(textOf([65, 7], { bytesOf: (id) => (id === 7 ? null : Uint8Array.of(id)) })).toBe("A[token 7]");
  });

  it("keeps every text that needs no spelling out", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii", maxLength: 30 }), (text) => {
        expect(of(...new TextEncoder().encode(text))).toBe(text);
      }),
    );
  });

  it("never lets a control character through", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
        expect(of(...bytes)).not.toMatch(/[^\P{Cc}\n\t]/u);
      }),
    );
  });
});
