/** The reference engine against dense, naive arithmetic and finite differences, and the promises of the interface. */
import { describe, expect, it } from "vitest";
import { Philox } from "../../random/philox.ts";
import type { EngineConfig, Screening, SizeSelection, TrainStepOptions, Weights } from "../kernels.ts";
import { createReferenceEngine } from "./engine.ts";

const dIn = 7;
const dSae = 30;

function normals(n: number, purpose: string, scale = 1): Float32Array {
  const stream = new Philox(5, purpose);
  return Float32Array.from({ length: n }, (_, i) => stream.normal(i) * scale);
}

function someWeights(): Weights {
  return {
    dIn,
    dSae,
    wEnc: normals(dSae * dIn, "wEnc", 0.5),
    wDec: normals(dSae * dIn, "wDec", 0.5),
    bEnc: normals(dSae, "bEnc", 0.1),
    bDec: normals(dIn, "bDec", 0.1),
  };
}

const config: EngineConfig = {
  dIn,
  dSae,
  widths: [4, 11, dSae],
  applyBDecToInput: true,
  rescaleActsByDecoderNorm: true,
  training: true,
};

const step: TrainStepOptions = {
  selection: { kind: "batch-topk", k: 3.5 },
  learningRate: 1e-3,
  adamStep: 1,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  clipNorm: null,
  aux: null,
};

/** p of every entry, written as plainly as possible. */
function naivePreActs(
  x: Float32Array,
  w: Weights,
  { applyBDecToInput, rescaleActsByDecoderNorm }: EngineConfig,
) {
  return Array.from({ length: x.length / dIn }, (_, t) =>
    Array.from({ length: dSae }, (_, i) => {
      let h = w.bEnc[i];
      let squares = 0;
      for (let j = 0; j < dIn; j++) {
        h += (x[t * dIn + j] - (applyBDecToInput ? w.bDec[j] : 0)) * w.wEnc[i * dIn + j];
        squares += w.wDec[i * dIn + j] ** 2;
      }
      return rescaleActsByDecoderNorm ? h * Math.sqrt(squares) : h;
    }),
  );
}

/** Chosen (token, latent) pairs by sorting everything. */
function naiveSelection(p: number[][], selection: SizeSelection): string[] {
  const all = p.flatMap((row, t) => row.map((value, i) => ({ t, i, value }))).filter((e) => e.value > 0);
  const bySize = (a: (typeof all)[0], b: (typeof all)[0]) => b.value - a.value || a.t - b.t || a.i - b.i;
  const chosen =
    selection.kind === "batch-topk"
      ? all.sort(bySize).slice(0, Math.floor(selection.k * p.length))
      : selection.kind === "topk"
        ? p.flatMap((_, t) =>
            all
              .filter((e) => e.t === t)
              .sort(bySize)
              .slice(0, selection.k),
          )
        : all.filter((e) => e.value > selection.thresholds[e.i]);
  return chosen.sort((a, b) => a.t - b.t || a.i - b.i).map((e) => `${e.t}:${e.i}`);
}

function pairs(acts: { nTokens: number; offsets: Uint32Array; latents: Uint32Array }): string[] {
  const out: string[] = [];
  for (let t = 0; t < acts.nTokens; t++)
    for (let e = acts.offsets[t]; e < acts.offsets[t + 1]; e++) out.push(`${t}:${acts.latents[e]}`);
  return out;
}

const selections: SizeSelection[] = [
  { kind: "batch-topk", k: 3.5 },
  { kind: "batch-topk", k: dSae },
  { kind: "topk", k: 4 },
  { kind: "threshold", thresholds: normals(dSae, "thresholds", 0.3) },
];

