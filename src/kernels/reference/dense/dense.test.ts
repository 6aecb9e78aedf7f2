/** Standard, gated and jumprelu beyond the golden cases: gradients against differences of the plain loss, and refusals. */
import { describe, expect, it } from "vitest";
import { EngineError, ShapeError } from "../../../errors.ts";
import { Philox } from "../../../random/philox.ts";
import type {
  DenseArchitecture,
  Engine,
  EngineConfig,
  Parameter,
  TrainStepOptions,
  Weights,
} from "../../kernels.ts";
import { parametersOf } from "../../parameters.ts";
import { createReferenceEngine } from "../engine.ts";

const [dIn, dSae, B] = [5, 9, 7];
const L1 = 0.3;

function normals(n: number, name: string, scale = 1): Float32Array {
  const random = new Philox(3, name);
  return Float32Array.from({ length: n }, (_, i) => scale * random.normal(i));
}

function configOf(architecture: DenseArchitecture, applyBDecToInput = true): EngineConfig {
  const widths = [dSae];
  return {
    dIn,
    dSae,
    widths,
    applyBDecToInput,
    rescaleActsByDecoderNorm: false,
    architecture,
    training: true,
  };
}

function weightsOf(architecture: DenseArchitecture): Weights {
  const own = parametersOf(architecture).slice(4);
  return {
    dIn,
    dSae,
    wEnc: normals(dSae * dIn, "wEnc", 0.5),
    wDec: normals(dSae * dIn, "wDec", 0.4),
    bEnc: normals(dSae, "bEnc", 0.3),
    bDec: normals(dIn, "bDec", 0.2),
    ...(own.length > 0 && { extra: Object.fromEntries(own.map((name) => [name, normals(dSae, name, 0.5)])) }),
  };
}

/** Adam stands still (learning rate 0) and remembers the gradient itself (β₁ = 0) in m. */
const STILL: TrainStepOptions = {
  selection: { kind: "own" },
  learningRate: 0,
  adamStep: 1,
  beta1: 0,
  beta2: 0.999,
  epsilon: 1e-8,
  clipNorm: null,
  sparsity: L1,
  aux: null,
};

const x = normals(B * dIn, "x");

/** The loss, from its definition; θ is not learnt here: the true derivative by it is not what estimators give. */
function plainLoss(architecture: DenseArchitecture, w: Weights, applyBDec: boolean): number {
  let loss = 0;
  for (let b = 0; b < B; b++) {
    const recon = Array.from(w.bDec);
    const second = Array.from(w.bDec);
    let sparsity = 0;
    for (let i = 0; i < dSae; i++) {
      const row = w.wDec.subarray(i * dIn, (i + 1) * dIn);
      const n = Math.hypot(...row);
      let u = 0;
      for (let j = 0; j < dIn; j++) u += w.wEnc[i * dIn + j] * (x[b * dIn + j] - (applyBDec ? w.bDec[j] : 0));
      let a = Math.max(u + w.bEnc[i], 0);
      let gate = 0;
      if (architecture.kind === "standard") sparsity += (a * n) ** architecture.lpNorm;
      if (architecture.kind === "gated") {
        gate = Math.max(u + w.extra!.bGate![i], 0);
        a = gate > 0 ? Math.max(u * Math.exp(w.extra!.rMag![i]) + w.bEnc[i], 0) : 0;
        sparsity += gate * n;
      }
      if (architecture.kind === "jumprelu" && architecture.sparsity.loss === "tanh") {
        if (a <= Math.exp(w.extra!.logThreshold![i])) a = 0;
        sparsity += Math.tanh(architecture.sparsity.scale * a * n);
      }
      for (let j = 0; j < dIn; j++) {
        recon[j] += a * row[j];
        second[j] += gate * row[j];
      }
    }
    if (architecture.kind === "standard") sparsity **= 1 / architecture.lpNorm;
    loss += L1 * sparsity;
    for (let j = 0; j < dIn; j++) {
      loss += (recon[j] - x[b * dIn + j]) ** 2;
      if (architecture.kind === "gated") loss += (second[j] - x[b * dIn + j]) ** 2;
    }
  }
  return loss / B;
}

function tensor(w: Weights, name: Parameter): Float32Array {
  if (name === "bGate" || name === "rMag" || name === "logThreshold") return w.extra![name]!;
  return w[name];
}

async function gradient(engine: Engine, name: Parameter): Promise<Float32Array> {
  return engine.read(`m.${name}`, 0, name === "bDec" ? dIn : dSae);
}

