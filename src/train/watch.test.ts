import { describe, expect, it } from "vitest";
import { DEFAULT_WATCH, type EarlyStopConfig } from "./config.ts";
import {
  afterCheck,
  afterReading,
  afterStep,
  type Findings,
  NOTHING_WATCHED,
  type WatchState,
} from "./watch.ts";

const config = { ...DEFAULT_WATCH, divergenceChecks: 2, plateauChecks: 3, plateauImprovement: 0.01 };
const reading = (ve: number) => ({ ve, mse: 1 - ve, l0: 3, cut: 1 });

/** Checks with these values of VE, one a step; `losses`: the training loss of the step before each. */
function checks(
  ves: readonly number[],
  losses: readonly number[] = [],
  earlyStop?: EarlyStopConfig,
): Findings[] {
  const found: Findings[] = [];
  let state: WatchState = NOTHING_WATCHED;
  for (const [i, ve] of ves.entries()) {
    const loss = losses[i];
    if (loss !== undefined) state = afterStep(state, { step: i, loss, gradNorm: 1 }, config).state;
    found.push(afterCheck(state, i, reading(ve), config, earlyStop));
    state = found[i].state;
  }
  return found;
}
const told = (found: readonly Findings[], what: "incident" | "plateau" | "stop") =>
  found.flatMap((findings, i) => (findings[what] === null ? [] : [i]));

describe("divergence", () => {
  it("is VE falling at so many checks in a row, told once until it rises again", () => {
    const found = checks([0.8, 0.79, 0.78, 0.77, 0.8, 0.79, 0.78]);
    expect(told(found, "incident")).toEqual([2, 6]);
    expect(found[2].incident).toMatchObject({ kind: "divergence", step: 2, details: { sign: "ve" } });
    expect(found[2].incident!.what).toMatch(/fell at 2 checks in a row, from 0.8000 to 0.7800/);
  });

  it("is not a fall within noise, nor one with a rise between", () => {
    expect(told(checks([0.8, 0.799, 0.798]), "incident")).toEqual([]);
    expect(told(checks([0.8, 0.7, 0.75, 0.65, 0.7]), "incident")).toEqual([]);
  });

  it("is the training loss between checks rising", () => {
    const found = checks([0.5, 0.5, 0.5, 0.5], [10, 11, 12, 13]);
    expect(told(found, "incident")).toEqual([2]);
    expect(found[2].incident!.details).toMatchObject({ sign: "loss" });
    expect(told(checks([0.5, 0.5, 0.5], [10, 10.05, 10.1]), "incident")).toEqual([]);
  });

  it("is a VE that is not a number, at once", () => {
    expect(told(checks([0.5, -1e300, -1e300]), "incident")).toEqual([1]);
  });

  it("is a gradient norm that stays far above its running median; one spike is not", () => {
    const norms = Array.from({ length: 120 }, (_, i) =>
      i === 40 ? 1e6 : i < 60 || i >= 90 ? 1 + (i % 3) : 50,
    );
    let state: WatchState = NOTHING_WATCHED;
    const incidents: number[] = [];
    for (const [step, gradNorm] of norms.entries()) {
      const next = afterStep(state, { step, loss: 1, gradNorm }, config);
      state = next.state;
      if (next.incident !== null) incidents.push(step);
    }
    expect(incidents).toEqual([63]); // once 4 of the last 8 are large
    expect(state.gradNorms).toEqual(norms.slice(-64));
  });
});

describe("plateau and early stop", () => {
  it("a plateau is the best VE improving too little over so many checks, told once until it improves", () => {
    const ves = [0.5, 0.6, 0.601, 0.602, 0.603, 0.604, 0.7, 0.7, 0.7, 0.7];
    expect(told(checks(ves), "plateau")).toEqual([4, 9]);
  });

  it("early stop has numbers of its own, and none stops nothing", () => {
    const ves = [0.5, 0.6, 0.6, 0.6, 0.6];
    expect(told(checks(ves), "stop")).toEqual([]);
    expect(told(checks(ves, [], { checks: 2, minImprovement: 0.001 }), "stop")).toEqual([3, 4]);
    expect(told(checks(ves, [], { checks: 10, minImprovement: 0.001 }), "stop")).toEqual([]);
  });

  it("looks back no further than it must, and remembers the best of before", () => {
    const { state } = checks([0.9, 0.5, 0.5, 0.5, 0.5, 0.6]).at(-1)!;
    expect(state.checks.map(({ step }) => step)).toEqual([2, 3, 4, 5]);
    expect(state.checks.every(({ bestVe }) => bestVe === 0.9)).toBe(true);
  });
});

it("the best is chosen among checkpoints only; the first of equals stays", () => {
  let state = afterReading(NOTHING_WATCHED, 1, reading(0.9), false);
  expect(state).toMatchObject({ last: { step: 1, ve: 0.9 }, best: null });
  for (const [step, ve] of [
    [2, 0.5],
    [3, 0.7],
    [4, 0.7],
    [5, 0.6],
  ])
    state = afterReading(state, step, reading(ve), true);
  expect(state).toMatchObject({ last: { step: 5, ve: 0.6 }, best: { step: 3, ve: 0.7 } });
});
