/** `against-reference.ts` for standard, gated and jumprelu SAEs, and to the same tolerances. */
import { expect, it } from "vitest";
import type { EngineFactory } from "../../src/kernels/kernels.ts";
import { createReferenceEngine } from "../../src/kernels/reference/engine.ts";
import { pairs, readAll, relativeError } from "./cases.ts";
import {
  type DenseCase,
  denseBatchFor,
  denseCases,
  denseStepOptions,
  denseWeightsFor,
} from "./dense-cases.ts";

const OPERATION = 2e-6;
const STEPS = 1e-5;
const N_STEPS = 4;

/** Declares the tests. */
export function denseAgreesWithReference(create: EngineFactory): void {
  for (const c of denseCases)
    it(`${c.name}: four steps, and what fires before and after them`, async () => {
      await followsReference(create, c);
    });

  it("a loss that is not finite changes nothing", async () => {
    const c = denseCases[0];
    const engine = await create(c.config, denseWeightsFor(c));
    await engine.trainStep(denseBatchFor(c), denseStepOptions(c, 0));
    const before = await readAll(engine);
    for (const poison of [Number.NaN, Number.POSITIVE_INFINITY, 1e30]) {
      const x = denseBatchFor(c);
      x[17] = poison;
      expect((await engine.trainStep(x, denseStepOptions(c, 1))).loss).toBeNaN();
      expect(await readAll(engine)).toEqual(before);
    }
    await engine.dispose();
  });

  it("selections and coefficients that belong to others are refused", async () => {
    const c = denseCases[0];
    const engine = await create(c.config, denseWeightsFor(c));
    const x = denseBatchFor(c);
    const options = denseStepOptions(c, 1);
    const aux = { coefficient: 1, dead: new Uint8Array(c.config.dSae) };
    await expect(engine.encode(x, { kind: "topk", k: 2 })).rejects.toThrow(/not selected by topk/);
    await expect(engine.trainStep(x, { ...options, sparsity: undefined })).rejects.toThrow(/coefficient/);
    await expect(engine.trainStep(x, { ...options, aux })).rejects.toThrow(/no auxiliary loss/);
    await expect(engine.read("bGate", 0, 1)).rejects.toThrow(/no tensor called bGate/);
    await engine.dispose();
  });
}

export async function followsReference(create: EngineFactory, c: DenseCase): Promise<void> {
  const weights = denseWeightsFor(c);
  const engine = await create(c.config, weights);
  const reference = await createReferenceEngine(c.config, weights);
  const encodesAlike = async () => {
    const x = denseBatchFor(c, N_STEPS);
    const [got, expected] = [
      await engine.encode(x, { kind: "own" }),
      await reference.encode(x, { kind: "own" }),
    ];
    expect(expected.latents.length).toBeGreaterThan(0);
    expect(pairs(got)).toEqual(pairs(expected));
    expect(relativeError(got.values, expected.values)).toBeLessThan(STEPS);
    expect(relativeError(await engine.decode(got), await reference.decode(expected))).toBeLessThan(STEPS);
  };
  await encodesAlike();
  for (let step = 0; step < N_STEPS; step++) {
    const [x, options] = [denseBatchFor(c, step), denseStepOptions(c, step)];
    const got = await engine.trainStep(x, options);
    const expected = await reference.trainStep(x, options);
    expect([...got.fired]).toEqual([...expected.fired]);
    expect([got.l0, got.innerMse, got.audit]).toEqual([expected.l0, [], expected.audit]);
    expect(got.sparsity).toBeGreaterThanOrEqual(0);
    const numbers = (r: typeof got) =>
      Float32Array.of(r.loss, r.mse, r.sparsity ?? Number.NaN, r.aux, r.gradNorm, r.minPositive ?? 0);
    expect(relativeError(numbers(got), numbers(expected))).toBeLessThan(OPERATION);
    const moved = await readAll(engine);
    for (const [name, values] of await readAll(reference))
      expect(relativeError(moved.get(name)!, values), `${name} after step ${step}`).toBeLessThan(STEPS);
  }
  await encodesAlike();
  await engine.dispose();
}
