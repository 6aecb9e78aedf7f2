/** What the watch does in a run: looks, the best checkpoint, notes, early stop; and that it touches no weight. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { DEFAULT_WATCH } from "../../src/train/config.ts";
import { loadFinalCheckpoint, readFinishedTraining, trainedSae } from "../../src/train/final-checkpoint.ts";
import { readHeldOut } from "../../src/train/held-out.ts";
import { train } from "../../src/train/trainer.ts";
import { CONFIG, D_IN, D_SAE, FORM, memoryStore, sparseRows, tinyRun } from "./fixtures.ts";

const WATCH = { ...DEFAULT_WATCH, everySteps: 6, tokens: 100 };
/** Newcomers that ruin everything at step 12 or 24, and nobody who undoes it. */
const RUIN = { scale: 5, maxSelectionShare: 1, maxThresholdRise: Number.POSITIVE_INFINITY };
const RUINED = { ...CONFIG, guard: null, watch: WATCH, resampling: RUIN };

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "lapidary-watch-"));
});
afterEach(() => rm(dir, { recursive: true }));

const events = async (): Promise<Record<string, unknown>[]> =>
  (await readFile(join(dir, "events.jsonl"), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

it("looks before the first step, at checks and at checkpoints, and writes what it sees", async () => {
  const outcome = await train(tinyRun(dir, { config: { ...CONFIG, watch: WATCH } }));
  const looks = (await events()).filter(({ event }) => event === "watch");
  expect(looks.map(({ step }) => step)).toEqual([0, 5, 6, 10, 12, 15, 18, 20, 24, 25, 30, 35, 36]);
  const { weights } = await loadFinalCheckpoint(dir);
  const engine = await createReferenceEngine({ dIn: D_IN, dSae: D_SAE, training: false, ...FORM }, weights);
  const seen = await readHeldOut(engine, memoryStore(sparseRows(128, 3)), {
    selection: { kind: "batch-topk", k: 3 },
    tokens: 100,
    chunkRows: 64,
  });
  expect(looks.at(-1)).toEqual({ event: "watch", attempt: 0, step: 36, ...seen });
  expect(outcome.watch!.last).toEqual({ step: 36, ve: seen.ve });
});

it("changes no weight and no threshold", async () => {
  const watched = await train(tinyRun(join(dir, "watched"), { config: { ...CONFIG, watch: WATCH } }));
  const plain = await train(tinyRun(join(dir, "plain")));
  expect(watched.weightsHash).toBe(plain.weightsHash);
  expect(watched.threshold).toBe(plain.threshold);
  expect(plain.watch).toBeUndefined();
});

it("a default watch, begun in the middle of a run that had none, goes on to the same bits", async () => {
  const controller = new AbortController();
  const onProgress = ({ step }: { step: number }) => step === 14 && controller.abort();
  await expect(train(tinyRun(dir, { signal: controller.signal, onProgress }))).rejects.toThrow();
  const outcome = await train(tinyRun(dir, { config: { ...CONFIG, watch: DEFAULT_WATCH } }));
  const plain = await train(tinyRun(join(dir, "plain")));
  expect(outcome.weightsHash).toBe(plain.weightsHash);
  expect(outcome.watch!.best.step).toBe(36);
});

describe("the best checkpoint", () => {
  it("is never pruned, is told with its numbers, and can be taken in place of the last", async () => {
    const { watch, weightsHash, steps } = await train(tinyRun(dir, { config: RUINED }));
    expect(steps).toBe(36);
    expect(watch!.best.step).toBe(12);
    expect(watch!.best.ve).toBeGreaterThan(watch!.last.ve + 0.3);
    expect(watch!.best.weightsHash).not.toBe(weightsHash);
    expect((await readdir(dir)).filter((name) => name.startsWith("step-"))).toEqual([
      "step-00000012",
      "step-00000036",
    ]);
    const before = await train(tinyRun(join(dir, "before"), { config: { ...RUINED, resampling: null } }));
    const best = await trainedSae(dir, "best");
    expect(best.threshold).toBe(watch!.best.threshold);
    expect((await readFinishedTraining(dir, "best"))!.threshold).toBe(best.threshold);
    expect((await trainedSae(dir)).threshold).not.toBe(best.threshold);
    const engine = await createReferenceEngine(
      { dIn: D_IN, dSae: D_SAE, training: false, ...FORM },
      best.weights,
    );
    const selection = { kind: "batch-topk", k: 3 } as const;
    const rows = memoryStore(sparseRows(128, 3));
    const { ve } = await readHeldOut(engine, rows, { selection, tokens: 100, chunkRows: 64 });
    expect(ve).toBe(watch!.best.ve);
    expect(before.watch!.best.step).toBe(36); // undisturbed, the last is the best
  });

  it("that is gone or was never chosen is an error only where it is asked for", async () => {
    await train(tinyRun(dir, { config: RUINED }));
    await rm(join(dir, "step-00000012"), { recursive: true });
    expect((await trainedSae(dir)).threshold).toBeGreaterThan(0);
    await expect(trainedSae(dir, "best")).rejects.toThrow(/best checkpoint, of step 12, is not beside/);
    await train(tinyRun(join(dir, "plain")));
    await expect(trainedSae(join(dir, "plain"), "best")).rejects.toThrow(/nobody watched/);
  });
});

it("tells divergence as an incident and a plateau as a note", async () => {
  const watch = { ...WATCH, everySteps: 2, divergenceChecks: 2, plateauChecks: 4, plateauImprovement: 0.5 };
  const { incidents } = await train(tinyRun(dir, { config: { ...RUINED, watch } }));
  expect(incidents[0]).toMatchObject({ kind: "divergence" });
  expect(incidents[0].step).toBeGreaterThan(12);
  const notes = (await events()).filter(({ event }) => event === "plateau" || event === "divergence");
  expect(notes[0]).toMatchObject({ event: "plateau", step: 8 });
  expect(notes.some(({ event }) => event === "divergence")).toBe(true);
});

describe("early stop", () => {
  const config = { ...CONFIG, watch: WATCH, earlyStop: { minImprovement: 0.05, checks: 2 } };

  it("ends the run as if it were over: finished checkpoint, outcome, and nothing done again", async () => {
    const outcome = await train(tinyRun(dir, { config }));
    expect(outcome.steps).toBeLessThan(36);
    expect(outcome.stoppedEarly).toMatchObject({ step: outcome.steps, totalSteps: 36 });
    expect(outcome.stoppedEarly!.what).toMatch(/improved by less than 0.05 over 2 checks/);
    expect((await events()).at(-1)).toMatchObject({ event: "end", step: outcome.steps });
    expect(outcome.watch!.best.step).toBe(outcome.steps);
    const again = await train(
      tinyRun(dir, {
        config,
        createEngine: () => {
          throw new Error("not needed");
        },
      }),
    );
    expect(again).toEqual(outcome);
  });

  it("needs a watch, and a watch needs rows", async () => {
    const { watch: _, ...blind } = config;
    await expect(train(tinyRun(dir, { config: blind }))).rejects.toThrow(/which nobody watches/);
    const options = tinyRun(dir, { config: { ...config, guard: null }, heldOut: null });
    await expect(train(options)).rejects.toThrow(/watch is on, but there are no held-out/);
  });

  it("and other things that decide cannot change within a run", async () => {
    await train(tinyRun(dir, { config }));
    const later = { ...config, earlyStop: { minImprovement: 0.01, checks: 2 } };
    await expect(train(tinyRun(dir, { config: later }))).rejects.toThrow(
      /config\.earlyStop\.minImprovement 0\.05 → 0\.01/,
    );
  });
});
