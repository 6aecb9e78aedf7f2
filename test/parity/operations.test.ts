/** The native engine against the reference engine, operation by operation. */
import { describe, expect, it } from "vitest";
import type { Weights } from "../../src/kernels/kernels.ts";
import { createNativeEngine } from "../../src/kernels/native.ts";
import { agreesWithReference } from "./against-reference.ts";
import { addon, normals, relativeError, stepOptions, weightsFor } from "./cases.ts";
import { denseAgreesWithReference } from "./dense-against-reference.ts";

const { present, missing } = addon();

describe.skipIf(!present)(`native against reference${missing}`, () => {
  agreesWithReference(createNativeEngine);
  denseAgreesWithReference(createNativeEngine);

  it("dense gradients of more latents than one slab holds, at a batch this long", async () => {
    const [dIn, dSae, nTokens] = [1, 500, 70_000];
    const architecture = { kind: "standard", lpNorm: 1 } as const;
    const config = { dIn, dSae, widths: [dSae], applyBDecToInput: false, architecture, training: true };
    const weights = weightsFor({ ...config, rescaleActsByDecoderNorm: false });
    const x = normals(nTokens * dIn, "x");
    const engine = await createNativeEngine({ ...config, rescaleActsByDecoderNorm: false }, weights);
    const still = {
      learningRate: 0,
      beta1: 0,
      clipNorm: null,
      selection: { kind: "own" },
      sparsity: 0,
    } as const;
    await engine.trainStep(x, stepOptions(1, 0, still));
    const [dwEnc, dwDec] = reluGradients(weights, x);
    expect(relativeError(await engine.read("m.wDec", 0, dSae), dwDec)).toBeLessThan(1e-5);
    expect(relativeError(await engine.read("m.wEnc", 0, dSae), dwEnc)).toBeLessThan(1e-5);
    await engine.dispose();
  });
});

/** Of (1/B) Σ ‖relu(x·wEncᵀ + bEnc)·wDec + bDec − x‖² over rows of one dimension, in plain loops. */
function reluGradients({ dSae, wEnc, wDec, bEnc, bDec }: Weights, x: Float32Array) {
  const [dwEnc, dwDec] = [new Float64Array(dSae), new Float64Array(dSae)];
  for (let b = 0; b < x.length; b++) {
    let recon = bDec[0];
    for (let i = 0; i < dSae; i++) recon += Math.max(x[b] * wEnc[i] + bEnc[i], 0) * wDec[i];
    const signal = (2 / x.length) * (recon - x[b]);
    for (let i = 0; i < dSae; i++) {
      const a = Math.max(x[b] * wEnc[i] + bEnc[i], 0);
      dwDec[i] += signal * a;
      if (a > 0) dwEnc[i] += signal * wDec[i] * x[b];
    }
  }
  return [Float32Array.from(dwEnc), Float32Array.from(dwDec)];
}
