/** A short campaign of failing files; `npm run faults` is the long one. */
import { expect, it } from "vitest";
import { campaign } from "./campaign.ts";
import { FAILURES } from "./faulty-files.ts";

it("a run whose files fail says so in one line, and the same command then ends with the same bits", {
  timeout: 180_000,
}, async () => {
  const report = await campaign({
    seed: 1,
    failures: FAILURES,
    maxFaultsPerChain: 12,
    goesOn: (faults) => faults < 10,
  });
  expect(report.problems).toEqual([]);
  expect(report.faults).toBeGreaterThan(3);
});
