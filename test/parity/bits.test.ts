/** Design invariant 1: the same bits for any number of threads and every instruction set, whatever was guessed before. */
import { describe, expect, it } from "vitest";
import type { Isa } from "../../src/kernels/addon.ts";
import type { Engine } from "../../src/kernels/kernels.ts";
import { createNativeEngine } from "../../src/kernels/native.ts";
import {
  addon,
  batchFor,
  bytesOf,
  cases,
  deadMask,
  hashOf,
  normals,
  pairs,
  stepOptions,
  weightsFor,
} from "./cases.ts";
import {
  type DenseCase,
  denseBatchFor,
  denseCases,
  denseStepOptions,
  denseWeightsFor,
} from "./dense-cases.ts";

const { present, missing, isas, lacking } = addon();

async function trained(at: number, isa: Isa | undefined, threads: number): Promise<string> {
  const c = cases[at];
  const engine = await createNativeEngine({ ...c.config, threads }, weightsFor(c.config), { isa });
  const results: unknown[] = [];
  for (let step = 0; step < 4; step++) {
    const aux = step === 1 ? null : { coefficient: 0.5, dead: deadMask(c.config.dSae) };
    const selection = step === 2 ? ({ kind: "topk", k: Math.ceil(c.k) } as const) : undefined;
    const options = stepOptions(c.k, step, selection === undefined ? { aux } : { aux, selection });
    results.push(await engine.trainStep(batchFor(c, step), options));
  }
  const hash = await hashOf(engine);
  await engine.dispose();
  return `${hash} ${JSON.stringify(results)}`;
}

async function trainedDense(c: DenseCase, isa: Isa | undefined, threads: number): Promise<string> {
  const moments = c.config.dIn === 136 ? "bf16" : "f32";
  const engine = await createNativeEngine({ ...c.config, threads, moments }, denseWeightsFor(c), { isa });
  const results: unknown[] = [];
  for (let step = 0; step < 3; step++)
    results.push(await engine.trainStep(denseBatchFor(c, step), denseStepOptions(c, step)));
  results.push(await engine.encode(denseBatchFor(c, 3), { kind: "own" }));
  const hash = await hashOf(engine);
  await engine.dispose();
  return `${hash} ${JSON.stringify(results)}`;
}

