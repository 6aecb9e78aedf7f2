import { describe, expect, it } from "vitest";
import { D_IN, D_SAE, memoryStore, sparseRows, startWeights } from "../../test/train/fixtures.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { readHeldOut } from "./held-out.ts";

describe("readHeldOut", () => {
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
    const reading = await readHeldOut(engine, memoryStore(x), { selection, tokens: 50, chunkRows: 16 });
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
    expect(reading.mse).toBeCloseTo(error / 50, 10);
    expect(reading.l0).toBe(3);
  });

  it("looks at no more rows than it is told", async () => {
    const engine = await engineOf();
    const selection = { kind: "batch-topk", k: 3 } as const;
    const x = sparseRows(50, 4);
    const some = await readHeldOut(engine, memoryStore(x), { selection, tokens: 32, chunkRows: 16 });
    const only = await readHeldOut(engine, memoryStore(x.slice(0, 32 * D_IN)), {
      selection,
      tokens: 1000,
      chunkRows: 16,
    });
    expect(some).toEqual(only);
  });

  it("refuses rows that do not vary", async () => {
    const rows = memoryStore(new Float32Array(8 * D_IN).fill(1));
    const options = { selection: { kind: "topk", k: 1 } as const, tokens: 8, chunkRows: 4 };
    await expect(readHeldOut(await engineOf(), rows, options)).rejects.toThrow(/do not vary/);
  });
});
