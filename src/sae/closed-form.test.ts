/** Mapping inputs and restoring outputs is what the folded weights do, for every form of SAE; a recentred mean is where it should be. */
import { describe, expect, it } from "vitest";
import { UnsupportedError } from "../errors.ts";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { Philox } from "../random/philox.ts";
import {
  foldInputMap,
  type InputMap,
  mapInputs,
  recentring,
  rescaling,
  restoreOutputs,
} from "./closed-form.ts";
import { plainConfig } from "./dialects/config.ts";
import { openInference } from "./inference.ts";
import type { Sae, SaeConfig } from "./sae.ts";

const D_IN = 6;
const D_SAE = 24;
const N = 50;

function randomSae(changes: Partial<SaeConfig>): Sae {
  const numbers = (n: number, purpose: string, scale = 1) => {
    const noise = new Philox(3, purpose);
    return Float32Array.from({ length: n }, (_, i) => scale * noise.normal(i));
  };
  return {
    config: plainConfig({
      architecture: "jumprelu",
      dIn: D_IN,
      dSae: D_SAE,
      dtype: "float32",
      applyBDecToInput: true,
      ...changes,
    }),
    weights: {
      dIn: D_IN,
      dSae: D_SAE,
      wEnc: numbers(D_SAE * D_IN, "wEnc"),
      wDec: numbers(D_SAE * D_IN, "wDec", 0.3),
      bEnc: numbers(D_SAE, "bEnc", 0.1),
      bDec: numbers(D_IN, "bDec", 2),
    },
    threshold: changes.architecture === undefined ? new Float32Array(D_SAE).fill(0.7) : null,
    runnerConfig: null,
  };
}

const noise = new Philox(5, "x");
const x = Float32Array.from({ length: N * D_IN }, (_, i) => 3 * noise.normal(i) + (i % D_IN));
const mean = Float64Array.from({ length: D_IN }, (_, j) => {
  let sum = 0;
  for (let t = 0; t < N; t++) sum += x[t * D_IN + j];
  return sum / N;
});
const expected = Float64Array.from(mean, (value, j) => value + (j === 2 ? 4 : -0.5));
const meanOf = (rows: Float32Array, j: number) =>
  rows.reduce((sum, value, i) => sum + (i % D_IN === j ? value : 0), 0) / N;

describe("an input map", () => {
  it("re-centred rows have the expected mean; rescaled ones keep theirs, at another distance from it", () => {
    const centred = mapInputs(x, recentring(mean, expected));
    const scaled = mapInputs(x, rescaling(mean, 2));
    for (let j = 0; j < D_IN; j++) {
      expect(meanOf(centred, j)).toBeCloseTo(expected[j], 5);
      expect(meanOf(scaled, j)).toBeCloseTo(mean[j], 5);
    }
    for (let i = 0; i < x.length; i++)
      expect(scaled[i] - mean[i % D_IN]).toBeCloseTo(2 * (x[i] - mean[i % D_IN]), 4);
  });

  it("is undone by restoring: the identity between them leaves rows as they were", () => {
    const map: InputMap = { from: mean, to: expected, scale: 1.7 };
    const there = mapInputs(x, map);
    restoreOutputs(there, map);
    there.forEach((value, i) => {
      expect(value).toBeCloseTo(x[i], 4);
    });
  });

  it.each([
    ["jumprelu that takes bDec off its input", {}],
    ["jumprelu that does not", { applyBDecToInput: false }],
    ["standard", { architecture: "standard" }],
    ["topk with decoder norms", { architecture: "topk", k: 4, rescaleActsByDecoderNorm: true }],
  ] as const)("folded into the weights of a %s reconstructs and selects the same", async (_, changes) => {
    const sae = randomSae(changes);
    const map: InputMap = { from: mean, to: expected, scale: 0.6 };
    const own = await openInference(sae, createReferenceEngine);
    const folded = await openInference(foldInputMap(sae, map), createReferenceEngine);
    const mapped = await own.reconstruct(mapInputs(x, map));
    restoreOutputs(mapped.recon, map);
    const direct = await folded.reconstruct(x);
    expect(direct.acts.latents).toEqual(mapped.acts.latents);
    expect(direct.acts.latents.length).toBeGreaterThan(N);
    direct.recon.forEach((value, i) => {
      expect(Math.abs(value - mapped.recon[i])).toBeLessThan(2e-5 * Math.max(1, Math.abs(value)));
    });
    await own.dispose();
    await folded.dispose();
  });

  it("is refused where no weights do the same, or where means have another width", () => {
    const map = recentring(mean, expected);
    expect(() => foldInputMap(randomSae({ normalization: "layer_norm" }), map)).toThrow(UnsupportedError);
    const transcoder = randomSae({ output: { dOut: D_IN } as SaeConfig["output"] });
    expect(() => foldInputMap(transcoder, map)).toThrow(/transcoder/);
    expect(() => mapInputs(x.subarray(1), map)).toThrow(/multiple of dIn 6/);
    expect(() => foldInputMap(randomSae({}), recentring(mean.slice(1), expected))).toThrow(/means/);
  });
});
