/** Path patterns of dataset cards, and that no pattern can take long. */
import { expect, it } from "vitest";
import { matchesGlob } from "./glob.ts";

it.each([
  ["data/train-*", "data/train-0.parquet", true],
  ["data/train-*", "data/x/train-0.parquet", false],
  ["data/*", "data/a/b", false],
  ["**/*.jsonl", "a.jsonl", true],
  ["**/*.jsonl", "a/b/c.jsonl", true],
  ["data/**", "data/a/b", true],
  ["./data/?.txt", "data/a.txt", true],
  ["data/[a-c][!x].txt", "data/by.txt", true],
  ["data/[a-c][!x].txt", "data/bx.txt", false],
  ["data/{train,valid}-*.{parquet,jsonl}", "data/valid-1.jsonl", true],
  ["data/{train,valid}-*.{parquet,jsonl}", "data/test-1.jsonl", false],
  ["a.b", "axb", false],
])("%s against %s: %s", (pattern, path, expected) => {
  expect(matchesGlob(path, pattern)).toBe(expected);
});

it("needs no more than pattern × path steps", () => {
  expect(matchesGlob("a".repeat(1000), `${"*a".repeat(200)}b`)).toBe(false);
});