describe.skipIf(!present)(`bits of the native engine${missing}`, () => {
  cases.forEach((c, at) => {
    it(`${c.name}: 1, 2 and 4 threads end in the same weights, moments and losses`, async () => {
      const one = await trained(at, undefined, 1);
      expect(await trained(at, undefined, 2)).toBe(one);
      expect(await trained(at, undefined, 4)).toBe(one);
    });
    for (const isa of isas.filter((isa) => isa !== "scalar"))
      it(`${c.name}: ${isa} ends in the same bits as plain C++`, async () => {
        expect(await trained(at, isa, 2)).toBe(await trained(at, "scalar", 2));
      });
  });

  for (const c of denseCases) {
    it(`${c.name}: 1, 2 and 5 threads, the same bits`, async () => {
      const one = await trainedDense(c, undefined, 1);
      expect(await trainedDense(c, undefined, 2)).toBe(one);
      expect(await trainedDense(c, undefined, 5)).toBe(one);
    });
    for (const isa of isas.filter((isa) => isa !== "scalar"))
      it(`${c.name}: ${isa} ends in the same bits as plain C++`, async () => {
        expect(await trainedDense(c, isa, 2)).toBe(await trainedDense(c, "scalar", 2));
      });
  }

  for (const isa of lacking) it.skip(`${isa} (this machine has none)`, () => {});
  for (const isa of isas)
    it(`${isa}: encode and decode, three selections`, async () => {
      const c = { ...cases[3], nTokens: 1500 };
      const results: string[] = [];
      for (const [which, threads] of [
        ["scalar", 1],
        [isa, 3],
      ] as const) {
        const config = { ...c.config, training: false, threads };
        const engine = await createNativeEngine(config, weightsFor(config), { isa: which });
        const x = batchFor(c);
        const bits: Uint8Array[] = [];
        for (const selection of [
          { kind: "batch-topk", k: 3.5 },
          { kind: "topk", k: 40 },
          { kind: "threshold", thresholds: normals(config.dSae, "t") },
        ] as const) {
          const acts = await engine.encode(x, selection);
          bits.push(bytesOf(acts.offsets), bytesOf(acts.latents), bytesOf(acts.values));
          bits.push(bytesOf(await engine.decode(acts)));
        }
        results.push(Buffer.concat(bits).toString("base64"));
        await engine.dispose();
      }
      expect(results[1] === results[0]).toBe(true);
    });

  it("the guess left by an earlier batch changes nothing, be it far too high or far too low", async () => {
    const c = cases[2];
    const config = { ...c.config, training: false };
    const selection = { kind: "batch-topk", k: 4 } as const;
    const x = batchFor(c);
    const fresh = await createNativeEngine(config, weightsFor(config));
    const expected = await fresh.encode(x, selection);
    for (const scale of [100, 0.01]) {
      const engine = await createNativeEngine(config, weightsFor(config));
      await engine.encode(
        x.map((v) => v * scale),
        selection,
      );
      const got = await engine.encode(x, selection);
      expect(pairs(got)).toEqual(pairs(expected));
      expect(got.values).toEqual(expected.values);
      await engine.dispose();
    }
    await fresh.dispose();
  });

  it("moments kept as bf16: the same bits on every instruction set, weights near those of f32, second moments that grow", async () => {
    const c = cases[2];
    const run = async (moments: "f32" | "bf16", isa?: Isa, threads = 2): Promise<Engine> => {
      const engine = await createNativeEngine({ ...c.config, moments, threads }, weightsFor(c.config), {
        isa,
      });
      for (let step = 0; step < 30; step++)
        await engine.trainStep(batchFor(c, step % 4), stepOptions(c.k, step));
      return engine;
    };
    const [wide, narrow] = [await run("f32"), await run("bf16")];
    const hash = await hashOf(narrow);
    for (const isa of isas) {
      const other = await run("bf16", isa, 3);
      expect(await hashOf(other)).toBe(hash);
      await other.dispose();
    }
    const start = weightsFor(c.config).wDec;
    const [a, b] = [await wide.read("wDec", 0, c.config.dSae), await narrow.read("wDec", 0, c.config.dSae)];
    const distance = (x: Float32Array, y: Float32Array) =>
      Math.sqrt(x.reduce((sum, value, i) => sum + (value - y[i]) ** 2, 0));
    expect(distance(a, b) / distance(a, start)).toBeLessThan(0.02);
    const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0);
    const [v, vNarrow] = [
      await wide.read("v.wDec", 0, c.config.dSae),
      await narrow.read("v.wDec", 0, c.config.dSae),
    ];
    expect(Math.abs(sum(vNarrow) / sum(v) - 1)).toBeLessThan(0.01);
    // What is read can be written back: a checkpoint holds the moments exactly.
    await narrow.write("v.wDec", 0, vNarrow);
    expect(await hashOf(narrow)).toBe(hash);
    await wide.dispose();
    await narrow.dispose();
  });

  it("ties go to the lowest (token, latent)", async () => {
    const [dIn, dSae, n] = [8, 100, 500];
    const weights = {
      dIn,
      dSae,
      wEnc: new Float32Array(dSae * dIn),
      wDec: normals(dSae * dIn, "ties"),
      bEnc: new Float32Array(dSae).fill(1),
      bDec: new Float32Array(dIn),
    };
    for (const threads of [1, 3]) {
      const engine = await createNativeEngine(
        {
          dIn,
          dSae,
          widths: [dSae],
          applyBDecToInput: true,
          rescaleActsByDecoderNorm: false,
          training: false,
          threads,
        },
        weights,
      );
      const x = normals(n * dIn, "x");
      const batch = await engine.encode(x, { kind: "batch-topk", k: 1.5 }); // 750 of 50 000 equals
      expect(batch.latents.length).toBe(750);
      expect([...batch.offsets.slice(0, 10)]).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 750, 750]);
      expect([...batch.latents.slice(700)]).toEqual(Array.from({ length: 50 }, (_, i) => i));
      const each = await engine.encode(x, { kind: "topk", k: 3 });
      expect([...each.latents]).toEqual(Array.from({ length: 3 * n }, (_, i) => i % 3));
      await engine.dispose();
    }
  });
});
