import { describe, expect, it } from "vitest";
import { D_IN, D_SAE, memoryStore, sparseRows, startWeights } from "../../test/train/fixtures.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { afterGoodCheck, findBreach, firstGuardState, incidentOf, readGuard } from "./guard.ts";

const limits = { everySteps: 1, tokens: 1, maxVeDrop: 0.05, maxThresholdRise: 2 };

describe("readGuard", () => {
  const engineOf = () =>
    createReferenceEngine(
      {
        dIn: D_IN,
        dSae: D_SAE,
        widths: [D_SAE],
        applyBDecToInput: true,
        rescaleActsByDecoderNorm: true,
        training: false,
      },
      startWeights(),
    );

  it("is VE by its definition over all rows together, the last short chunk included", async () => {
    const engine = await engineOf();
    const x = sparseRows(50, 4);
    const selection = { kind: "topk", k: 3 } as const;
    const reading = await readGuard(engine, memoryStore(x), { selection, tokens: 50, chunkRows: 16 });
    const recon = await engine.decode(await engine.encode(x, selection));
    const mean = Array.from({ length: D_IN }, (_, j) => {
      let sum = 0;
      for (let t = 0; t < 50; t++) sum += x[t * D_IN + j];
      return sum / 50;
    });
    let [error, variance] = [0, 0];
    x.forEach((v, at) => {
      error += (v - recon[at]) ** 2;
      variance += (v - mean[at % D_IN]) ** 2;
    });
    expect(reading.ve).toBeCloseTo(1 - error / variance, 10);
  });

  it("looks at no more rows than it is told", async () => {
    const engine = await engineOf();
    const selection = { kind: "batch-topk", k: 3 } as const;
    const x = sparseRows(50, 4);
    const some = await readGuard(engine, memoryStore(x), { selection, tokens: 32, chunkRows: 16 });
    const only = await readGuard(engine, memoryStore(x.slice(0, 32 * D_IN)), {
      selection,
      tokens: 1000,
      chunkRows: 16,
    });
    expect(some).toEqual(only);
  });

  it("refuses rows that do not vary", async () => {
    const rows = memoryStore(new Float32Array(8 * D_IN).fill(1));
    const options = { selection: { kind: "topk", k: 1 } as const, tokens: 8, chunkRows: 4 };
    await expect(readGuard(await engineOf(), rows, options)).rejects.toThrow(/do not vary/);
  });
});

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
