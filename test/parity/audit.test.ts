/** The native engine's audit: nothing is missed with a rigorous margin, much with hardly any, and the step is the same. */
import { describe, expect, it } from "vitest";
import type { Screening, TrainStepOptions } from "../../src/kernels/kernels.ts";
import { createNativeEngine } from "../../src/kernels/native.ts";
import { addon, cases, hashOf, normals, stepOptions, weightsFor } from "./cases.ts";

const { present, missing } = addon();

describe.skipIf(!present)(`audit of the native engine${missing}`, () => {
  const { config, k } = cases[2];
  const x = normals(256 * config.dIn, "audit"); // enough tokens and latents for a screen
  const tokens = Uint32Array.from({ length: 40 }, (_, i) => 5 * i + 3);
  const all = Uint32Array.from({ length: 256 }, (_, i) => i);

  /** Two steps, the second audited: by then there is a cut to look below. One thread: misses may depend on who is first. */
  async function secondStep(
    screening: Screening,
    selection: TrainStepOptions["selection"],
    audited: Uint32Array | null,
  ) {
    const engine = await createNativeEngine({ ...config, screening, threads: 1 }, weightsFor(config));
    await engine.trainStep(x, stepOptions(k, 0, { selection }));
    const options = stepOptions(k, 1, { selection, ...(audited && { audit: { tokens: audited } }) });
    const { audit, ...result } = await engine.trainStep(x, options);
    const hash = await hashOf(engine);
    await engine.dispose();
    return { audit, result, hash };
  }

  it.each([
    ["batch-topk", { kind: "batch-topk", k } as const],
    ["topk", { kind: "topk", k: 8 } as const],
  ])("rigorous and dense, %s: as many entries as encoding gives, none missed", async (_, selection) => {
    const engine = await createNativeEngine(config, weightsFor(config));
    await engine.trainStep(x, stepOptions(k, 0, { selection }));
    const acts = await engine.encode(x, selection);
    await engine.dispose();
    const entries = tokens.reduce((sum, t) => sum + acts.offsets[t + 1] - acts.offsets[t], 0);
    expect(entries).toBeGreaterThan(0);
    for (const screening of [{ margin: "rigorous" }, { margin: "none" }] as const)
      expect((await secondStep(screening, selection, tokens)).audit).toEqual({ entries, missed: 0 });
  });

  it("counts what a margin of next to nothing misses, and changes nothing in the step", async () => {
    const thin = { margin: "statistical", sigmas: 1e-3 } as const;
    const { selection } = stepOptions(k, 0);
    const [watched, alone] = [
      await secondStep(thin, selection, all),
      await secondStep(thin, selection, null),
    ];
    expect(watched.audit?.missed).toBeGreaterThan(0);
    expect(alone.audit).toBeNull();
    expect(watched.result).toEqual(alone.result);
    expect(watched.hash).toBe(alone.hash);
  });

  it("screens as it was last told", async () => {
    const engine = await createNativeEngine(config, weightsFor(config));
    await engine.trainStep(x, stepOptions(k, 0));
    const missed = async (screening: Screening, step: number) => {
      await engine.setScreening(screening);
      return (await engine.trainStep(x, stepOptions(k, step, { audit: { tokens: all } }))).audit?.missed;
    };
    expect(await missed({ margin: "statistical", sigmas: 1e-3 }, 1)).toBeGreaterThan(0);
    expect(await missed({ margin: "rigorous" }, 2)).toBe(0);
    await engine.dispose();
  });
});
