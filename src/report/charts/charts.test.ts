/** Charts against the numbers they are drawn from: marks stand where the scale puts their values, and none is lost. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { barChart } from "./bars.ts";
import { darkness, densityChart } from "./density.ts";
import { dotPlot, shorten } from "./dots.ts";
import { histogramChart } from "./histogram.ts";
import { lineChart } from "./lines.ts";
import { linear, logarithmic, roundStep } from "./scale.ts";
import { keepApart } from "./svg.ts";

const named = { title: "A title", description: "A description" };
const finite = fc.double({ min: -1e6, max: 1e6, noNaN: true });

describe("scales", () => {
  it("ticks are multiples of a round step, inside the scale, at the place of their value", () => {
    fc.assert(
      fc.property(finite, fc.double({ min: 1e-6, max: 1e6, noNaN: true }), (low, span) => {
        const scale = linear(low, low + span, { from: 10, to: 300 });
        const step = roundStep(span, 4);
        expect([1, 2, 2.5, 5, 10].some((f) => Math.abs(Math.log10(step / f) % 1) < 1e-6)).toBe(true);
        expect(scale.ticks.length).toBeGreaterThanOrEqual(2);
        for (const { at } of scale.ticks) {
          expect(at).toBeGreaterThan(10 - 1e-6);
          expect(at).toBeLessThan(300 + 1e-6);
        }
        expect(scale.at(low)).toBeGreaterThanOrEqual(10);
        expect(scale.at(low + span)).toBeLessThanOrEqual(300);
      }),
    );
  });

  it("linear: labels have the decimals of the step; values outside stand at the ends", () => {
    const scale = linear(0.61, 0.93, { from: 0, to: 100 });
    expect(scale.ticks.map(({ label }) => label)).toEqual(["0.6", "0.7", "0.8", "0.9", "1.0"]);
    expect(scale.at(0.8)).toBeCloseTo(50, 9);
    expect([scale.at(-5), scale.at(5)]).toEqual([0, 100]);
    expect(linear(3, 3, { from: 0, to: 1 }).at(3)).toBeCloseTo(0.5, 9);
  });

  it("logarithmic: a decade has one length", () => {
    const scale = logarithmic(-4, 0, { from: 0, to: 80 });
    expect([1e-4, 1e-3, 0.01, 0.1, 1].map((value) => Math.round(scale.at(value)))).toEqual([
      0, 20, 40, 60, 80,
    ]);
    expect(scale.ticks.map(({ label }) => label)).toEqual(["10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "10⁰"]);
  });

  it("labels keep apart, in their order", () => {
    const places = keepApart([50, 51, 20], 10, 0, 100);
    expect(places[2]).toBeLessThan(places[0]);
    expect(places[1] - places[0]).toBeGreaterThan(9.9);
  });
});

/** Every number of an attribute, in the order of the elements of class `name`. */
function attributes(svg: string, element: string, name: string, attribute: string): number[] {
  const tag = new RegExp(`<${element} [^>]*class="[^"]*\\b${name}\\b[^"]*"[^>]*>`, "g");
  return [...svg.matchAll(tag)].map(([text]) =>
    Number(new RegExp(`\\b${attribute}="([^"]*)"`).exec(text)?.[1]),
  );
}

describe("charts", () => {
  it("line: the path goes through every point, at the places of the scales", () => {
    const points = [
      [0, 1],
      [5, 2],
      [10, 0],
    ] as const;
    const { text } = lineChart({
      ...named,
      lines: [{ series: "after", name: "a line", points }],
      xLabel: "x",
      yLabel: "y",
      x: (range) => linear(0, 10, range),
      y: (range) => linear(0, 2, range),
    });
    // the area is 40 … 304 wide and 26 … 134 high
    expect(text).toContain('<path class="line after" d="M40 80L172 26L304 134"/>');
    expect(text).toContain(">a line</text>");
    expect(text).toContain("<title>A title</title><desc>A description</desc>");
  });

  it("histogram: heights are proportional to counts, those outside included", () => {
    const { text } = histogramChart({
      ...named,
      fromExponent: -2,
      toExponent: 0,
      histograms: [{ series: "after", name: "after", counts: [10, 40, 20, 0], outside: 30 }],
      outsideLabel: "never",
      xLabel: "x",
      yLabel: "y",
    });
    const [, steps] = /class="step after" d="M[\d. ]*(V[^"]*)V[\d.]*"/.exec(text) ?? [];
    const tops = [...steps.matchAll(/V([\d.]+)/g)].map(([, y]) => 142 - Number(y));
    const [bar] = attributes(text, "rect", "bar", "height");
    expect(tops.map((height) => Math.round((40 * height) / tops[1]))).toEqual([10, 40, 20, 0]);
    expect(Math.round((40 * bar) / tops[1])).toBe(30);
  });

  it("bars: lengths are proportional to values, and each bar has its number", () => {
    const { text } = barChart({
      ...named,
      bars: [
        { label: "a", series: "before", value: 2 },
        { label: "b", series: "after", value: 0.5, low: 0.4, high: 0.6 },
      ],
      xLabel: "x",
    });
    const [a, b] = attributes(text, "rect", "bar", "width");
    expect(a / b).toBeCloseTo(4, 1);
    expect(text).toContain(">0.500</text>");
  });

  it("dots: marks stand at their values; what is below the floor is an arrow with its number", () => {
    const { text } = dotPlot({
      ...named,
      rows: [
        {
          label: "a row",
          marks: [
            { series: "home", value: 0.5, tip: "tip" },
            { series: "before", value: -7.25, tip: "tip" },
            { series: "after", value: null, tip: "tip" },
          ],
        },
      ],
      xLabel: "VE",
      floor: 0,
      ceiling: 1,
    });
    expect(attributes(text, "circle", "home", "cx")).toEqual([205]); // the middle of 100 … 310
    expect(text).toMatch(/class="beyond before".*−7\.250<\/text>/s);
    expect(text).not.toContain('class="mark after"');
    expect([shorten("short"), shorten("thirteen letters")]).toEqual(["short", "thirteen let…"]);
  });

  it("density: every point is in a square, and a square is as dark as its points are many", () => {
    expect([1, 2, 4, 5, 16, 17, 64, 65, 256, 257, 1e6].map(darkness)).toEqual([
      0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5,
    ]);
    const xs = [0, 0, 0, 0, 0.5, 1];
    const { text } = densityChart({
      ...named,
      xs,
      ys: xs,
      singled: [{ index: 5, tip: "latent 5" }],
      x: (range) => linear(0, 1, range),
      y: (range) => linear(0, 1, range),
      xLabel: "x",
      yLabel: "y",
    });
    const squares = (step: number) =>
      (new RegExp(`density d${step}" d="([^"]*)"`).exec(text)?.[1] ?? "").split("z").length - 1;
    expect([0, 1, 2].map(squares)).toEqual([2, 1, 0]); // two squares of one point, one of four
    expect(text).toContain("<title>latent 5</title>");
  });
});
