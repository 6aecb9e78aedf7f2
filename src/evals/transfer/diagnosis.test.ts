/** The rules on numbers alone: each limit of the table is where the verdict turns, and every verdict cites what it went by. */
import { describe, expect, it } from "vitest";
import { type Cause, verdict } from "./diagnosis.ts";
import { TRANSFER_LIMITS } from "./limits.ts";
import type { TransferDiagnosis } from "./transfer.ts";

const score = (ve: number, l0 = 32) => ({ ve, l0 });

/** VE 0.6 where 0.8 was, half of the loss not recovered by anything. */
function diagnosis(changes: Partial<TransferDiagnosis> = {}, fixes = {}): TransferDiagnosis {
  return {
    nTokens: 10_000,
    ve: 0.6,
    l0: 32,
    expected: "base",
    home: { ve: 0.8, l0: 32 },
    spread: 10,
    meanShift: 0.2,
    shiftedDimensions: [{ dimension: 1, shift: 2 }],
    topTenShare: 0.5,
    scaleRatio: 0.9,
    silentShare: 0.1,
    above10: 0.01,
    above50: 0,
    threshold: null,
    outliers: {
      share: 0.001,
      nTokens: 10,
      sseShare: 0.05,
      veWithout: 0.62,
      sseShareByNorm: 0.01,
      veWithoutByNorm: 0.6,
    },
    fixes: {
      definition: "halves",
      nTokens: 5000,
      none: score(0.6),
      recentred: score(0.62),
      rescaled: score(0.63),
      both: score(0.65),
      scale: 1.1,
      scaleFrom: "base",
      ...fixes,
    },
    ...changes,
  };
}
const outliers = (changes: object) => ({ outliers: { ...diagnosis().outliers!, ...changes } });
const causeOf = (...args: Parameters<typeof diagnosis>): Cause => verdict(diagnosis(...args)).cause;

describe("a verdict turns at the limits of the table", () => {
  it("fineLoss: what may be lost and still fit; goodVe where there is no base", () => {
    const { fineLoss, goodVe } = TRANSFER_LIMITS;
    expect(causeOf({ ve: 0.8 - fineLoss.value + 1e-9, outliers: null })).toBe("none");
    expect(causeOf({ ve: 0.8 - fineLoss.value - 1e-6 })).not.toBe("none");
    expect(causeOf({ ve: goodVe.value, home: null, outliers: null })).toBe("none");
    expect(causeOf({ ve: goodVe.value - 1e-6, home: null })).not.toBe("none");
  });

  it("recovers: half of the loss, by a fix or without the worst tokens; outliers come first", () => {
    expect(causeOf()).toBe("changed distribution");
    expect(causeOf({}, { recentred: score(0.701) })).toBe("mean shift");
    expect(causeOf({}, { recentred: score(0.699) })).toBe("changed distribution");
    expect(causeOf({}, { rescaled: score(0.701) })).toBe("scale");
    expect(causeOf({}, { recentred: score(0.72), rescaled: score(0.71), both: score(0.73) })).toBe(
      "mean shift",
    );
    expect(causeOf({}, { both: score(0.71) })).toBe("mean shift and scale");
    expect(causeOf({}, { recentred: score(0.72), both: score(0.7399) })).toBe("mean shift");
    expect(causeOf({}, { recentred: score(0.72), both: score(0.7401) })).toBe("mean shift and scale");
    expect(causeOf(outliers({ veWithout: 0.701 }), { recentred: score(0.79) })).toBe("outliers");
  });

  it("boughtL0: VE that a fix buys with more latents does not count, and the verdict says so", () => {
    expect(causeOf({}, { rescaled: score(0.75, 48) })).toBe("scale");
    expect(causeOf({}, { rescaled: score(0.75, 49) })).toBe("changed distribution");
    expect(verdict(diagnosis({}, { rescaled: score(0.75, 49) })).lines[1]).toContain(
      "nothing that counts (L0 49)",
    );
  });

  it("flattery: a good VE that a few huge tokens hold up", () => {
    expect(causeOf({ ve: 0.85, ...outliers({ veWithoutByNorm: 0.801 }) })).toBe("none");
    expect(causeOf({ ve: 0.85, ...outliers({ veWithoutByNorm: 0.799 }) })).toBe("flattered");
  });

  it("workingVe: an SAE that fails at home is not called unfit for the other model; outliers may hide it", () => {
    const home = { ve: 0.4, l0: 32 };
    expect(causeOf({ home, ve: 0.39 })).toBe("unfit at home");
    expect(causeOf({ home, ve: 0.39, ...outliers({ veWithout: 0.85 }) })).toBe("outliers");
  });

  it("l0Change: the threshold is spoken of when L0 is another than at home", () => {
    const last = (l0: number) => verdict(diagnosis({ l0 })).lines.at(-1);
    expect(last(39)).not.toContain("L0 is");
    expect(last(41)).toContain("L0 is 41.0 instead of 32.0");
  });
});

it("every verdict is two to four lines, cites its numbers, and never says NaN or undefined of what is known", () => {
  const cases = [
    diagnosis(),
    diagnosis({ ve: 0.81 }),
    diagnosis({ home: null, expected: "sae", scaleRatio: null }),
    diagnosis({ fixes: null, outliers: null }),
    diagnosis({ home: { ve: 0.3, l0: 5 } }),
    diagnosis(outliers({ veWithout: 0.75, sseShare: 0.7 })),
    diagnosis({}, { recentred: score(0.79), both: score(0.79) }),
    diagnosis({ ve: -3 }, { none: score(-3), rescaled: score(0.7), both: score(0.7) }),
  ];
  for (const each of cases) {
    const { lines, evidence } = verdict(each);
    expect(lines.length).toBeGreaterThanOrEqual(2);
    expect(lines.length).toBeLessThanOrEqual(4);
    expect(lines.join(" ")).not.toMatch(/NaN|undefined|null|Infinity/);
    expect(evidence.find(({ what }) => what === "VE")?.value).toBe(each.ve);
    expect(
      evidence.filter(({ limit }) => limit !== null).every(({ limit }) => limit! in TRANSFER_LIMITS),
    ).toBe(true);
  }
});
