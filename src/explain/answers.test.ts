/** Answers as models give them: lenient in form, strict in content. */
import { describe, expect, it } from "vitest";
import { parseExplanation, parseVerdicts } from "./answers.ts";
import type { ChatAnswer, TokenLogprob } from "./chat.ts";

function answer(text: string, changes: Partial<ChatAnswer> = {}): ChatAnswer {
  return { text, finish: "stop", logprobs: null, usage: null, ...changes };
}

describe("an explanation", () => {
  it.each([
    ["EXPLANATION: names of rivers", "names of rivers"],
    ["First I look.\n\nEXPLANATION: names of rivers\n", "names of rivers"],
    ["**EXPLANATION:** names of rivers", "names of rivers"],
    ["[EXPLANATION]: names of rivers.", "names of rivers."],
    ['Explanation: "names of rivers"', "names of rivers"],
    ['EXPLANATION: the words "a" and "b"', 'the words "a" and "b"'],
    ["EXPLANATION: first\nNo.\nEXPLANATION: second", "second"],
    ["EXPLANATION: =", "="],
  ])("%j", (text, value) => {
    expect(parseExplanation(answer(text))).toEqual({ value });
  });

  it.each([
    ["", {}, "an empty answer"],
    ["names of rivers", {}, "no line that begins with EXPLANATION:"],
    ["EXPLANATION:", {}, "an empty explanation"],
    ["EXPLANATION: ** ", {}, "an empty explanation"],
    [
      "I think",
      { finish: "length" },
      "no line that begins with EXPLANATION:: it was cut off, allow longer answers",
    ],
    ["EXPLANATION: names of", { finish: "length" }, "its explanation was cut off, allow longer answers"],
    ["I will not", { finish: "refusal" }, "refused: I will not"],
    [`EXPLANATION: ${"x".repeat(501)}`, {}, "an explanation of 501 characters, at most 500 are taken"],
    [`EXPLANATION: ${" ".repeat(1e6)}x`, {}, "an explanation of 1 characters"],
  ] as const)("%j fails", (text, changes, failure) => {
    const parsed = parseExplanation(answer(text, changes));
    if (text.length > 1e5) expect(Object.keys(parsed)).toHaveLength(1);
    else expect(parsed).toEqual({ failure });
  });
});

describe("verdicts", () => {
  it.each([
    ["[1, 0, 1]", "101"],
    ["```json\n[1,0,1]\n```", "101"],
    ['{"answers": [1, 0, 1]}', "101"],
    ["Piece [2] does not fit.\n[true, false, true]", "101"],
    ["[0, 0, 0] at first; then [1, 0, 1]", "101"],
    ["[ 1 , 0 , 1 , ]", "101"],
  ])("%j", (text, digits) => {
    const parsed = parseVerdicts(answer(text), 3);
    expect("value" in parsed && parsed.value.map(({ says }) => Number(says)).join("")).toBe(digits);
  });

  it.each([
    ["[1, 0]", "2 answers to 3 texts"],
    ["[1, 0, 1, 1]", "4 answers to 3 texts"],
    ["[1, 0, 2]", "no array of 0 and 1 in the answer"],
    ["101", "no array of 0 and 1 in the answer"],
    ["[]", "no array of 0 and 1 in the answer"],
    ["", "an empty answer"],
    ["I'm sorry, I can't help with that.", "no array of 0 and 1 in the answer"],
  ])("%j fails", (text, failure) => {
    expect(parseVerdicts(answer(text), 3)).toEqual({ failure });
  });

  it("takes no time over long answers made to take it", () => {
    const started = performance.now();
    parseVerdicts(answer("[ 0 ,".repeat(100_000)), 3);
    parseVerdicts(answer(`[${" ".repeat(500_000)}`), 3);
    parseExplanation(answer(`EXPLANATION:${"* ".repeat(500_000)}`));
    expect(performance.now() - started).toBeLessThan(5000);
  });

  const token = (text: string, others: Record<string, number> = {}): TokenLogprob => {
    const alternatives = Object.entries(others).map(([token, p]) => ({ token, logprob: Math.log(p) }));
    return {
      token: text,
      logprob: alternatives.find(({ token }) => token === text)?.logprob ?? 0,
      alternatives,
    };
  };

  it("take P(1) / (P(0) + P(1)) from the token at each answer's place, spaces or not", () => {
    const logprobs = [
      token("["),
      token("1", { "1": 0.6, "0": 0.2, " 1": 0.1, "[": 0.1 }),
      token(","),
      token(" 0", { " 0": 0.9, " 1": 0.1 }),
      token("]"),
    ];
    const parsed = parseVerdicts(answer("[1, 0]", { logprobs }), 2);
    if (!("value" in parsed)) throw new Error(parsed.failure);
    expect(parsed.value[0].probability).toBeCloseTo(0.7 / 0.9, 12);
    expect(parsed.value[1].probability).toBeCloseTo(0.1, 12);
  });

  it("have no probability where tokens are not the answer's, or hold more than a digit", () => {
    const of = (tokens: readonly string[]) => {
      const parsed = parseVerdicts(answer("[1, 0]", { logprobs: tokens.map((text) => token(text)) }), 2);
      return "value" in parsed && parsed.value.map(({ probability }) => probability);
    };
    expect(of(["[1", ", ", "0", "]"])).toEqual([null, 0]); // the second: only a 0 was likely
    expect(of(["[1, 1]"])).toEqual([null, null]);
    expect(of([])).toEqual([null, null]);
  });
});
