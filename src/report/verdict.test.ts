/** The words of a report: each rule on both sides of its limit. */
import { describe, expect, it } from "vitest";
import { madeUpFacts } from "../../test/browser/made-up-facts.ts";
import { limit } from "../evals/transfer/limits.ts";
import { measured, type Phase, type ReportedResult, type ReportFacts } from "./facts.ts";
import { headline, judge, reasons, requiredVe, veRange } from "./verdict.ts";

const some = measured(madeUpFacts().layers[0], "after", "prose") as ReportedResult;

interface Changes {
  readonly ve?: number;
  readonly interval?: { low: number; high: number } | null;
  readonly l0?: number;
  readonly l2Ratio?: number | null;
  readonly outliers?: { sseShare: number; veWithout: number | null; veWithoutByNorm: number | null } | null;
}

/** A result with VE 0.9 that nothing can be said against, but for the changes. */
function result({
  ve = 0.9,
  interval = null,
  l0 = 32,
  l2Ratio = 0.98,
  outliers = null,
}: Changes = {}): ReportedResult {
  const { metrics } = some;
  return {
    ...some,
    metrics: {
      ...metrics,
      ve: { ...metrics.ve, value: ve, interval },
      l0: { ...metrics.l0, value: l0 },
      l2Ratio: { ...metrics.l2Ratio, value: l2Ratio },
    },
    outliers:
      outliers === null || some.outliers === null
        ? null
        : { ...some.outliers, shares: [{ share: 0.001, nTokens: 20, sseShareByNorm: 0.002, ...outliers }] },
  };
}

const home = result({ ve: 0.86, l0: 40 });
const words = (changes: Changes, at: ReportedResult | undefined = home) =>
  reasons(judge({ result: result(changes), home: at }, 0.75)).join(" ");

describe("judging a result", () => {
  it("asks for the gate, and for what the source SAE explains at home less what may be lost", () => {
    const atHome = 0.86 - limit("fineLoss");
    expect(requiredVe(0.75, home)).toBeCloseTo(atHome, 12);
    expect(requiredVe(0.9, home)).toBe(0.9);
    expect(requiredVe(0.75, undefined)).toBe(0.75);
    expect(requiredVe(null, home)).toBeCloseTo(atHome, 12);
    expect(requiredVe(null, undefined)).toBe(limit("goodVe"));
  });

  it("only just fits where what is asked for lies within the interval", () => {
    const verdict = (ve: number, low: number, high: number) =>
      judge({ result: result({ ve, interval: { low, high } }), home: undefined }, 0.75).verdict;
    expect([
      verdict(0.8, 0.76, 0.84),
      verdict(0.8, 0.74, 0.84),
      verdict(0.7, 0.66, 0.76),
      verdict(0.7, 0.66, 0.74),
    ]).toEqual(["fits", "borderline", "borderline", "fails"]);
  });
});

describe("reasons", () => {
  it("say little where the SAE fits", () => {
    expect(words({})).toBe("VE is 0.900, at home 0.860; at least 0.840 is asked for.");
  });

  it("tell outliers from an error that is spread, by how much of the lost VE comes back without them", () => {
    const outliers = (veWithout: number, veWithoutByNorm: number) =>
      words({ ve: 0.4, outliers: { sseShare: 0.3, veWithout, veWithoutByNorm } });
    expect(outliers(0.62, 0.4)).toContain("spread over the tokens"); // 0.22 of 0.46
    expect(outliers(0.64, 0.4)).toContain("Outliers make the error");
    expect(outliers(0.64, 0.4)).toContain("a screen by norm would not find them");
    expect(outliers(0.64, 0.64)).toContain("a screen by norm would find them");
    expect(words({ ve: 0.4 })).not.toMatch(/outliers|spread/i); // not measured: not said
  });

  it("warn of a VE that rests on tokens of huge norm, also where it fits", () => {
    const rests = (veWithoutByNorm: number) =>
      words({ ve: 0.95, outliers: { sseShare: 0.01, veWithout: 0.95, veWithoutByNorm } });
    expect(rests(0.85)).toContain("It rests on outliers");
    expect(rests(0.93)).not.toContain("It rests on outliers");
  });

  it("tell fewer and more latents from about as many, and reconstructions that are too short", () => {
    expect(words({ ve: 0.4, l0: 29 })).toContain(
      "Fewer latents pass their thresholds: 29.0 a token, 40.0 at home.",
    );
    expect(words({ ve: 0.4, l0: 51 })).toContain("More latents");
    expect(words({ ve: 0.4, l0: 35 })).not.toContain("latents pass");
    expect(words({ ve: 0.4, l2Ratio: 0.94 })).toContain("too short");
    expect(words({ ve: 0.4, l2Ratio: 0.96 })).not.toContain("too short");
  });
});

describe("the headline", () => {
  const facts = madeUpFacts({ model: "M" });
  /** Keeps the phases named; VE of each (phase, layer) as given. */
  const with_ = (
    ve: Partial<Record<Phase, readonly number[]>>,
    source: string | null = "a source",
  ): ReportFacts => ({
    ...facts,
    source,
    layers: facts.layers.map((layer, i) => ({
      ...layer,
      measurements: layer.measurements.flatMap((entry) => {
        const value = ve[entry.phase]?.[i];
        return value === undefined
          ? []
          : [{ ...entry, result: { ...entry.result, ...result({ ve: value }), set: entry.set } }];
      }),
    })),
  });
  const [good, bad] = [
    [0.8, 0.8, 0.8],
    [0.7, 0.7, 0.7],
  ];

  it("says whether the source SAE fits, and whether the adapted one does", () => {
    expect(headline(with_({ before: bad, after: good }))).toBe(
      "The source SAE does not fit M. The adapted one does.",
    );
    expect(headline(with_({ before: good, after: good }))).toBe(
      "The source SAE fits M. So does the adapted one.",
    );
    expect(headline(with_({ before: bad, after: bad }))).toBe(
      "The source SAE does not fit M. Neither does the adapted one.",
    );
    expect(headline(with_({ before: good, after: bad }))).toBe(
      "The source SAE fits M. The adapted one does not fit it.",
    );
    expect(headline(with_({ before: bad }))).toBe(
      "The source SAE does not fit M. It has not been adapted yet.",
    );
    expect(headline(with_({ after: good }, null))).toBe("The trained SAE fits M.");
    expect(headline(with_({}))).toBe("Nothing has been measured yet.");
  });

  it("names layers where they differ", () => {
    expect(headline(with_({ before: [0.7, 0.8, 0.7], after: good }))).toBe(
      "The source SAE fits at layer 17 and does not fit at layers 2 and 29 of M. The adapted one does.",
    );
  });

  it("leaves domains out of verdict and range", () => {
    const domainFails = with_({ after: good }, null);
    for (const { measurements } of domainFails.layers)
      for (const entry of measurements)
        if (entry.isDomain) Object.assign(entry.result.metrics.ve, { value: 0.1 });
    expect(headline(domainFails)).toBe("The trained SAE fits M.");
    expect(veRange(domainFails, "after")).toBe("0.800");
  });
});
