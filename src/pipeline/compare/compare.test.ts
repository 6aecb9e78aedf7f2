/** Two small SAEs on made-up activations, with the reference engine: what must hold of any comparison. */
import { describe, expect, it } from "vitest";
import { evaluateRows } from "../../evals/evaluate.ts";
import { METRIC_NAMES } from "../../evals/metrics.ts";
import { createReferenceEngine } from "../../kernels/reference/engine.ts";
import { Philox } from "../../random/philox.ts";
import { openInference } from "../../sae/inference.ts";
import type { Sae } from "../../sae/sae.ts";
import { type ComparedData, compareSaes } from "./compare.ts";
import type { Comparison } from "./comparison.ts";

const D_IN = 8;
const D_SAE = 24;
const N_TOKENS = 90;
const HOOK = "blocks.4.hook_resid_post";

function normals(n: number, purpose: string, scale = 1): Float32Array {
  const draw = new Philox(3, purpose);
  return Float32Array.from({ length: n }, (_, i) => scale * draw.normal(i));
}

/** A jumprelu SAE whose latent i reads and writes row `rows[i]` of one random matrix; `shift` moves its decoder. */
function saeOf(rows: readonly number[], { hookName = HOOK, dIn = D_IN, shift = 0 } = {}): Sae {
  const dSae = rows.length;
  const matrix = normals(64 * dIn, "rows");
  const moves = normals(64 * dIn, "moves", shift);
  const take = (from: Float32Array) =>
    Float32Array.from({ length: dSae * dIn }, (_, i) => from[rows[Math.floor(i / dIn)] * dIn + (i % dIn)]);
  const [w, m] = [take(matrix), take(moves)];
  return {
    config: {
      architecture: "jumprelu",
      dIn,
      dSae,
      dtype: "float32",
      applyBDecToInput: false,
      normalization: "none",
      reshape: "none",
      k: null,
      rescaleActsByDecoderNorm: false,
      hookName,
      modelName: null,
      contextSize: null,
      prependBos: null,
      metadata: {},
    },
    weights: {
      dIn,
      dSae,
      wEnc: w.map((value) => value / 2),
      wDec: w.map((value, i) => value / 8 + m[i]),
      bEnc: new Float32Array(dSae),
      bDec: normals(dIn, "bDec", 0.1),
    },
    threshold: new Float32Array(dSae).fill(1.2),
    runnerConfig: null,
  };
}

/** Tokens of nine documents, in chunks of 16. */
function data(set: string): ComparedData {
  const rows = {
    activations: normals(N_TOKENS * D_IN, set),
    dIn: D_IN,
    set,
    hookName: HOOK,
    document: Uint32Array.from({ length: N_TOKENS }, (_, i) => Math.floor(i / 10)),
  };
  return { set, evaluate: (sae, options) => evaluateRows(sae, rows, { ...options, chunkRows: 16 }) };
}

const SETS = [data("one"), data("two")];
const INDICES = Array.from({ length: D_SAE }, (_, i) => i);
const A = saeOf(INDICES);

function compare(a: Sae, b: Sae): Promise<Comparison> {
  return compareSaes({ name: "a", sae: a }, { name: "b", sae: b }, SETS, {
    createEngine: createReferenceEngine,
  });
}

/** Latents that fire on each token of a set, from the SAE itself. */
async function firingOf(sae: Sae, set: string): Promise<Set<number>[]> {
  const inference = await openInference(sae, createReferenceEngine);
  const { offsets, latents } = await inference.encode(normals(N_TOKENS * D_IN, set));
  await inference.dispose();
  return Array.from({ length: N_TOKENS }, (_, t) => new Set(latents.slice(offsets[t], offsets[t + 1])));
}

