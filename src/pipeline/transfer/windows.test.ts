/** What becomes of texts under the two protocols, on the embedded tokenizer and held-out sets. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TokenizerPool } from "../../corpus/tokenizer-pool.ts";
import { ROLES, type WindowBatch } from "../../corpus/windows.ts";
import { dataText, EMBEDDED_TEXTS, embeddedText, plainText } from "./texts.ts";
import { SHORT_TOKENS, transferWindows } from "./windows.ts";

let pool: TokenizerPool;
let folder: string;
beforeAll(async () => {
  pool = await TokenizerPool.open(fileURLToPath(new URL("../../../assets/tiny-gemma/it", import.meta.url)), {
    workers: 1,
  });
  folder = await mkdtemp(join(tmpdir(), "lapidary-texts-"));
});
afterAll(async () => {
  await pool.close();
  await rm(folder, { recursive: true });
});

const OPTIONS = { contextSize: 128, tokens: 1000, prependBos: true };
const kept = ({ keep }: WindowBatch) => keep.reduce((sum, each) => sum + each, 0);
const row = <A extends Uint32Array | Uint8Array>(values: A, window: number, { contextSize }: WindowBatch) => [
  ...values.subarray(window * contextSize, (window + 1) * contextSize),
];

describe("a plain text", () => {
  const text = ["First paragraph, of some words.", "The second one.", "word ".repeat(300)].join("\n \n");

  it("short: one paragraph a window, its first 64 tokens with BOS", async () => {
    const windows = await transferWindows(plainText("t", text), pool, { ...OPTIONS, protocol: "short" });
    expect([windows.nWindows, windows.contextSize]).toEqual([3, SHORT_TOKENS]);
    const bos = pool.facts.bosTokenId!;
    for (let w = 0; w < 3; w++) {
      expect(row(windows.tokenIds, w, windows)[0]).toBe(bos);
      expect(new Set(row(windows.document, w, windows))).toEqual(new Set([w]));
      expect(row(windows.keep, w, windows).filter((keep) => keep === 1)).toHaveLength(windows.lengths[w] - 1);
    }
    expect(windows.lengths[2]).toBe(SHORT_TOKENS);
    const [first] = await pool.encode([{ text: "First paragraph, of some words.", place: "first" }]);
    const own = row(windows.tokenIds, 0, windows)
      .slice(0, windows.lengths[0])
      .filter((id) => id !== bos);
    expect(own).toEqual([...Array.from(first.tokenIds)].filter((id) => id !== bos));
  });

  it("full: all of it, in windows of the context size, the last one padded", async () => {
    const windows = await transferWindows(plainText("t", text), pool, { ...OPTIONS, protocol: "full" });
    const [whole] = await pool.encode([{ text, place: "t" }]);
    const bos = pool.facts.bosTokenId!;
    const ids = [...Array(windows.nWindows).keys()].flatMap((w) =>
      row(windows.tokenIds, w, windows)
        .slice(0, windows.lengths[w])
        .filter((id) => id !== bos),
    );
    expect(ids).toEqual(Array.from(whole.tokenIds).filter((id) => id !== bos));
    expect(windows.lengths.at(-1)).toBeLessThan(128);
    expect(kept(windows)).toBe(ids.length);
  });

  it("of nothing but blanks is refused, and says so", async () => {
    const blank = transferWindows(plainText("t", " "), pool, { ...OPTIONS, tokens: 1, protocol: "short" });
    await expect(blank).rejects.toThrow(/t: the text has no token to keep/);
  });
});

describe("data files", () => {
  it.each(Object.keys(EMBEDDED_TEXTS))(
    "embedded %s: both protocols reach the budget, not a window more",
    async (name) => {
      const text = await embeddedText(name);
      for (const protocol of ["short", "full"] as const) {
        const windows = await transferWindows(text, pool, { ...OPTIONS, tokens: 600, protocol });
        const last = row(windows.keep, windows.nWindows - 1, windows).filter((keep) => keep === 1).length;
        expect(kept(windows) - last).toBeLessThan(600);
        if (name !== "long" || protocol === "full") expect(kept(windows)).toBeGreaterThanOrEqual(600);
        if (protocol === "full") expect(new Set(windows.lengths)).toEqual(new Set([128]));
      }
    },
  );

  it("chats go through the template and keep their roles; texts are texts", async () => {
    const roles = async (name: string) => {
      const windows = await transferWindows(await embeddedText(name), pool, { ...OPTIONS, protocol: "full" });
      return new Set([...windows.role].filter((_, i) => windows.keep[i] === 1).map((role) => ROLES[role]));
    };
    expect([...(await roles("chat"))]).toEqual(expect.arrayContaining(["user", "assistant"]));
    expect([...(await roles("prose"))]).toEqual(["text"]);
  });

  it("a row with neither column says what it has; an unknown embedded name what there is", async () => {
    const path = join(folder, "other.jsonl");
    await writeFile(path, '{"prompt": "a"}\n');
    await expect(dataText("other", path)).rejects.toThrow(/no column "messages"; the row has: prompt/);
    await expect(embeddedText("poems")).rejects.toThrow(/no embedded text "poems"/);
  });
});
