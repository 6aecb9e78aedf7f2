/** The embedded models, against what Hugging Face transformers computed. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { valueField } from "../../src/models/onnx-write.ts";
import { openResidualModel } from "../../src/models/open-model.ts";
import { bytesField, concatBytes } from "../../src/models/protobuf.ts";
import { readReference, windowOf } from "./reference.ts";
import { realPositions, relativeL2, runGraphs } from "./running.ts";

const LAYERS = [2, 4, 6];
const D_IN = 256;

describe.each(["base", "it"] as const)("tiny-gemma %s", (name) => {
  it("agrees with the reference to 1e-5 at every kept position, three layers in one pass", async () => {
    const { batch, residuals } = await readReference(name);
    const model = await openResidualModel(`assets/tiny-gemma/${name}`, { layers: LAYERS, threads: 2 });
    const got = await model.run(batch);
    const again = await model.run(batch);
    await model.close();
    expect(again, "the same batch gives the same bits").toEqual(got);
    LAYERS.forEach((layer, i) => {
      const worst = Math.max(...realPositions(batch).map((at) => rowError(got[i], residuals[layer], at)));
      expect(worst).toBeLessThan(1e-5);
    });
    expect(model.info).toMatchObject({
      modelType: "gemma4_text",
      dIn: 256,
      nLayers: 8,
      vocabSize: 4096,
      contextSize: 1024,
      dynamicQuantization: false,
      device: "cpu",
      threads: 2,
    });
    expect(model.info.files).toEqual([
      { name: "model.onnx", bytes: 16710886, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ]);
  });
});

it("one layer alone is what it is among several", async () => {
  const { batch } = await readReference("it");
  const all = await openResidualModel("assets/tiny-gemma/it", { layers: LAYERS, threads: 2 });
  const together = await all.run(batch);
  await all.close();
  for (const [i, layer] of LAYERS.entries()) {
    const one = await openResidualModel("assets/tiny-gemma/it", { layers: [layer], threads: 2 });
    expect((await one.run(batch))[0]).toEqual(together[i]);
    await one.close();
  }
});

describe("tiny-gemma it-int8, quantised dynamically", () => {
  it("is within 4 % of the full-precision reference, and bit-equal to the uncut graph on the same batch", async () => {
    const { batch, residuals } = await readReference("it");
    const model = await openResidualModel("assets/tiny-gemma/it-int8", { layers: LAYERS, threads: 2 });
    expect(model.info.dynamicQuantization).toBe(true);
    const names = LAYERS.map((layer) => `/model/layers.${layer}/Mul_1_output_0`);
    const folder = resolve("assets/tiny-gemma/it-int8");
    const bytes = await readFile(`${folder}/model_quantized.onnx`);
    const uncut = concatBytes([
      bytes,
      bytesField(
        7,
        names.map((name) => valueField(12, name)),
      ),
    ]);
    const [error, norm] = [LAYERS.map(() => 0), LAYERS.map(() => 0)];
    for (let w = 0; w < batch.nWindows; w++) {
      const window = windowOf(batch, w);
      const got = await model.run(window);
      const expected = await runGraphs([{ bytes: uncut, folder }], window, names);
      LAYERS.forEach((layer, i) => {
        expect(got[i], `window ${w}, layer ${layer}`).toEqual(expected[i]);
        const start = w * batch.seqLen * D_IN;
        const reference = residuals[layer].subarray(start, start + window.seqLen * D_IN);
        norm[i] += reference.reduce((sum, x) => sum + x * x, 0);
        error[i] +=
          relativeL2(got[i], reference, window, D_IN) ** 2 * reference.reduce((sum, x) => sum + x * x, 0);
      });
    }
    await model.close();
    LAYERS.forEach((_, i) => {
      expect(Math.sqrt(error[i] / norm[i])).toBeLessThan(0.04);
      expect(Math.sqrt(error[i] / norm[i]), "it is the quantised model that was run").toBeGreaterThan(1e-3);
    });
  });

  it("refuses batches in which windows would disturb each other", async () => {
    const { batch } = await readReference("it");
    const model = await openResidualModel("assets/tiny-gemma/it-int8", { layers: [2], threads: 1 });
    await expect(model.run(batch)).rejects.toThrow(/quantises activations dynamically.*got 6 windows/);
    const padded = { ...windowOf(batch, 3), lengths: Uint32Array.of(10) };
    await expect(model.run(padded)).rejects.toThrow(/1 windows of 34 tokens, the first with 10/);
    await model.close();
  });
});

function rowError(got: Float32Array, expected: Float32Array, row: number): number {
  let error = 0;
  let norm = 0;
  for (let i = row * D_IN; i < (row + 1) * D_IN; i++) {
    error += (got[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return Math.sqrt(error / norm);
}
