import { describe, expect, it } from "vitest";
import { afterGoodCheck, findBreach, firstGuardState, incidentOf } from "./guard.ts";

const limits = { everySteps: 1, tokens: 1, maxVeDrop: 0.05, maxThresholdRise: 2 };

describe("findBreach", () => {
  it("compares VE with the best seen", () => {
    let state = firstGuardState({ ve: 0.8, cut: 1 });
    state = afterGoodCheck(state, { ve: 0.85, cut: 1 }, false);
    state = afterGoodCheck(state, { ve: 0.82, cut: 1 }, false);
    expect(findBreach(state, { ve: 0.801, cut: 1 }, limits)).toBeNull();
    expect(findBreach(state, { ve: 0.799, cut: 1 }, limits)?.limit).toBe("ve");
  });

  it("watches the threshold from one good check to the next, on probation only", () => {
    const calm = firstGuardState({ ve: 0.8, cut: 1 });
    expect(findBreach(calm, { ve: 0.8, cut: 3 }, limits)).toBeNull();
    const probation = { ...calm, probation: 12 };
    expect(findBreach(probation, { ve: 0.8, cut: 2 }, limits)).toBeNull();
    expect(findBreach(probation, { ve: 0.8, cut: 2.1 }, limits)?.limit).toBe("threshold");
    const later = afterGoodCheck(probation, { ve: 0.8, cut: 1.9 }, false);
    expect(later.probation).toBe(12);
    expect(findBreach(later, { ve: 0.8, cut: 2.1 }, limits)).toBeNull();
  });

  it("ends a probation at an epoch boundary that it passes", () => {
    const state = { ...firstGuardState({ ve: 0.8, cut: 1 }), probation: 12 };
    expect(afterGoodCheck(state, { ve: 0.8, cut: 1 }, true).probation).toBeNull();
  });

  it("calls a breach without probation noted, with one a rollback", () => {
    const calm = firstGuardState({ ve: 0.8, cut: 1 });
    const reading = { ve: 0.1, cut: 1 };
    const breach = findBreach(calm, reading, limits)!;
    expect(incidentOf(breach, calm, reading, 20).kind).toBe("guard-noted");
    const rollback = incidentOf(breach, { ...calm, probation: 12 }, reading, 20);
    expect(rollback).toMatchObject({ kind: "guard-rollback", step: 20, details: { backTo: 12, ve: 0.1 } });
  });
});
