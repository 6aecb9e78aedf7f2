/**
 * An engine against the reference engine, operation by operation. Tolerances: fast engines sum in fp32, the reference in
 * f64, so a sum of n terms differs by about √n · 6e-8 relative to its terms' size: 2e-6 for one operation, 1e-5 (of a
 * tensor's norm) after several training steps.
 */
import { expect, it } from "vitest";
import type { EngineConfig, EngineFactory, Selection } from "../../src/kernels/kernels.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import {
  batchFor,
  cases,
  deadMask,
  normals,
  pairs,
  readAll,
  relativeError,
  stepOptions,
  weightsFor,
} from "./cases.ts";

const OPERATION = 2e-6;
const STEPS = 1e-5;

/** Declares the tests. */
export function agreesWithReference(create: EngineFactory): void {
  async function both(config: EngineConfig) {
    const weights = weightsFor(config);
    return {
      engine: await create(config, weights),
      reference: await createReferenceEngine(config, weights),
    };
  }

  for (const c of cases) {
    const { config } = c;
    const selections: Selection[] = [
      { kind: "batch-topk", k: c.k },
      { kind: "topk", k: Math.ceil(c.k) },
      { kind: "topk", k: config.dSae },
      { kind: "threshold", thresholds: normals(config.dSae, "thresholds", 0.5) },
      { kind: "threshold", thresholds: new Float32Array(config.dSae) },
    ];

    it(`${c.name}: encode selects the same entries with the same values, decode rebuilds the same rows`, async () => {
      const { engine, reference } = await both(config);
      const x = batchFor(c);
      for (const selection of selections) {
        const got = await engine.encode(x, selection);
        const expected = await reference.encode(x, selection);
        expect(expected.latents.length).toBeGreaterThan(0);
        expect(pairs(got)).toEqual(pairs(expected));
        expect(relativeError(got.values, expected.values)).toBeLessThan(OPERATION);
        for (const width of new Set([1, ...config.widths]))
          expect(
            relativeError(await engine.decode(got, { width }), await reference.decode(expected, { width })),
          ).toBeLessThan(OPERATION);
      }
      expect(relativeError(await engine.decoderNorms(), await reference.decoderNorms())).toBeLessThan(
        OPERATION,
      );
      await engine.dispose();
    });

    for (const withAux of [false, true])
      it(`${c.name}: four training steps${withAux ? " with AuxK" : ""} lead to the same weights and moments`, async () => {
        const { engine, reference } = await both(config);
        for (let step = 0; step < 4; step++) {
          const options = stepOptions(c.k, step, {
            selection: step === 3 ? { kind: "topk", k: Math.ceil(c.k) } : { kind: "batch-topk", k: c.k },
            clipNorm: step === 2 ? null : 1,
            aux: withAux ? { coefficient: 0.3, dead: deadMask(config.dSae) } : null,
          });
          const x = batchFor(c, step);
          const got = await engine.trainStep(x, options);
          const expected = await reference.trainStep(x, options);
          expect([...got.fired]).toEqual([...expected.fired]);
          expect(got.l0).toBe(expected.l0);
          expect(got.innerMse.length).toBe(config.widths.length - 1);
          const numbers = (r: typeof got) =>
            Float32Array.of(r.loss, r.mse, ...r.innerMse, r.aux, r.gradNorm, r.minPositive ?? 0);
          expect(relativeError(numbers(got), numbers(expected))).toBeLessThan(OPERATION);
          expect(got.aux > 0).toBe(withAux);
          const moved = await readAll(engine);
          for (const [name, values] of await readAll(reference))
            expect(relativeError(moved.get(name)!, values), `${name} after step ${step}`).toBeLessThan(STEPS);
        }
        await engine.dispose();
      });
  }

  it("all latents dead, and one of them: the auxiliary loss of the reference", async () => {
    const c = cases[0];
    for (const dead of [
      new Uint8Array(100).fill(1),
      Uint8Array.from({ length: 100 }, (_, i) => +(i === 99)),
    ]) {
      const { engine, reference } = await both(c.config);
      const options = stepOptions(c.k, 0, { aux: { coefficient: 1, dead } });
      const got = await engine.trainStep(batchFor(c), options);
      const expected = await reference.trainStep(batchFor(c), options);
      expect(got.aux / expected.aux).toBeCloseTo(1, 6);
      expect(
        relativeError(await engine.read("m.wDec", 0, 100), await reference.read("m.wDec", 0, 100)),
      ).toBeLessThan(STEPS);
      await engine.dispose();
    }
  });

  it("large selections prune on the way and still choose what the reference chooses", async () => {
    const config = { ...cases[0].config, training: false, dSae: 700, widths: [700] };
    const { engine, reference } = await both(config);
    const x = normals(300 * config.dIn, "crowd"); // 105 000 positive entries, buffers of 16 384 and up
    for (const selection of [
      { kind: "batch-topk", k: 2 },
      { kind: "batch-topk", k: 40 },
      { kind: "topk", k: 33 },
    ] as const)
      expect(pairs(await engine.encode(x, selection))).toEqual(pairs(await reference.encode(x, selection)));
    await engine.dispose();
  });
}
