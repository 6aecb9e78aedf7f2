/** Geometry of an SAE against plain fp64 loops, and where it has none: rows of zeros, no thresholds. */
import { describe, expect, it } from "vitest";
import { createReferenceEngine } from "../../kernels/reference/engine.ts";
import { Philox } from "../../random/philox.ts";
import { plainConfig } from "../../sae/dialects/config.ts";
import type { Sae } from "../../sae/sae.ts";
import { quantile } from "../quantile.ts";
import { cosineSummary } from "./cosines.ts";
import { measureGeometry, thresholdSpread } from "./geometry.ts";

const options = { createEngine: createReferenceEngine };
const dIn = 12;
const dSae = 80;

function someSae(threshold: Float32Array | null): Sae {
  const stream = new Philox(11, "geometry");
  const wDec = Float32Array.from({ length: dSae * dIn }, (_, i) => stream.normal(i));
  const wEnc = wDec.map((value, i) => 2 * value + stream.normal(dSae * dIn + i));
  return {
    config: plainConfig({
      architecture: threshold === null ? "standard" : "jumprelu",
      dIn,
      dSae,
      dtype: "float32",
      applyBDecToInput: true,
    }),
    weights: { dIn, dSae, wEnc, wDec, bEnc: new Float32Array(dSae), bDec: new Float32Array(dIn) },
    threshold,
    runnerConfig: null,
  };
}

const row = (rows: Float32Array, i: number) => Array.from(rows.subarray(i * dIn, (i + 1) * dIn));
const dot = (a: number[], b: number[]) => a.reduce((sum, v, j) => sum + v * b[j], 0);
const cosine = (a: number[], b: number[]) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

describe("geometry of an SAE", () => {
  it("encoder–decoder cosines and nearest decoder rows are those of all pairs", async () => {
    const sae = someSae(null);
    const { wEnc, wDec } = sae.weights;
    const measured = await measureGeometry(sae, options);
    const own = Array.from({ length: dSae }, (_, i) => cosine(row(wEnc, i), row(wDec, i)));
    const nearest = own.map((_, i) =>
      Math.max(...own.flatMap((_, j) => (i === j ? [] : [cosine(row(wDec, i), row(wDec, j))]))),
    );
    for (let i = 0; i < dSae; i++) {
      expect(measured.encoderDecoderCosine[i]).toBeCloseTo(own[i], 12);
      expect(measured.nearestDecoderCosine[i]).toBeCloseTo(nearest[i], 12);
      expect(cosine(row(wDec, i), row(wDec, measured.nearestDecoderIndex[i]))).toBeCloseTo(nearest[i], 12);
    }
    const { encoderDecoder, nearestDecoder } = measured.result;
    expect(encoderDecoder.mean).toBeCloseTo(own.reduce((a, b) => a + b, 0) / dSae, 12);
    expect(nearestDecoder.max).toBeCloseTo(Math.max(...nearest), 12);
    expect(nearestDecoder.nAbove09).toBe(nearest.filter((c) => c > 0.9).length);
    expect(nearestDecoder.nTwins).toBe(0);
    expect(measured.result.sae.dSae).toBe(dSae);
    expect(JSON.parse(JSON.stringify(measured.result))).toEqual(measured.result);
  });

  it("counts twins, also of another length, and leaves rows of zeros out", async () => {
    const sae = someSae(null);
    const { wDec } = sae.weights;
    for (let j = 0; j < dIn; j++) {
      wDec[5 * dIn + j] = 3 * wDec[4 * dIn + j];
      wDec[7 * dIn + j] = wDec[6 * dIn + j];
    }
    wDec.fill(0, 0, dIn);
    const { result, nearestDecoderIndex } = await measureGeometry(sae, options);
    expect([4, 5, 6, 7, 0].map((i) => nearestDecoderIndex[i])).toEqual([5, 4, 7, 6, -1]);
    expect(result.nearestDecoder).toMatchObject({ nTwins: 4, n: dSae - 1, nUndefined: 1 });
    expect(result.nearestDecoder.nAbove09).toBeGreaterThanOrEqual(4);
    expect(result.encoderDecoder).toMatchObject({ n: dSae - 1, nUndefined: 1 });
  });

  it("states the spread of thresholds, and that a single threshold has none", async () => {
    const spreadOut = thresholdSpread({ threshold: Float32Array.from({ length: 101 }, (_, i) => 100 - i) })!;
    expect(spreadOut.mean).toBe(50);
    expect(spreadOut.quantiles.map(({ percentile, value }) => [percentile, value])).toEqual(
      [0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100].map((p) => [p, p]),
    );
    expect(spreadOut.relativeSpread).toBe(2);
    expect(spreadOut.nApart).toBe(100);
    expect(thresholdSpread({ threshold: new Float32Array(5).fill(1.64) })).toMatchObject({
      relativeSpread: 0,
      nApart: 0,
    });
    expect(thresholdSpread({ threshold: new Float32Array(5) })!.relativeSpread).toBeNull();
    expect((await measureGeometry(someSae(null), options)).result.thresholds).toBeNull();
  });
});

describe("cosines in few numbers", () => {
  it("each lies in its bin: the ends, the borders, the undefined", () => {
    const { histogram, ...rest } = cosineSummary(
      [-1, -0.95, 0, 0.049, 0.05, 0.999, 1, Number.NaN],
      "made up",
    );
    const filled = histogram.counts.flatMap((n, bin) => (n > 0 ? [[bin, n]] : []));
    expect(filled).toEqual([
      [0, 1],
      [1, 1],
      [20, 2],
      [21, 1],
      [39, 2],
    ]);
    expect(rest).toMatchObject({ n: 7, nUndefined: 1, min: -1, max: 1, median: 0.049 });
  });

  it("of none there is no mean", () => {
    expect(cosineSummary([Number.NaN], "made up")).toMatchObject({
      n: 0,
      nUndefined: 1,
      mean: null,
      max: null,
    });
  });

  it("a quantile between two numbers lies between them", () => {
    expect([0, 0.25, 0.5, 1].map((q) => quantile(Float64Array.of(1, 2, 4), q))).toEqual([1, 1.5, 2, 4]);
  });
});
