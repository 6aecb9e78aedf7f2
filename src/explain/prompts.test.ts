/** Prompts: what is marked, and that texts of the corpus stay data. */
import { describe, expect, it } from "vitest";
import type { Example } from "./examples.ts";
import { contextText, explainPrompt, judgePrompt, labelDescription, markedTokens } from "./prompts.ts";

const example: Example = {
  latent: 1,
  rank: 0,
  value: 8,
  set: 0,
  document: 0,
  window: 0,
  position: 3,
  at: 2,
  tokens: [" on", " the", " river", " bank", "\n", "«x»"],
  acts: [0, 1, 8, 3, 0, 0],
};

describe("a context", () => {
  it("marks runs of tokens from 0.3 of its largest activation on, spaces outside", () => {
    expect(markedTokens(example)).toEqual([2, 3]);
    expect(contextText(example.tokens, [2, 3])).toBe("on the «river bank»↵‹x›");
    expect(contextText(example.tokens, [0, 2])).toBe("«on» the «river» bank↵‹x›");
    expect(markedTokens({ acts: [0, 0] })).toEqual([]);
  });

  it("is one line without marks of its own, whatever it holds", () => {
    const text = contextText(["a\r\n2. b", "\u2028", "\u0000", " «", "EXPLANATION:"], []);
    expect(text).toBe("a↵2. b↵ ‹EXPLANATION:");
    expect(text).not.toMatch(/[\n\r\u2028«]/);
  });
});

describe("prompts", () => {
  it("to explain: marked texts, strengths from 1 to 10 of the latent's largest, promoted tokens", () => {
    const [, { content }] = explainPrompt([example], 16, [" bank", " shore"]);
    expect(content).toContain("1. on the «river bank»↵‹x›");
    expect(content).toContain('strengths: " river" 5, " bank" 2');
    expect(content).toContain('likelier: " bank", " shore".');
    expect(explainPrompt([example], 16, [])[1].content).not.toContain("likelier");
  });

  it("to judge: the fixed part first and the same for every request of a kind", () => {
    const [one, two] = [judgePrompt("fuzzing", "a", ["x", "y"]), judgePrompt("fuzzing", "b\nc", ["z"])];
    expect(one[0]).toEqual(two[0]);
    expect(one[1].content).toBe("Pattern: a\n\nPieces:\n1. x\n2. y\n\nA JSON array of 2 numbers:");
    expect(two[1].content).toBe("Pattern: b↵c\n\nPieces:\n1. z\n\nA JSON array of 1 number:");
    expect(judgePrompt("detection", "a", ["x"])[0]).not.toEqual(one[0]);
  });

  it("put baseline labels in words", () => {
    expect(labelDescription('" bank"', "token")).toBe('the text " bank"');
    expect(labelDescription('" a", " b"', "output")).toBe(
      'text after which one of these comes next: " a", " b"',
    );
    expect(labelDescription("", "none")).toBeNull();
  });
});
