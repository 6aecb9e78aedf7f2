/** Standard, gated and jumprelu SAEs as SAELens saves them, trained on as what they are: the same function, or a reason why not. */
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { RecipeError } from "../errors.ts";
import type { DenseArchitecture } from "../kernels/kernels.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { loadWeights, weightRows } from "../kernels/weight-rows.ts";
import { Philox } from "../random/philox.ts";
import { openDenseStart } from "./dense-start.ts";
import { openInference } from "./inference.ts";
import { loadSae, openSae } from "./load.ts";

const folder = (name: string) =>
  fileURLToPath(new URL(`../../test/fixtures/golden/inference_saves/${name}/sae`, import.meta.url));

const ARCHITECTURES: Readonly<Record<DenseArchitecture["kind"], DenseArchitecture>> = {
  standard: { kind: "standard", lpNorm: 1 },
  gated: { kind: "gated" },
  jumprelu: { kind: "jumprelu", bandwidth: 0.05, sparsity: { loss: "step" } },
};

describe.each(Object.values(ARCHITECTURES))("a published $kind SAE", (architecture) => {
  it("fires in training as it does in inference", async () => {
    const sae = await loadSae(folder(architecture.kind));
    const { dIn, dSae, applyBDecToInput } = sae.config;
    const rows = await openDenseStart(await openSae(folder(architecture.kind)), { architecture });
    const engine = await createReferenceEngine(
      {
        ...{ dIn, dSae, widths: [dSae], applyBDecToInput, rescaleActsByDecoderNorm: false },
        ...{ architecture, training: true },
      },
      null,
    );
    await loadWeights(engine, rows);
    await rows.close();
    const stream = new Philox(1, "x");
    const x = Float32Array.from({ length: 300 * dIn }, (_, i) => stream.normal(i));
    const inference = await openInference(sae, createReferenceEngine);
    const [got, expected] = [await engine.encode(x, { kind: "own" }), await inference.encode(x)];
    expect(expected.latents.length).toBeGreaterThan(300);
    expect([...got.latents]).toEqual([...expected.latents]);
    for (const [i, value] of expected.values.entries()) expect(got.values[i]).toBeCloseTo(value, 4);
    await engine.dispose();
    await inference.dispose();
  });

  it("is not taken for another", async () => {
    for (const other of Object.values(ARCHITECTURES)) {
      // a gated SAE is run as a jumprelu SAE; whether it can be trained on as one, its thresholds say
      if (other === architecture || architecture.kind === "gated") continue;
      const start = openDenseStart(await openSae(folder(architecture.kind)), { architecture: other });
      await expect(start, other.kind).rejects.toThrow(RecipeError);
      await expect(start).rejects.toThrow(`cannot be trained on as ${other.kind}`);
    }
  });
});

it("gates are as they lie in the file, to the bit", async () => {
  const { gated, ...jumprelu } = await openSae(folder("gated"));
  const { dSae } = jumprelu.config;
  const rows = await openDenseStart({ ...jumprelu, gated }, { architecture: { kind: "gated" } });
  expect(rows.extra).toEqual({ bGate: gated?.bGate, rMag: gated?.rMag });
  expect(await rows.read("wEnc", 0, dSae)).toEqual(await gated?.rows.read("wEnc", 0, dSae));
  expect(await rows.read("wEnc", 0, dSae)).not.toEqual(await jumprelu.rows.read("wEnc", 0, dSae));
  await rows.close();
});

it("a threshold without a logarithm, a topk SAE and a row without direction are refused, or begin anew", async () => {
  const { rows: _, ...sae } = await openSae(folder("jumprelu"));
  const { dIn, dSae } = sae.config;
  const ones = (n: number) => new Float32Array(n).fill(1);
  const weights = {
    dIn,
    dSae,
    wEnc: ones(dSae * dIn),
    wDec: ones(dSae * dIn),
    bEnc: ones(dSae),
    bDec: ones(dIn),
  };
  weights.wDec.fill(0, 2 * dIn, 3 * dIn);
  const threshold = ones(dSae);
  const start = (changes: object, options = {}) =>
    openDenseStart(
      { ...sae, threshold, rows: weightRows(weights), ...changes },
      { architecture: ARCHITECTURES.jumprelu },
      options,
    );
  await expect(start({ threshold: threshold.map((t, i) => (i === 3 ? 0 : t)) })).rejects.toThrow(
    /latent 3 .*threshold 0/,
  );
  await expect(start({ threshold: null })).rejects.toThrow(/no thresholds|cannot be trained on as jumprelu/);
  await expect(start({})).rejects.toThrow(/decoder row of zeros \(the first: 2\)/);
  const rows = await start({}, { zeroDecoderRows: "reinitialise", seed: 4 });
  const norm = (await rows.read("wDec", 2, 3)).reduce((sum, w) => sum + w * w, 0);
  expect(norm).toBeCloseTo(1, 5);
  expect(rows.extra?.logThreshold).toEqual(new Float32Array(dSae));
});
