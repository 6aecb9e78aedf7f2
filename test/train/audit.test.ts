/** Statistical screening in training: who is audited, what is counted, and what happens past the limit. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineFactory, Screening } from "../../src/kernels/kernels.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { Philox } from "../../src/random/philox.ts";
import type { TrainOptions } from "../../src/train/options.ts";
import { train } from "../../src/train/trainer.ts";
import { finalState } from "./final-state.ts";
import { CONFIG, tinyRun } from "./fixtures.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lapidary-audit-"));
});
afterAll(() => rm(root, { recursive: true }));

const SCREENING = { sigmas: 6, auditEverySteps: 4, auditTokens: 10, maxMissedShare: 0.02 };

/** What was asked of an engine, in order. */
type Call =
  | { what: "train"; step: number; screening: Screening; tokens: Uint32Array | null }
  | { what: "encode"; screening: Screening };

/**
 * The reference engine, which says in each audit that it missed `missed(step)` entries (step from 1), and fails at its n-th
 * call.
 */
function watched(calls: Call[], missed: (step: number) => number = () => 0, n = Infinity): EngineFactory {
  return async (config, weights) => {
    const engine = await createReferenceEngine(config, weights);
    let screening: Screening = config.screening ?? { margin: "rigorous" };
    let nCalls = 0;
    const count = () => {
      nCalls += 1;
      if (nCalls === n) throw new Error("power cut");
    };
    const { encode, decode, trainStep, setScreening, read, write } = engine;
    return Object.assign(engine, {
      async encode(...args: Parameters<typeof encode>) {
        count();
        calls.push({ what: "encode", screening });
        return encode.apply(engine, args);
      },
      async decode(...args: Parameters<typeof decode>) {
        count();
        return decode.apply(engine, args);
      },
      async read(...args: Parameters<typeof read>) {
        count();
        return read.apply(engine, args);
      },
      async write(...args: Parameters<typeof write>) {
        count();
        return write.apply(engine, args);
      },
      async trainStep(...args: Parameters<typeof trainStep>) {
        count();
        const { adamStep: step, audit } = args[1];
        calls.push({ what: "train", step, screening, tokens: audit?.tokens ?? null });
        const result = await trainStep.apply(engine, args);
        return { ...result, audit: result.audit && { ...result.audit, missed: missed(step) } };
      },
      async setScreening(asked: Screening) {
        screening = asked;
        await setScreening.call(engine, asked);
      },
    });
  };
}

const statistical = (dir: string, changes: Partial<TrainOptions> = {}) =>
  tinyRun(dir, { config: { ...CONFIG, screening: SCREENING }, ...changes });

