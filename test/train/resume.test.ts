/** Interrupted runs come to the same bits and the same log lines as undisturbed ones. */
import { spawn } from "node:child_process";
import { appendFile, mkdtemp, open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine, EngineFactory } from "../../src/kernels/kernels.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { Philox } from "../../src/random/philox.ts";
import type { TrainOptions } from "../../src/train/options.ts";
import { train } from "../../src/train/trainer.ts";
import { finalState } from "./final-state.ts";
import { CONFIG, FORM, memoryStore, sparseRows, startWeights, tinyRun } from "./fixtures.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lapidary-resume-"));
});
afterAll(() => rm(root, { recursive: true }));

/** An engine whose n-th call fails, whichever it is: a power cut seen from inside. */
function failingAt(n: number): EngineFactory {
  return async (config, weights) => {
    const engine = await createReferenceEngine(config, weights);
    let calls = 0;
    return new Proxy(engine, {
      get(target, key) {
        const value = Reflect.get(target, key, target) as unknown;
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          calls += 1;
          if (calls === n && key !== "dispose") throw new Error("power cut");
          return (value as (...args: unknown[]) => unknown).apply(target, args);
        };
      },
    }) as Engine;
  };
}

/**
 * Runs to the end through power cuts at seeded random engine calls, the first of them early. Returns how many there were.
 * A step is a few calls, a checkpoint or a resampling many more: the range lets each of them get through now and then.
 */
async function trainThroughPowerCuts(options: TrainOptions, seed: number): Promise<number> {
  const random = new Philox(seed, "test/power-cuts");
  for (let cut = 0; ; cut++) {
    const n = 20 + Math.floor(random.uniform(cut) * (cut === 0 ? 60 : 420));
    try {
      await train({ ...options, createEngine: failingAt(n) });
      return cut;
    } catch (error) {
      expect((error as Error).message).toBe("power cut");
      if (cut > 200) throw new Error("no progress between power cuts", { cause: error });
    }
  }
}

const runaway = { scale: 5, maxSelectionShare: 1, maxThresholdRise: 1e9 };
const WATCH = {
  everySteps: 3,
  tokens: 100,
  divergenceChecks: 2,
  maxGradNormRise: 2,
  plateauChecks: 3,
  plateauImprovement: 0.02,
};
const kinds: [name: string, changes: Partial<TrainOptions>][] = [
  ["with resampling", {}],
  ["with a guard that rolls back", { config: { ...CONFIG, resampling: runaway } }],
  [
    "with an auxiliary loss and a given threshold",
    {
      config: { ...CONFIG, resampling: null },
      start: { form: { ...FORM, auxCoefficient: 1 }, weights: async () => startWeights(16), threshold: 0.25 },
    },
  ],
  [
    "with a watch that keeps an early best, and newcomers who are watched",
    {
      config: {
        ...CONFIG,
        guard: null,
        watch: WATCH,
        resampling: { ...runaway, maxNewcomers: 15, watchSteps: 5 },
      },
    },
  ],
  [
    "with newcomers past their cap, and an early stop",
    {
      config: {
        ...CONFIG,
        watch: WATCH,
        earlyStop: { minImprovement: 0.01, checks: 3 },
        resampling: { ...runaway, maxWatchedShare: 0.5 },
      },
    },
  ],
];

describe.each(kinds)("a run %s", (name, changes) => {
  const undisturbed = () => join(root, name, "undisturbed");
  beforeAll(async () => {
    await train(tinyRun(undisturbed(), changes));
  });

  it.each([1, 2, 3])("survives power cuts anywhere (seed %i)", async (seed) => {
    const dir = join(root, name, `cuts-${seed}`);
    const cuts = await trainThroughPowerCuts(tinyRun(dir, changes), seed);
    expect(cuts).toBeGreaterThan(0);
    expect(await finalState(dir)).toEqual(await finalState(undisturbed()));
  });

  it("survives being asked to stop after every few steps", async () => {
    const dir = join(root, name, "aborts");
    const stops = [1, 7, 11, 12, 13, 16, 24, 29, 32];
    for (const stop of stops) {
      const controller = new AbortController();
      const stopped = train(
        tinyRun(dir, {
          ...changes,
          signal: controller.signal,
          onProgress: ({ step }) => step >= stop && controller.abort(new Error(`stop at ${stop}`)),
        }),
      );
      await expect(stopped).rejects.toThrow(`stop at ${stop}`);
    }
    await train(tinyRun(dir, changes));
    expect(await finalState(dir)).toEqual(await finalState(undisturbed()));
  });
});

