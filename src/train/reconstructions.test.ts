/** Parts together are the whole. */
import { expect, it } from "vitest";
import { sparseRows, startWeights } from "../../test/train/fixtures.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { visitReconstructions } from "./reconstructions.ts";

it("visits, part by part, what decoding everything at once gives", async () => {
  const weights = startWeights();
  const { dIn, dSae } = weights;
  const rules = { applyBDecToInput: true, rescaleActsByDecoderNorm: true, training: false };
  const engine = await createReferenceEngine({ dIn, dSae, widths: [dSae], ...rules }, weights);
  const acts = await engine.encode(sparseRows(1100, 4), { kind: "batch-topk", k: 3 });
  const whole = await engine.decode(acts);
  const together = new Float32Array(whole.length).fill(Number.NaN);
  const starts: number[] = [];
  await visitReconstructions(engine, acts, (recon, first) => {
    starts.push(first);
    together.set(recon, first * dIn);
  });
  expect(together).toEqual(whole);
  expect(starts).toEqual([0, 512, 1024]);
});
