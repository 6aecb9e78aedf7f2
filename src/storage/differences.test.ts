import { expect, it } from "vitest";
import { describeDifferences, jsonDifferences } from "./differences.ts";

it("names every leaf that differs, with both values, absent ones included", () => {
  const before = { a: 1, b: { c: [1, 2], d: "x" }, gone: true };
  const now = { b: { d: "y", c: [1, 2] }, a: 1, fresh: null };
  expect(jsonDifferences(before, now)).toEqual([
    { path: "b.d", before: '"x"', now: '"y"' },
    { path: "fresh", before: "absent", now: "null" },
    { path: "gone", before: "true", now: "absent" },
  ]);
  expect(describeDifferences(jsonDifferences(before, now), 1)).toBe('b.d "x" → "y"; and 2 more');
  expect(jsonDifferences(before, structuredClone(before))).toEqual([]);
});