it("a stop leaves a checkpoint of the very step, so that nothing is done twice", async () => {
  const dir = join(root, "stop");
  const controller = new AbortController();
  const options = tinyRun(dir, {
    signal: controller.signal,
    onProgress: ({ step }) => step === 8 && controller.abort(),
  });
  await expect(train(options)).rejects.toThrow(/abort/i);
  expect(await readdir(dir)).toContain("step-00000008");
});

it("a finished run is not run again: same outcome, nothing opened", async () => {
  const dir = join(root, "finished");
  const first = await train(tinyRun(dir));
  const refuse = () => {
    throw new Error("not needed");
  };
  const store = memoryStore(sparseRows(800, 2));
  const again = await train(
    tinyRun(dir, {
      createEngine: refuse,
      start: { form: FORM, weights: refuse, threshold: "first-batch-cut" },
      store: { ...store, rows: refuse, stream: refuse },
    }),
  );
  expect(again).toEqual(first);
});

it("a damaged newest checkpoint is given up for the one before it, which is told", async () => {
  const dir = join(root, "damaged");
  const controller = new AbortController();
  const stop = tinyRun(dir, {
    signal: controller.signal,
    onProgress: ({ step }) => step === 17 && controller.abort(),
  });
  await expect(train(stop)).rejects.toThrow();
  const handle = await open(join(dir, "step-00000017", "moments.safetensors"), "r+");
  await handle.write(Uint8Array.of(0x55, 0x55), 0, 2, 5000);
  await handle.close();
  await train(tinyRun(dir));
  const undisturbed = join(root, "damaged-undisturbed");
  await train(tinyRun(undisturbed));
  const [got, expected] = [await finalState(dir), await finalState(undisturbed)];
  expect(got.tensors).toEqual(expected.tensors);
  expect(got.metrics).toBe(expected.metrics);
  expect(got.events).toMatch(/"checkpoint-damaged","step":15,"file":"step-00000017\/moments\.safetensors"/);
});

it("lines written after the checkpoint are cut off, torn ones too", async () => {
  const dir = join(root, "torn-lines");
  await expect(train(tinyRun(dir, { createEngine: failingAt(140) }))).rejects.toThrow("power cut");
  await appendFile(join(dir, "metrics.jsonl"), '{"step": 9');
  await appendFile(join(dir, "events.jsonl"), '{"event": "gu');
  await train(tinyRun(dir));
  const undisturbed = join(root, "torn-undisturbed");
  await train(tinyRun(undisturbed));
  expect(await finalState(dir)).toEqual(await finalState(undisturbed));
});

it("survives kill -9", async () => {
  const dir = join(root, "killed");
  const random = new Philox(3, "test/kills");
  const ends: string[] = [];
  for (const [n, step] of [3, 14, 25].entries()) {
    ends.push(await runChild(dir, { step, ms: 12 * random.uniform(n) }));
  }
  expect(ends).toContain("killed");
  expect(await runChild(dir, null)).toBe("finished");
  const undisturbed = join(root, "not-killed");
  await train(tinyRun(undisturbed));
  expect(await finalState(dir)).toEqual(await finalState(undisturbed));
});

/** Trains in a child process and kills it `ms` after it has told `step` (or a later one). */
async function runChild(dir: string, kill: { step: number; ms: number } | null) {
  const script = fileURLToPath(new URL("train-child.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", script, dir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.on("data", (piece: Buffer) => {
    out += piece.toString();
    const step = Number(/(\d+)\s*$/.exec(out)?.[1] ?? 0);
    if (kill !== null && step >= kill.step) setTimeout(() => child.kill("SIGKILL"), kill.ms);
  });
  return new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) =>
      code === 0 || signal === "SIGKILL"
        ? resolve(code === 0 ? "finished" : "killed")
        : reject(new Error(`code ${code}`)),
    );
  });
}