async function lines(dir: string, name: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(dir, name), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe("without a miss", () => {
  const calls: Call[] = [];
  let dir: string;
  beforeAll(async () => {
    dir = join(root, "clean");
    await train(statistical(dir, { createEngine: watched(calls) }));
  });
  const steps = () => calls.filter((call) => call.what === "train");

  it("audits ten seeded tokens every four steps, each time others", () => {
    const audited = steps().flatMap(({ step, tokens }) => (tokens === null ? [] : [{ step, tokens }]));
    expect(audited.map(({ step }) => step)).toEqual([1, 5, 9, 13, 17, 21, 25, 29, 33]);
    for (const { step, tokens } of audited) {
      const order = new Philox(CONFIG.seed, `screening/audit/${step - 1}`).permutation(64);
      expect(tokens).toEqual(order.slice(0, 10).sort());
    }
  });

  it("trains with the margin asked for; guard, resampling and the first cut do without", () => {
    expect(new Set(steps().map(({ screening }) => JSON.stringify(screening)))).toEqual(
      new Set([JSON.stringify({ margin: "statistical", sigmas: 6 })]),
    );
    const encodes = calls.filter((call) => call.what === "encode");
    expect(encodes.length).toBeGreaterThan(12);
    for (const { screening } of encodes) expect(screening).toEqual({ margin: "rigorous" });
  });

  it("tells what was counted, and comes to the weights of rigorous screening", async () => {
    const rigorous = join(root, "rigorous");
    const calls: Call[] = [];
    const outcome = await train(tinyRun(rigorous, { createEngine: watched(calls) }));
    expect(calls.every((call) => call.what === "encode" || call.tokens === null)).toBe(true);
    const [clean, plain] = [await finalState(dir), await finalState(rigorous)];
    expect(clean.tensors).toEqual(plain.tensors);

    const { audit } = clean.outcome;
    expect(audit).toMatchObject({ margin: "statistical", missed: 0 });
    expect(audit?.entries).toBeGreaterThan(9 * 10);
    expect((await lines(dir, "metrics.jsonl")).at(-1)).toMatchObject({ step: 36, audit });
    expect((await lines(dir, "events.jsonl")).at(-1)).toMatchObject({ event: "end", audit });

    // and of rigorous screening nothing is written at all
    expect(outcome.audit).toBeUndefined();
    const checkpoint = await readFile(join(outcome.finalCheckpointDir, "checkpoint.json"), "utf8");
    for (const text of [checkpoint, plain.metrics, plain.events]) {
      expect(text).not.toContain('"audit"');
      expect(text).not.toContain('"screening"');
    }
  });
});

describe("with misses", () => {
  it("below the limit: counted and told", async () => {
    const dir = join(root, "few");
    const outcome = await train(
      statistical(dir, { createEngine: watched([], (step) => (step === 33 ? 1 : 0)) }),
    );
    expect(outcome.audit).toMatchObject({ margin: "statistical", missed: 1 });
    expect(outcome.incidents).toEqual([]);
    const told = (await lines(dir, "events.jsonl")).filter(({ event }) => event === "audit-missed");
    expect(told).toMatchObject([{ step: 33, missed: 1, together: { missed: 1 } }]);
  });

  it("past the limit: an incident, and the rest of the run screens rigorously and is not audited", async () => {
    const dir = join(root, "many");
    const calls: Call[] = [];
    const outcome = await train(
      statistical(dir, { createEngine: watched(calls, (step) => (step === 9 ? 5 : 0)) }),
    );
    const steps = calls.filter((call) => call.what === "train");
    for (const { step, screening, tokens } of steps) {
      expect(screening.margin, `step ${step}`).toBe(step <= 9 ? "statistical" : "rigorous");
      if (step > 9) expect(tokens).toBeNull();
    }
    expect(outcome.audit).toMatchObject({ margin: "rigorous", missed: 5 });
    expect(outcome.incidents).toMatchObject([
      { kind: "screening-missed", step: 9, details: { missed: 5, sigmas: 6 } },
    ]);
    expect(outcome.incidents[0].what).toMatch(/margin of 6 σ missed 5 of \d+ audited entries/);
    const events = (await lines(dir, "events.jsonl")).filter(({ step }) => step === 9);
    expect(events.map(({ event }) => event)).toEqual(["audit-missed", "screening-missed"]);
  });

  it.each([1, 2])("comes to the same files through power cuts anywhere (seed %i)", async (seed) => {
    const missed = (step: number) => (step === 5 ? 1 : step === 17 ? 5 : 0);
    const undisturbed = join(root, `undisturbed-${seed}`);
    await train(statistical(undisturbed, { createEngine: watched([], missed) }));
    const dir = join(root, `cuts-${seed}`);
    const random = new Philox(seed, "test/audit-cuts");
    let cuts = 0;
    for (let done = false; !done && cuts < 200; ) {
      const n = 20 + Math.floor(random.uniform(cuts) * (cuts === 0 ? 60 : 420));
      try {
        await train(statistical(dir, { createEngine: watched([], missed, n) }));
        done = true;
      } catch (error) {
        expect((error as Error).message).toBe("power cut");
        cuts += 1;
      }
    }
    expect(cuts).toBeGreaterThan(0);
    const state = await finalState(dir);
    expect(state).toEqual(await finalState(undisturbed));
    expect(state.outcome.audit).toMatchObject({ margin: "rigorous", missed: 6 });
  });

  it("remembers them when the guard goes back", async () => {
    const dir = join(root, "rollback");
    const runaway = { scale: 5, maxSelectionShare: 1, maxThresholdRise: Number.POSITIVE_INFINITY };
    const config = { ...CONFIG, screening: SCREENING, resampling: runaway };
    const createEngine = watched([], (step) => (step === 13 ? 9 : 0));
    const outcome = await train(tinyRun(dir, { config, createEngine }));
    expect(outcome.incidents.map(({ kind, step }) => `${kind} ${step}`)).toEqual([
      "screening-missed 13",
      "guard-rollback 16",
    ]);
    expect(outcome.audit).toMatchObject({ margin: "rigorous", missed: 9 });
  });
});

it("another margin is another run, and one without an audit is refused", async () => {
  const dir = join(root, "other");
  await train(tinyRun(dir));
  await expect(train(statistical(dir))).rejects.toThrow(/config\.screening absent → /);
  for (const [key, value] of [
    ["auditEverySteps", 0],
    ["auditTokens", 0.5],
    ["sigmas", Number.NaN],
    ["maxMissedShare", -1],
  ] as const) {
    const config = { ...CONFIG, screening: { ...SCREENING, [key]: value } };
    await expect(train(tinyRun(join(root, "bad"), { config }))).rejects.toThrow(
      `screening.${key} is ${value}`,
    );
  }
});
