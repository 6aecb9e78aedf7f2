/** The densities that are drawn: without those that never fire, from the power of ten below the first that does. */
import { expect, it } from "vitest";
import type { MeasurementOverview } from "../../../../src/dashboard/overview.ts";
import { firingDensities } from "./plots.tsx";

const measured = (nNeverFired: number, counts: number[], floor = -3): MeasurementOverview => ({
  phase: "after",
  set: "a",
  isDomain: false,
  nTokens: 1,
  nDocuments: 1,
  saeHash: "",
  metrics: {},
  veChange: null,
  nLatents: 10,
  nNeverFired,
  densities: { floor, binWidth: 0.5, counts },
});

it("drops what never fires and the empty bins below, to a whole power of ten", () => {
  expect(firingDensities(measured(7, [7, 0, 0, 2, 5, 1]), undefined)).toEqual({
    low: -2,
    high: 0,
    counts: [0, 2, 5, 1],
    beforeCounts: undefined,
  });
});

it("keeps what fires in the lowest bin, and what only fired before", () => {
  expect(firingDensities(measured(7, [9, 0, 0, 2, 5, 1]), undefined).counts).toEqual([2, 0, 0, 2, 5, 1]);
  const both = firingDensities(measured(7, [7, 0, 0, 0, 5, 1]), measured(1, [1, 0, 3, 0, 0, 0]));
  expect(both).toMatchObject({ low: -2, counts: [0, 0, 5, 1], beforeCounts: [3, 0, 0, 0] });
});

it("does not lay other bins over these, and draws nothing firing whole", () => {
  expect(firingDensities(measured(0, [1, 1]), measured(0, [1, 1], -4)).beforeCounts).toBeUndefined();
  expect(firingDensities(measured(3, [3, 0]), undefined)).toMatchObject({ low: -3, counts: [0, 0] });
});
