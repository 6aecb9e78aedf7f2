import { expect, it } from "vitest";
import type { MetricsLine } from "../train/metrics.ts";
import { courses, heldOut, incidentsOf, inWords, momentsOf, thin } from "./training-log.ts";

const lines = (...of: [step: number, attempt: number][]) =>
  of.map(([step, attempt]) => ({ step, attempt }) as MetricsLine);
const steps = (of: readonly MetricsLine[]) => of.map(({ step, attempt }) => `${step}/${attempt}`);

it("steps that a rollback undid are told apart, also where the new course is not as far yet", () => {
  const { final, undone } = courses(lines([10, 0], [20, 0], [30, 0], [20, 1], [30, 1], [20, 2]));
  expect(steps(final)).toEqual(["10/0", "20/2"]);
  expect(undone.map(steps)).toEqual([
    ["20/0", "30/0"],
    ["20/1", "30/1"],
  ]);
});

it("many points become means with the least and greatest around them", () => {
  const points = Array.from({ length: 10 }, (_, i) => [i, i * i] as const);
  expect(thin(points, 10)).toEqual({ points });
  const { points: means, band } = thin(points, 4); // groups of three, and one left over
  expect(means).toEqual([
    [1, 5 / 3],
    [4, 50 / 3],
    [7, 149 / 3],
    [9, 81],
  ]);
  expect(band?.[1]).toEqual([4, 9, 25]);
});

it("held-out readings are the watch's, and the last of each step; the guard's where nothing was watched", () => {
  const guard = { event: "guard", step: 5, ve: 0.5 };
  const watch = (step: number, ve: number) => ({ event: "watch", step, ve });
  expect(heldOut([watch(20, 0.7), guard, watch(10, 0.1), watch(10, 0.6)])).toEqual([
    { step: 10, ve: 0.6 },
    { step: 20, ve: 0.7 },
  ]);
  expect(heldOut([guard])).toEqual([{ step: 5, ve: 0.5 }]);
});

it("what happened is marked by its kind", () => {
  const events = [
    { event: "guard", step: 1, ve: 0.5 },
    { event: "resampling", step: 2, newcomers: 7 },
    { event: "guard-rollback", step: 3, what: "VE fell" },
    { event: "divergence", step: 4, what: "the loss rose" },
    { event: "plateau", step: 5, what: "nothing rose" },
    { event: "checkpoint-damaged", step: 6, file: "weights" },
    { event: "end", step: 7, stoppedEarly: { step: 7, totalSteps: 9, what: "nothing rose for long" } },
    { event: "end", step: 8 },
  ];
  expect(momentsOf(events).map(({ x, kind, label }) => [x, kind, label])).toEqual([
    [2, "resampling", "R"],
    [3, "rollback", "↶"],
    [4, "incident", "!"],
    [5, "note", "i"],
    [6, "incident", "!"],
    [7, "note", "i"],
  ]);
  expect(incidentsOf(events).map(inWords)).toEqual([
    "VE fell",
    "the loss rose",
    "nothing rose",
    "a checkpoint was damaged (weights); training went on from this one",
    "stopped early: nothing rose for long",
  ]);
});