describe("encode and decode", () => {
  for (const selection of selections)
    for (const rescale of [true, false])
      it(`${selection.kind}${"k" in selection ? ` ${selection.k}` : ""}, rescale ${rescale}: the entries and the reconstruction of dense arithmetic`, async () => {
        const weights = someWeights();
        const c = { ...config, rescaleActsByDecoderNorm: rescale, applyBDecToInput: rescale };
        const engine = await createReferenceEngine(c, weights);
        const x = normals(33 * dIn, "x");
        const acts = await engine.encode(x, selection);
        const p = naivePreActs(x, weights, c);
        expect(pairs(acts)).toEqual(naiveSelection(p, selection));
        const norms = await engine.decoderNorms();
        for (const width of [4, 17, dSae]) {
          const recon = await engine.decode(acts, { width });
          for (let t = 0; t < 33; t++) {
            const expected = Array.from(weights.bDec);
            for (let e = acts.offsets[t]; e < acts.offsets[t + 1]; e++) {
              const i = acts.latents[e];
              expect(acts.values[e]).toBeCloseTo(p[t][i], 5);
              for (let j = 0; i < width && j < dIn; j++)
                expected[j] += (p[t][i] / (rescale ? norms[i] : 1)) * weights.wDec[i * dIn + j];
            }
            for (let j = 0; j < dIn; j++) expect(recon[t * dIn + j]).toBeCloseTo(expected[j], 4);
          }
        }
      });

  it("settles ties by the lowest (token, latent), in small and in crowded batches", async () => {
    const n = 4000;
    const weights: Weights = {
      ...someWeights(),
      wEnc: new Float32Array(dSae * dIn),
      bEnc: new Float32Array(dSae).fill(1),
    };
    const engine = await createReferenceEngine({ ...config, rescaleActsByDecoderNorm: false }, weights);
    const x = normals(n * dIn, "ties");
    const two = await engine.encode(x, { kind: "topk", k: 2 });
    expect([...two.latents.slice(0, 6)]).toEqual([0, 1, 0, 1, 0, 1]);
    const batch = await engine.encode(x, { kind: "batch-topk", k: 2 }); // 8 000 of 120 000 equals
    expect(batch.latents.length).toBe(2 * n);
    expect(batch.offsets[Math.floor((2 * n) / dSae)]).toBe(Math.floor((2 * n) / dSae) * dSae);
    expect(batch.offsets[Math.ceil((2 * n) / dSae)]).toBe(2 * n);
  });

  it("finds the same batch-topk whether candidates are thinned on the way or not", async () => {
    const engine = await createReferenceEngine(config, someWeights());
    const x = normals(9000 * dIn, "crowd"); // 135 000 positive entries: beyond the crowd limit and the sort limit
    const acts = await engine.encode(x, { kind: "batch-topk", k: 1 });
    const everything = await engine.encode(x, { kind: "threshold", thresholds: new Float32Array(dSae) });
    const cut = everything.values.slice().sort()[everything.values.length - 9000];
    expect(acts.values.length).toBe(9000);
    expect(acts.values.reduce((a, b) => Math.min(a, b))).toBe(cut);
  });
});

describe("trainStep", () => {
  it("has the gradient of its own loss, auxiliary loss included (finite differences)", async () => {
    const x = normals(12 * dIn, "batch");
    const dead = new Uint8Array(dSae);
    for (const i of [2, 9, 20, 21, 28]) dead[i] = 1;
    const options: TrainStepOptions = { ...step, learningRate: 0, aux: { coefficient: 0.7, dead } };
    const weights = someWeights();
    const engine = await createReferenceEngine(config, weights);
    await engine.trainStep(x, options);
    for (const name of ["wEnc", "wDec", "bEnc", "bDec"] as const) {
      const rows = weights[name].length / (name.startsWith("w") ? dIn : 1);
      const gradient = (await engine.read(`m.${name}`, 0, rows)).map((m) => m / 0.1);
      for (let at = 0; at < gradient.length; at += 11) {
        const losses: number[] = [];
        for (const delta of [-1e-3, 1e-3]) {
          const moved = { ...weights, [name]: weights[name].slice() };
          moved[name][at] += delta;
          losses.push(await lossWithFrozenTarget(moved, weights, x, options));
        }
        const slope = (losses[1] - losses[0]) / 2e-3;
        expect(Math.abs(gradient[at] - slope), `${name}[${at}]`).toBeLessThan(
          0.02 * Math.max(1, Math.abs(slope)),
        );
      }
    }
  });

  it("leaves everything as it was when the loss is not finite", async () => {
    const weights = someWeights();
    const engine = await createReferenceEngine(config, weights);
    const x = normals(4 * dIn, "nan");
    x[5] = Number.NaN;
    const result = await engine.trainStep(x, step);
    expect(result.loss).toBeNaN();
    expect(await engine.read("wDec", 0, dSae)).toEqual(weights.wDec);
    expect(await engine.read("v.wEnc", 0, dSae)).toEqual(new Float32Array(dSae * dIn));
  });

  it("leaves everything as it was when the loss is finite and its gradient is not", async () => {
    const weights = someWeights();
    const engine = await createReferenceEngine(config, weights);
    const huge = normals(4 * dIn, "huge").map((value) => value * 1e25);
    const result = await engine.trainStep(huge, step);
    expect(result.loss).toBeNaN();
    expect(result.mse).toBeGreaterThan(1e40);
    expect(await engine.read("wDec", 0, dSae)).toEqual(weights.wDec);
  });

  it("moves latents without gradient by momentum, and clips by the global norm", async () => {
    const engine = await createReferenceEngine(config, someWeights());
    await engine.write("m.bEnc", 29, Float32Array.of(1));
    await engine.write("bEnc", 29, Float32Array.of(-100));
    const { gradNorm } = await engine.trainStep(normals(4 * dIn, "batch"), { ...step, clipNorm: 1e-3 });
    expect((await engine.read("bEnc", 29, 30))[0]).toBeLessThan(-100);
    expect(gradNorm).toBeGreaterThan(1e-3);
    let squares = 0;
    for (const [name, rows] of [
      ["wEnc", dSae],
      ["wDec", dSae],
      ["bEnc", 29],
      ["bDec", dIn],
    ] as const)
      for (const m of await engine.read(`m.${name}`, 0, rows)) squares += (m / 0.1) ** 2;
    expect(Math.sqrt(squares)).toBeCloseTo(1e-3, 6);
  });
});