describe("losses and gradients are those of the plain equations", () => {
  const kinds: DenseArchitecture[] = [
    { kind: "standard", lpNorm: 1 },
    { kind: "standard", lpNorm: 2 },
    { kind: "gated" },
    { kind: "jumprelu", bandwidth: 0.1, sparsity: { loss: "tanh", scale: 2 } },
  ];
  for (const architecture of kinds)
    for (const applyBDec of [true, false])
      it(`${JSON.stringify(architecture)}, bDec ${applyBDec ? "" : "not "}subtracted`, async () => {
        const weights = weightsOf(architecture);
        const engine = await createReferenceEngine(configOf(architecture, applyBDec), weights);
        const result = await engine.trainStep(x, STILL);
        expect(result.loss).toBeCloseTo(plainLoss(architecture, weights, applyBDec), 5);
        expect(result.loss).toBeCloseTo(result.mse + result.aux + (result.sparsity ?? Number.NaN), 12);
        let nNonZero = 0;
        for (const name of parametersOf(architecture)) {
          if (name === "logThreshold") continue;
          const got = await gradient(engine, name);
          const [values, step] = [tensor(weights, name), 2 ** -10];
          for (let j = 0; j < values.length; j++) {
            const kept = values[j];
            const [above, below] = [Math.fround(kept + step), Math.fround(kept - step)];
            values[j] = above;
            const more = plainLoss(architecture, weights, applyBDec);
            values[j] = below;
            const less = plainLoss(architecture, weights, applyBDec);
            values[j] = kept;
            const wanted = (more - less) / (above - below);
            expect(
              Math.abs(got[j] - wanted),
              `${name}[${j}]: ${got[j]}, by differences ${wanted}`,
            ).toBeLessThan(2e-3 * Math.max(1, Math.abs(wanted)));
            if (got[j] !== 0) nNonZero += 1;
          }
        }
        expect(nNonZero).toBeGreaterThan(dSae * dIn);
        await engine.dispose();
      });
});

describe("what cannot be is refused", () => {
  const standard: DenseArchitecture = { kind: "standard", lpNorm: 1 };
  const jumprelu: DenseArchitecture = { kind: "jumprelu", bandwidth: 0.1, sparsity: { loss: "step" } };

  it("matryoshka widths, rescaling, and numbers without a meaning", async () => {
    const make = (changes: Partial<EngineConfig>) =>
      createReferenceEngine({ ...configOf(standard), ...changes }, null);
    await expect(make({ widths: [3, dSae] })).rejects.toThrow(ShapeError);
    await expect(make({ rescaleActsByDecoderNorm: true })).rejects.toThrow(EngineError);
    await expect(make({ architecture: { kind: "standard", lpNorm: 0.5 } })).rejects.toThrow(/lpNorm/);
    await expect(make({ architecture: { ...jumprelu, bandwidth: 0 } })).rejects.toThrow(/bandwidth/);
  });

  it("weights of another architecture", async () => {
    await expect(createReferenceEngine(configOf(jumprelu), weightsOf(standard))).rejects.toThrow(
      /logThreshold/,
    );
    await expect(createReferenceEngine(configOf(standard), weightsOf(jumprelu))).rejects.toThrow(
      /logThreshold/,
    );
  });

  it("selections, coefficients and tensors that belong to others", async () => {
    const engine = await createReferenceEngine(configOf(standard), weightsOf(standard));
    const aux = { coefficient: 1, dead: new Uint8Array(dSae) };
    await expect(engine.encode(x, { kind: "topk", k: 2 })).rejects.toThrow(/not selected by topk/);
    await expect(engine.trainStep(x, { ...STILL, sparsity: undefined })).rejects.toThrow(/coefficient/);
    await expect(engine.trainStep(x, { ...STILL, aux })).rejects.toThrow(/no auxiliary loss/);
    await expect(engine.read("bGate", 0, 1)).rejects.toThrow(/no tensor called bGate/);
    const { architecture: _, ...plain } = configOf(standard);
    const topk = await createReferenceEngine(plain, weightsOf(standard));
    await expect(topk.encode(x, { kind: "own" })).rejects.toThrow(/no rule of their own/);
    const selection = { kind: "topk", k: 2 } as const;
    await expect(topk.trainStep(x, { ...STILL, selection })).rejects.toThrow(/no sparsity loss/);
  });
});

it("a loss that is not finite changes nothing", async () => {
  const architecture: DenseArchitecture = { kind: "jumprelu", bandwidth: 0.1, sparsity: { loss: "step" } };
  const weights = weightsOf(architecture);
  const engine = await createReferenceEngine(configOf(architecture), weights);
  const bad = x.slice().fill(Number.NaN, 0, 1);
  expect((await engine.trainStep(bad, { ...STILL, learningRate: 1 })).loss).toBeNaN();
  for (const name of parametersOf(architecture)) {
    expect(await engine.read(name, 0, name === "bDec" ? dIn : dSae)).toEqual(tensor(weights, name));
    expect((await gradient(engine, name)).every((m) => m === 0)).toBe(true);
  }
});
