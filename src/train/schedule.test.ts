/** Schedules at their corners; the sequences of the real schedulers are in test/golden. */
import { describe, expect, it } from "vitest";
import type { ScheduleConfig } from "./config.ts";
import { coefficientAt, learningRateAt } from "./schedule.ts";

const constant: ScheduleConfig = {
  name: "constant",
  lr: 1e-3,
  lrEnd: 1e-4,
  warmUpSteps: 0,
  decaySteps: 0,
  nCycles: 1,
};

describe("learningRateAt", () => {
  it("does not depend on which steps were asked before", () => {
    const one: ScheduleConfig = { ...constant, name: "cosineannealing", warmUpSteps: 3, decaySteps: 4 };
    const backwards = [19, 7, 3, 0].map((t) => learningRateAt(one, 20, t));
    expect(backwards).toEqual([19, 7, 3, 0].map((t) => learningRateAt({ ...one }, 20, t)));
    expect(learningRateAt(one, 40, 19)).not.toBe(backwards[0]);
  });

  it("warms up to lr, halves in the middle of a cosine, decays to nothing", () => {
    const c: ScheduleConfig = { ...constant, name: "cosineannealing", warmUpSteps: 4, decaySteps: 4 };
    expect(learningRateAt(c, 28, 0)).toBeCloseTo(2.5e-4, 12);
    expect(learningRateAt(c, 28, 4)).toBe(1e-3);
    expect(learningRateAt(c, 28, 14)).toBeCloseTo(5.5e-4, 12);
    expect(learningRateAt(c, 28, 24)).toBeCloseTo(1e-4, 12);
    expect(learningRateAt(c, 28, 28)).toBeCloseTo(0, 12);
  });

  it("refuses phases that do not fit", () => {
    expect(() => learningRateAt({ ...constant, warmUpSteps: 9, decaySteps: 2 }, 10, 0)).toThrow(/leave -1/);
    expect(() => learningRateAt({ ...constant, name: "cosineannealing", warmUpSteps: 10 }, 10, 0)).toThrow(
      /leave 0/,
    );
    expect(() =>
      learningRateAt({ ...constant, name: "cosineannealing", lrEnd: 0, decaySteps: 2 }, 10, 0),
    ).toThrow(/starts at lrEnd/);
    expect(() => learningRateAt({ ...constant }, 10, -1)).toThrow(/from 0/);
  });
});

describe("coefficientAt", () => {
  it("rises linearly from 0, or stands", () => {
    expect([0, 1, 2, 3, 4].map((t) => coefficientAt(3, 3, t))).toEqual([0, 1, 2, 3, 3]);
    expect(coefficientAt(3, 0, 0)).toBe(3);
  });
});