describe("an SAE and itself", async () => {
  const { sets, changes, a, b } = await compare(A, saeOf(INDICES));

  it("are exactly equal, with intervals of no width", () => {
    expect(a.sae.hash).toBe(b.sae.hash);
    for (const { metrics } of sets)
      for (const name of METRIC_NAMES) {
        expect(metrics[name].a).toEqual(metrics[name].b);
        expect(metrics[name].difference).toEqual({ value: 0, interval: { low: 0, high: 0 } });
        expect(metrics[name].sign).toBe(0);
      }
  });

  it("fire the same latents on every token, and none moved", () => {
    for (const { firing } of sets) {
      expect(firing.byIndex?.mean).toBe(1);
      expect(firing.byDirection.mean).toBe(1);
      expect(firing.byDirection.nTokens).toBeGreaterThan(N_TOKENS / 2);
    }
    const { kept, silent, ...others } = changes.byIndex!.fates;
    expect(kept).toBeGreaterThan(D_SAE / 2);
    expect(kept + silent).toBe(D_SAE);
    expect(Object.values(others)).toEqual([0, 0, 0, 0]);
    expect(changes.byDirection.same).toEqual(
      [0.7, 0.9].map((cosine) => ({ cosine, nPairs: D_SAE, onlyInA: 0, onlyInB: 0 })),
    );
  });

  it("with latents that have twins: each is still its own partner", async () => {
    const twins = saeOf([0, 1, 1, 2, 2, 2]);
    const { changes: ofTwins, sets: setsOfTwins } = await compare(twins, twins);
    expect(ofTwins.byDirection.nPairs).toBe(6);
    expect(setsOfTwins[0].firing.byDirection.mean).toBe(1);
  });
});

describe("two SAEs", async () => {
  const silenced = saeOf(INDICES, { shift: 0.12 });
  silenced.threshold!.fill(1e6, 0, 4); // four that never fire
  const B = { ...silenced, threshold: silenced.threshold!.slice().fill(0.8, 4, 12) };
  const [there, back] = [await compare(A, B), await compare(B, A)];

  it("exchanged: every difference has the other sign, born and died change places", () => {
    for (const [i, { metrics, firing, neverFired }] of there.sets.entries()) {
      const other = back.sets[i];
      for (const name of METRIC_NAMES) {
        const [ab, ba] = [metrics[name], other.metrics[name]];
        expect([ba.a, ba.b]).toEqual([ab.b, ab.a]);
        expect(ba.difference.value! + ab.difference.value!).toBe(0);
        expect(ba.difference.interval!.low).toBeCloseTo(-ab.difference.interval!.high, 12);
        expect(ba.difference.interval!.high).toBeCloseTo(-ab.difference.interval!.low, 12);
        expect(ba.sign! + ab.sign!).toBe(0);
      }
      expect(other.neverFired).toEqual({ a: neverFired.b, b: neverFired.a });
      expect(other.firing).toEqual(firing);
    }
    const [ab, ba] = [there.changes.byIndex!, back.changes.byIndex!];
    expect(ab.fates.died).toBeGreaterThan(0);
    expect(ba.fates).toEqual({ ...ab.fates, born: ab.fates.died, died: ab.fates.born });
    expect(ba.topMovers.map(({ index, frequency: { a, b } }) => [index, b, a])).toEqual(
      ab.topMovers.map(({ index, frequency: { a, b } }) => [index, a, b]),
    );
    for (const [i, { nPairs, onlyInA, onlyInB }] of there.changes.byDirection.same.entries())
      expect(back.changes.byDirection.same[i]).toMatchObject({ nPairs, onlyInA: onlyInB, onlyInB: onlyInA });
  });

  it("a difference is that of the two SAEs' own evaluations, and lies in its interval", async () => {
    const [ofA, ofB] = await Promise.all(
      [A, B].map(async (sae) => {
        const inference = await openInference(sae, createReferenceEngine);
        return (await SETS[0].evaluate(inference, {})).result.metrics;
      }),
    );
    for (const name of METRIC_NAMES) {
      const { a, b, difference } = there.sets[0].metrics[name];
      expect([a.value, b.value]).toEqual([ofA[name].value, ofB[name].value]);
      expect(a.interval).toEqual(ofA[name].interval);
      expect(difference.value).toBe(ofB[name].value! - ofA[name].value!);
      expect(difference.interval!.low).toBeLessThanOrEqual(difference.value!);
      expect(difference.interval!.high).toBeGreaterThanOrEqual(difference.value!);
    }
    expect(there.sets[0].metrics.l0.sign).toBe(1); // eight thresholds are lower
  });

  it("agree on as many latents a token as their own activations say", async () => {
    const [fired, firedInB] = [await firingOf(A, "one"), await firingOf(B, "one")];
    const jaccard = fired
      .map(
        (inA, t) =>
          [...inA].filter((i) => firedInB[t].has(i)).length / new Set([...inA, ...firedInB[t]]).size,
      )
      .filter((value) => !Number.isNaN(value));
    const { mean, nTokens } = there.sets[0].firing.byIndex!;
    expect(nTokens).toBe(jaccard.length);
    expect(mean).toBeCloseTo(jaccard.reduce((sum, value) => sum + value, 0) / jaccard.length, 12);
    expect(mean).toBeLessThan(0.95);
  });

  it("latents that moved most come first, each with its fate; fates are of all latents", () => {
    const { topMovers, fates } = there.changes.byIndex!;
    const cosines = topMovers.map(({ decoderCosine }) => decoderCosine);
    expect(cosines).toEqual([...cosines].sort((x, y) => x - y));
    expect(fates.moved).toBe(topMovers.filter(({ fate }) => fate === "moved").length);
    expect(fates.moved).toBeGreaterThan(0);
    expect(Object.values(fates).reduce((sum, n) => sum + n, 0)).toBe(D_SAE);
  });
});

