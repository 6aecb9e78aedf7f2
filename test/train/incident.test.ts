/**
 * The reference work's incident in miniature: at the first boundary more than half of the latents are dead, and all of
 * them are given a new start at the full norm of living ones, without caps. The same data and seed with the guard off and
 * on, with a cap on what newcomers may take, and without any resampling.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadFinalCheckpoint } from "../../src/train/final-checkpoint.ts";
import type { TrainOutcome } from "../../src/train/progress.ts";
import { train } from "../../src/train/trainer.ts";
import { CONFIG, FORM, startWeights, tinyRun } from "./fixtures.ts";

const D_SAE = 256;
const N_DEAD = 176;
const WATCH = {
  everySteps: 4,
  tokens: 128,
  divergenceChecks: 3,
  maxGradNormRise: 10,
  plateauChecks: 100,
  plateauImprovement: 0,
};
const FULL_NORM = { scale: 1, maxSelectionShare: 1, maxThresholdRise: Number.POSITIVE_INFINITY };

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lapidary-incident-"));
});
afterAll(() => rm(root, { recursive: true }));

type Event = Record<string, unknown> & { event: string; step: number; ve: number };

async function trained(
  name: string,
  changes: Partial<typeof CONFIG>,
): Promise<{ outcome: TrainOutcome; events: Event[]; dir: string }> {
  const dir = join(root, name);
  const outcome = await train(
    tinyRun(dir, {
      config: { ...CONFIG, epochs: 2, watch: WATCH, ...changes },
      start: {
        form: { ...FORM, widths: [24, D_SAE] },
        weights: async () => startWeights(N_DEAD, 16, D_SAE),
        threshold: "first-batch-cut",
      },
    }),
  );
  const text = await readFile(join(dir, "events.jsonl"), "utf8");
  const events = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Event);
  return { outcome, events, dir };
}

it("ruins the SAE with the guard off, and is undone with it on", async () => {
  const never = await trained("never", { resampling: null, guard: null });
  const off = await trained("off", { resampling: FULL_NORM, guard: null });
  const on = await trained("on", { resampling: FULL_NORM });
  const [healthy, ruined, saved] = [never, off, on].map(({ outcome }) => outcome.watch!.last.ve);

  // Off: what the trial predicted, and worse: newcomers take the selection, the threshold runs away, VE collapses.
  expect(healthy).toBeGreaterThan(0.45);
  expect(ruined).toBeLessThan(0);
  const [{ newcomers, predicted, found }] = off.outcome.resamplings;
  expect(newcomers).toBeGreaterThan(0.6 * D_SAE);
  expect(predicted.share).toBeGreaterThan(0.7);
  expect(predicted.cut[1]! / predicted.cut[0]!).toBeGreaterThan(1.4);
  expect(predicted.ve[0]).toBeGreaterThan(0.45);
  expect(predicted.ve[1]).toBeLessThan(0);
  expect(found!.meanShare).toBeGreaterThan(0.7);
  expect(found!.ve).toEqual([off.events.find((e) => e.event === "watch" && e.step === 12)!.ve, ruined]);
  expect(off.outcome.threshold).toBeGreaterThan(1.2 * never.outcome.threshold);
  // … and the run says so, and keeps the best checkpoint of before.
  expect(off.outcome.incidents).toMatchObject([{ kind: "divergence", details: { sign: "loss" } }]);
  expect(off.outcome.watch!.best).toMatchObject({ step: 12, ve: found!.ve[0] });
  expect((await loadFinalCheckpoint(off.dir, "best")).threshold).toBe(found!.threshold[0]);

  // On: found at the first check, undone, and as good as if nothing had happened.
  expect(on.outcome.incidents).toMatchObject([
    { kind: "guard-rollback", step: 16, details: { limit: "ve", backTo: 12 } },
  ]);
  expect(on.outcome.resamplings).toMatchObject([{ step: 12, undone: true }]);
  expect(saved).toBeCloseTo(healthy, 12);
  expect((await loadFinalCheckpoint(on.dir)).weights).toEqual((await loadFinalCheckpoint(never.dir)).weights);
});

it("is found in its first step where the newcomers' share of the selection is capped, without a guard", async () => {
  const resampling = { ...FULL_NORM, maxWatchedShare: 0.5 };
  const { outcome, dir } = await trained("share", { resampling, guard: null });
  const [incident] = outcome.incidents;
  expect(incident).toMatchObject({
    kind: "guard-rollback",
    step: 13,
    details: { limit: "share", backTo: 12, maxWatchedShare: 0.5 },
  });
  expect(incident.details.share).toBeGreaterThan(0.5);
  const never = await trained("never, to compare", { resampling: null, guard: null });
  expect((await loadFinalCheckpoint(dir)).weights).toEqual((await loadFinalCheckpoint(never.dir)).weights);
});

it("does not happen with the caps on: the trial's predictions keep most newcomers out", async () => {
  const resampling = { scale: 1, maxSelectionShare: 0.1, maxThresholdRise: 1.25, watchSteps: 12 };
  const { outcome, events } = await trained("capped", { resampling });
  expect(outcome.incidents).toEqual([]);
  const [{ newcomers, predicted, found }] = outcome.resamplings;
  expect(newcomers).toBeGreaterThan(0);
  expect(newcomers).toBeLessThan(N_DEAD / 4);
  expect(predicted.share).toBeLessThanOrEqual(0.1);
  const settled = events.find(({ event }) => event === "newcomers")!;
  expect(settled).toMatchObject({ step: 24, since: 12, newcomers, ...found });
  expect(settled.shares).toHaveLength(12);
  expect(outcome.watch!.last.ve).toBeGreaterThan(0.4);
});
