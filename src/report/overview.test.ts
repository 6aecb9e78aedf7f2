/** The overview says what the facts say: no number is made anew, no curve is longer than it may be, no text is lost. */
import { describe, expect, it } from "vitest";
import { madeUpFacts } from "../../test/browser/made-up-facts.ts";
import { measured } from "./facts.ts";
import { overviewOf } from "./overview.ts";
import { courses, heldOut } from "./training-log.ts";

const facts = madeUpFacts();
const overview = overviewOf(facts);

describe("overviewOf", () => {
  it("has every measurement with its intervals", () => {
    expect(overview.layers.map(({ layer }) => layer)).toEqual(facts.layers.map(({ layer }) => layer));
    for (const [i, { measurements }] of overview.layers.entries()) {
      expect(measurements.length).toBe(facts.layers[i].measurements.length);
      for (const { phase, set, metrics, densities, nLatents } of measurements) {
        const result = measured(facts.layers[i], phase, set)!;
        for (const [name, { value, interval }] of Object.entries(result.metrics))
          expect(metrics[name]).toEqual({ value, low: interval?.low ?? null, high: interval?.high ?? null });
        expect(densities.counts).toEqual(result.latents.frequencyHistogram.counts);
        expect(nLatents).toBe(result.latents.nLatents);
        for (const name of Object.keys(metrics)) expect(overview.definitions[name]).toMatch(/\w/);
      }
    }
    expect(overview.splices.length).toBe(facts.splices.length);
  });

  it("has curves of the steps that stood, thinned, and held-out readings as they were", () => {
    let longest = 0;
    for (const [i, { trainings }] of overview.layers.entries())
      for (const [j, { curves, heldOut: read, nSteps }] of trainings.entries()) {
        const { metrics, events } = facts.layers[i].trainings[j];
        const { final } = courses(metrics);
        longest = Math.max(longest, final.length);
        for (const curve of Object.values(curves)) {
          expect(curve.length).toBe(curves.step.length);
          expect(curve.every(Number.isFinite)).toBe(true);
        }
        expect(curves.step.length).toBeLessThanOrEqual(400);
        expect([...curves.step]).toEqual([...new Set(curves.step)].sort((a, b) => a - b));
        expect(nSteps).toBe(final.at(-1)?.step);
        expect(read.step.map((step, at) => ({ step, ve: read.ve[at] }))).toEqual(heldOut(events));
        const mean = (values: readonly number[]) =>
          values.reduce((sum, value) => sum + value, 0) / values.length;
        if (final.length <= 400) expect(curves.loss).toEqual(final.map(({ loss }) => loss));
        else
          expect(mean(curves.loss.slice(0, -1))).toBeCloseTo(
            mean(
              final
                .slice(0, (curves.loss.length - 1) * Math.ceil(final.length / 400))
                .map(({ loss }) => loss),
            ),
            8,
          );
      }
    expect(longest).toBeGreaterThan(0);
  });

  it("tells what happened, by kind, in words", () => {
    const told = overview.layers.flatMap(({ trainings }) => trainings.flatMap(({ events }) => events));
    expect(told.length).toBeGreaterThan(0);
    expect(new Set(told.map(({ kind }) => kind))).toContain("resampling");
    for (const { text } of told) expect(text).not.toMatch(/^step|undefined/);
  });

  it("is plain JSON", () => {
    expect(JSON.parse(JSON.stringify(overview))).toEqual(overview);
  });
});
