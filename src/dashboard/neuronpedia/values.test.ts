/** Numbers are rounded as numpy rounds them; texts pass the importer. */
import { describe, expect, it } from "vitest";
import { binCentres, round5, safeText } from "./values.ts";

describe("round5", () => {
  // right: numpy.round(left, 5) of numpy 2
  it.each(ROUNDED())("%d → %d", (value, expected) => {
    expect(Object.is(round5(value), expected)).toBe(true);
  });
});

function ROUNDED(): [number, number][] {
  return [
    [0.000005, 0],
    [0.000015, 0.00002],
    [1.000005, 1],
    [2.5, 2.5],
    [-0.000015, -0.00002],
    [123.456785, 123.45678],
    [0.123455, 0.12346],
    [-1e-9, 0], // numpy keeps the sign of zero, JSON does not
  ];
}

it("centres of bins", () => {
  expect(binCentres(1, 2, 4)).toEqual([1.125, 1.375, 1.625, 1.875]);
  expect(binCentres(3, 3, 2)).toEqual([3, 3]);
});

describe("safeText", () => {
  it.each([
    ["", "∅"],
    [" bank", " bank"],
    ["▁x", "▁x"],
    ["a\u0000b", "a\\u{0}b"],
    ["\\u0000", "\\u{0000}"],
    ["\ud83d\ude00 \ud83d", "😀 \ufffd"],
  ])("%j", (text, expected) => {
    const safe = safeText(text);
    expect(safe).toBe(expected);
    // what the importer does to the file's text leaves it JSON, and the same
    expect(JSON.parse(JSON.stringify(safe).replaceAll("\\u0000", " "))).toBe(safe);
  });
});