describe("an audit", () => {
  const audited = { ...step, audit: { tokens: Uint32Array.of(1, 4, 11) } };
  const x = normals(12 * dIn, "batch");

  it("counts the entries of its tokens, misses none, and changes nothing in the step", async () => {
    const [plain, watched] = [
      await createReferenceEngine(config, someWeights()),
      await createReferenceEngine(config, someWeights()),
    ];
    const acts = await plain.encode(x, step.selection);
    const entries = [1, 4, 11].reduce((sum, t) => sum + acts.offsets[t + 1] - acts.offsets[t], 0);
    const without = await plain.trainStep(x, step);
    const result = await watched.trainStep(x, audited);
    expect(result.audit).toEqual({ entries, missed: 0 });
    expect(entries).toBeGreaterThan(0);
    expect(without.audit).toBeNull();
    expect({ ...result, audit: null }).toEqual(without);
    expect(await watched.read("wEnc", 0, dSae)).toEqual(await plain.read("wEnc", 0, dSae));
  });

  it("is refused on tokens that the batch has not, as is a margin that is none", async () => {
    const engine = await createReferenceEngine(config, someWeights());
    await expect(engine.trainStep(x.slice(0, 11 * dIn), audited)).rejects.toThrow("audited token: got 11");
    await engine.setScreening({ margin: "statistical", sigmas: 6 });
    await expect(engine.setScreening({ margin: "statistical", sigmas: 0 })).rejects.toThrow("sigmas");
    await expect(engine.setScreening({ margin: "loose" } as unknown as Screening)).rejects.toThrow("loose");
  });
});

/** The loss with e = x − x̂ of the auxiliary part held at the unmoved weights, as autograd holds it. */
async function lossWithFrozenTarget(
  moved: Weights,
  still: Weights,
  x: Float32Array,
  options: TrainStepOptions,
) {
  const before = await createReferenceEngine(config, still);
  const engine = await createReferenceEngine(config, moved);
  const main = await engine.trainStep(x, { ...options, aux: null });
  const acts = await before.encode(x, options.selection);
  const recon = await before.decode(acts);
  const p = naivePreActs(x, moved, config);
  const norms = await engine.decoderNorms();
  const dead = [...(options.aux?.dead ?? [])].flatMap((d, i) => (d ? [i] : []));
  const nTokens = x.length / dIn;
  let aux = 0;
  for (let t = 0; t < nTokens; t++) {
    const chosen = dead.sort((a, b) => p[t][b] - p[t][a]).slice(0, Math.floor(dIn / 2));
    for (let j = 0; j < dIn; j++) {
      let r = moved.bDec[j] - (x[t * dIn + j] - recon[t * dIn + j]);
      for (const i of chosen) r += (p[t][i] / norms[i]) * moved.wDec[i * dIn + j];
      aux += (r * r) / nTokens;
    }
  }
  return main.loss + (options.aux?.coefficient ?? 0) * aux;
}

describe("the border", () => {
  it("refuses shapes that do not fit, and says what would", async () => {
    const engine = await createReferenceEngine({ ...config, training: false }, someWeights());
    await expect(engine.encode(new Float32Array(8), { kind: "topk", k: 1 })).rejects.toThrow("dIn = 7");
    await expect(engine.encode(new Float32Array(7), { kind: "topk", k: 1.5 })).rejects.toThrow("an integer");
    await expect(engine.read("wDec", 0, 31)).rejects.toThrow("0 … 30");
    await expect(engine.read("m.wDec", 0, 1)).rejects.toThrow("inference");
    await expect(engine.trainStep(new Float32Array(7), step)).rejects.toThrow("inference");
    await expect(createReferenceEngine({ ...config, widths: [4, 4, 30] }, someWeights())).rejects.toThrow(
      "increasing",
    );
    await engine.dispose();
    await expect(engine.decoderNorms()).rejects.toThrow("disposed");
  });

  it("takes calls one at a time, in order, and reads back what was written", async () => {
    const engine = await createReferenceEngine(config, someWeights());
    const rows = normals(2 * dIn, "rows");
    const written = engine.write("v.wDec", 3, rows);
    const read = engine.read("v.wDec", 3, 5);
    await written;
    expect(await read).toEqual(rows);
    expect((await engine.read("bDec", 2, 6)).length).toBe(4);
  });

  it("made without weights, holds zeros to be written over", async () => {
    const weights = someWeights();
    const [empty, full] = [
      await createReferenceEngine(config, null),
      await createReferenceEngine(config, weights),
    ];
    expect(await empty.read("wDec", 0, dSae)).toEqual(new Float32Array(dSae * dIn));
    for (const name of ["wEnc", "wDec", "bEnc", "bDec"] as const) await empty.write(name, 0, weights[name]);
    const x = normals(12 * dIn, "batch");
    expect(await empty.trainStep(x, step)).toEqual(await full.trainStep(x, step));
  });
});
