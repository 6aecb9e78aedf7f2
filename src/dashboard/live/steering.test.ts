/** Steering is what the plain equations say, with every normalisation; what changes nothing moves no bit. */
import { describe, expect, it } from "vitest";
import { createReferenceEngine } from "../../kernels/reference/engine.ts";
import { Philox } from "../../random/philox.ts";
import { type InferenceSae, openInference } from "../../sae/inference.ts";
import type { Normalization, Sae } from "../../sae/sae.ts";
import type { Intervention } from "../live.ts";
import { steerRows } from "./steering.ts";

const [dIn, dSae, nRows] = [8, 24, 5];
const random = new Philox(3, "steering test");
const normals = (n: number, from: number) =>
  Float32Array.from({ length: n }, (_, i) => random.normal(from + i));
const stream = normals(nRows * dIn, 10_000);

function saeWith(options: { normalization?: Normalization; rescaled?: boolean }): Sae {
  const rescaled = options.rescaled ?? false;
  return {
    config: {
      architecture: rescaled ? "topk" : "jumprelu",
      dIn,
      dSae,
      dtype: "float32",
      applyBDecToInput: true,
      normalization: options.normalization ?? "none",
      reshape: "none",
      k: rescaled ? 6 : null,
      rescaleActsByDecoderNorm: rescaled,
      hookName: null,
      modelName: null,
      contextSize: null,
      prependBos: null,
      metadata: {},
    },
    weights: {
      dIn,
      dSae,
      wEnc: normals(dSae * dIn, 0),
      wDec: normals(dSae * dIn, 1000),
      bEnc: normals(dSae, 2000),
      bDec: normals(dIn, 3000),
    },
    threshold: rescaled ? null : new Float32Array(dSae).fill(0.3),
    runnerConfig: null,
  };
}

/** Activations [dSae] of a row, and what a unit of each adds to the stream, from the equations alone. */
function plainly({ config, weights, threshold }: Sae, x: number[]) {
  const mean = config.normalization === "layer_norm" ? x.reduce((a, b) => a + b, 0) / dIn : 0;
  const centred = x.map((value) => value - mean);
  const length = Math.hypot(...centred);
  const [factorIn, factorOut] = {
    none: [1, 1],
    expected_average_only_in: [1, 1],
    layer_norm: [1 / (length / Math.sqrt(dIn - 1) + 1e-5), length / Math.sqrt(dIn - 1)],
    constant_norm_rescale: [Math.sqrt(dIn) / length, length / Math.sqrt(dIn)],
  }[config.normalization];
  const input = centred.map((value, j) => value * factorIn - weights.bDec[j]);
  const row = (matrix: Float32Array, i: number) => Array.from(matrix.subarray(i * dIn, (i + 1) * dIn));
  const norm = Array.from({ length: dSae }, (_, i) =>
    config.rescaleActsByDecoderNorm ? Math.hypot(...row(weights.wDec, i)) : 1,
  );
  const p = Array.from(
    { length: dSae },
    (_, i) => norm[i] * (weights.bEnc[i] + row(weights.wEnc, i).reduce((sum, w, j) => sum + w * input[j], 0)),
  );
  const least = [...p].sort((a, b) => b - a)[(config.k ?? dSae) - 1];
  const acts = p.map((value, i) => (value > (threshold?.[i] ?? 0) && value >= least ? value : 0));
  return { acts, unit: (i: number) => row(weights.wDec, i).map((w) => (w / norm[i]) * factorOut) };
}

async function withInference<T>(sae: Sae, use: (inference: InferenceSae) => Promise<T>): Promise<T> {
  const inference = await openInference(sae, createReferenceEngine);
  try {
    return await use(inference);
  } finally {
    await inference.dispose();
  }
}

const edit = (a: number, { kind, value = 0 }: Intervention) =>
  ({ add: a + value, scale: a * value, clamp: value, ablate: 0 })[kind];

describe("steerRows", () => {
  it.each([
    ["none", {}],
    ["layer_norm", { normalization: "layer_norm" }],
    ["constant_norm_rescale", { normalization: "constant_norm_rescale" }],
    ["expected_average_only_in", { normalization: "expected_average_only_in" }],
    ["decoder norms", { rescaled: true }],
  ] as [string, Parameters<typeof saeWith>[0]][])(
    "%s: the twin in double precision, at the chosen rows alone",
    async (_name, options) => {
      const sae = saeWith(options);
      const { acts } = plainly(sae, Array.from(stream.subarray(2 * dIn, 3 * dIn)));
      const [active, other] = acts.flatMap((a, latent) => (a > 0 ? [latent] : []));
      const silent = acts.indexOf(0);
      const interventions: Intervention[] = [
        { latent: active, kind: "scale", value: -2 },
        { latent: active, kind: "add", value: 0.5 },
        { latent: silent, kind: "clamp", value: 3 },
        { latent: other, kind: "ablate" },
      ];
      const steered = stream.slice();
      await withInference(sae, (inference) => steerRows(inference, steered, [0, 2, 3], interventions));
      let furthest = 0;
      for (let t = 0; t < nRows; t++) {
        const x = Array.from(stream.subarray(t * dIn, (t + 1) * dIn));
        const expected = [...x];
        if ([0, 2, 3].includes(t)) {
          const { acts: a, unit } = plainly(sae, x);
          for (const latent of new Set(interventions.map((each) => each.latent))) {
            const now = interventions.filter((each) => each.latent === latent).reduce(edit, a[latent]);
            unit(latent).forEach((w, j) => {
              expected[j] += (now - a[latent]) * w;
            });
          }
          expect(expected).not.toEqual(x);
        }
        expected.forEach((value, j) => {
          furthest = Math.max(furthest, Math.abs(steered[t * dIn + j] - value));
        });
      }
      expect(furthest).toBeLessThan(1e-5);
    },
  );

  it("nothing, a factor of 1 and the ablation of a silent latent move no bit", async () => {
    const sae = saeWith({});
    const { acts } = plainly(sae, Array.from(stream.subarray(0, dIn)));
    await withInference(sae, async (inference) => {
      for (const interventions of [
        [],
        [{ latent: acts.findIndex((a) => a > 0), kind: "scale", value: 1 }],
        [{ latent: acts.indexOf(0), kind: "ablate" }],
      ] as Intervention[][]) {
        const steered = stream.slice();
        await steerRows(inference, steered, [0], interventions);
        expect(steered).toEqual(stream);
      }
    });
  });

  it("a clamp is the addition of the difference", async () => {
    const sae = saeWith({});
    const a = plainly(sae, Array.from(stream.subarray(0, dIn))).acts;
    const latent = a.findIndex((value) => value > 0);
    const [clamped, added] = [stream.slice(), stream.slice()];
    await withInference(sae, async (inference) => {
      await steerRows(inference, clamped, [0], [{ latent, kind: "clamp", value: 4 }]);
      await steerRows(inference, added, [0], [{ latent, kind: "add", value: 4 - a[latent] }]);
    });
    clamped.forEach((value, i) => {
      expect(value).toBeCloseTo(added[i], 5);
    });
    expect(clamped).not.toEqual(stream);
  });

  it("refuses a latent that is not there", async () => {
    const sae = saeWith({});
    await withInference(sae, async (inference) => {
      await expect(
        steerRows(inference, stream.slice(), [0], [{ latent: dSae, kind: "ablate" }]),
      ).rejects.toThrow(/latent to steer: got 24, expected 0 … 23/);
    });
  });
});
