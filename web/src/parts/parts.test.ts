/** The parts that can be wrong without a browser: ranges in addresses, bins, scales there and back, tokens made visible. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readBounds, writeBounds } from "./bounds-fields.tsx";
import { nearestIndex } from "./line-chart.tsx";
import { between, countBins, exponents, extent, valueAt } from "./scales.ts";
import { quotedToken, tokenText } from "./token-text.ts";

const finite = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 });

describe("ranges in addresses", () => {
  it("come back to six digits, open ends open", () => {
    fc.assert(
      fc.property(fc.option(finite), fc.option(finite), (low, high) => {
        const read = readBounds(writeBounds({ low, high }));
        for (const [was, is] of [
          [low, read.low],
          [high, read.high],
        ])
          if (was === null) expect(is).toBeNull();
          else expect(Math.abs((is as number) - was)).toBeLessThanOrEqual(Math.abs(was) * 5e-6);
      }),
    );
  });

  it("that are none are open", () => {
    for (const text of [null, "", "..", "a..b", "x"])
      expect(readBounds(text)).toEqual({ low: null, high: null });
  });
});

describe("scales", () => {
  it("lead back from a place to its value", () => {
    const range = { from: 40, to: 312 };
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (share) => {
        for (const scale of [between(-0.25, 1)(range), exponents(-4.6, -0.2)(range)]) {
          const value = scale.low + share * (scale.high - scale.low);
          expect(valueAt(scale, range, scale.at(value))).toBeCloseTo(value, 9);
        }
      }),
    );
  });

  it("of exponents end at powers of ten, and name them", () => {
    const { low, high, ticks } = exponents(-4.6, 0.5)({ from: 0, to: 100 });
    expect([low, high, ticks[0].label, ticks.at(-1)?.label]).toEqual([-5, 1, "10⁻⁵", "10¹"]);
  });

  it("count each value within once, as the plain way does", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.double({ min: -1, max: 2, noNaN: true }), fc.constant(Number.NaN))),
        (values) => {
          const counts = countBins(values, 0, 1, 4);
          const plain = [0, 1, 2, 3].map(
            (bin) => values.filter((v) => v >= 0 && v <= 1 && Math.min(3, Math.floor(v * 4)) === bin).length,
          );
          expect(counts).toEqual(plain);
        },
      ),
    );
  });

  it("have an extent where there are numbers", () => {
    expect(extent([Number.NaN, 3, -1])).toEqual({ low: -1, high: 3 });
    expect(extent([Number.NaN])).toBeNull();
  });
});

it("the nearest step is the nearest", () => {
  const ascending = fc.uniqueArray(fc.integer({ min: 0, max: 200 }), { minLength: 1 });
  fc.assert(
    fc.property(ascending, fc.integer({ min: -10, max: 210 }), (list, wanted) => {
      const values = [...list].sort((a, b) => a - b);
      const distance = Math.abs(values[nearestIndex(values, wanted)] - wanted);
      expect(distance).toBe(Math.min(...values.map((value) => Math.abs(value - wanted))));
    }),
  );
});

it("tokens are shown whole, visible, and not without end", () => {
  expect(tokenText("a\nb\t")).toBe("a↵b⇥");
  expect(tokenText("\u202ex\u0000")).toBe("⟨U+202E⟩x⟨U+0000⟩");
  expect(quotedToken("  bank ")).toBe("“␣␣bank␣”");
  expect(tokenText("x".repeat(5000)).length).toBeLessThan(200);
  expect(tokenText("👩‍🔬")).toBe("👩‍🔬");
});