it("the same latents in another order: all swapped by index, none by direction", async () => {
  const { changes, sets } = await compare(A, saeOf([...INDICES.slice(1), 0]));
  const { fates, topMovers } = changes.byIndex!;
  expect(fates.kept + fates.moved).toBe(0);
  expect(fates.swapped).toBeGreaterThan(D_SAE / 2);
  for (const { index, foundAt } of topMovers)
    expect(foundAt).toMatchObject({ index: (index + D_SAE - 1) % D_SAE });
  expect(changes.byDirection.same[1]).toMatchObject({ nPairs: D_SAE, onlyInA: 0, onlyInB: 0 });
  for (const { firing, metrics } of sets) {
    expect(firing.byDirection.mean).toBe(1);
    expect(firing.byIndex!.mean).toBeLessThan(0.5);
    expect(metrics.ve.difference.value).toBeCloseTo(0, 5); // sums in another order
  }
});

it("SAEs of different widths are matched by direction alone", async () => {
  const { changes, sets, latents } = await compare(A, saeOf([...INDICES, 40, 41, 42, 43]));
  expect([changes.byIndex, latents.byIndex, sets[0].firing.byIndex]).toEqual([null, null, null]);
  expect(changes.byDirection.same[1]).toMatchObject({ nPairs: D_SAE, onlyInA: 0 });
  expect(changes.byDirection.same[1].onlyInB).toBeGreaterThan(0);
  expect(changes.byDirection.same[1].onlyInB).toBeLessThanOrEqual(4);
  expect(sets[0].firing.byDirection.mean).toBeLessThan(1);
});

describe("refuses", () => {
  it("another dIn, naming both", async () => {
    await expect(compare(A, saeOf([0, 1], { dIn: 4 }))).rejects.toThrow(
      "dIn of b: got 4, expected 8, as a has",
    );
  });

  it("another hook point, naming both", async () => {
    const other = saeOf(INDICES, { hookName: "model.layers.5" });
    await expect(compare(A, other)).rejects.toThrow(`a reads ${HOOK}, b reads model.layers.5`);
    const same = saeOf(INDICES, { hookName: "model.layers.4" });
    expect((await compare(A, same)).changes.byIndex!.fates.moved).toBe(0);
  });
});
