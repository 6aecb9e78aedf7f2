/** The bootstrap: reproducible draws, intervals that cover what they should, pairs that cancel; and documents in blocks. */
import { describe, expect, it } from "vitest";
import {
  D_IN,
  differencesOf,
  fakeActs,
  normals,
  shrunk,
  sumsOf,
  valuesOf,
} from "../../test/evals/fixtures.ts";
import { DataError } from "../errors.ts";
import { Philox } from "../random/philox.ts";
import {
  draws,
  intervalMethod,
  metricIntervals,
  pairedDifferences,
  percentileInterval,
  replicateMetrics,
} from "./bootstrap.ts";
import { DocumentSums, MAX_BLOCKS, MAX_DOCUMENTS } from "./documents.ts";
import { measure } from "./measure.ts";
import { quantile } from "./quantile.ts";
import { total } from "./token-sums.ts";

const origin = new Float64Array(D_IN).fill(0.5);

/** `nDocuments` documents of a few tokens each, whose tokens resemble each other. */
function documentsOf(nDocuments: number, recon = shrunk, purpose = "x"): DocumentSums {
  const documents = new DocumentSums(origin);
  const themes = normals(nDocuments * D_IN, `${purpose}/themes`);
  for (let d = 0; d < nDocuments; d++) {
    const n = 2 + (d % 5);
    const x = normals(n * D_IN, `${purpose}/${d}`, 0, 0.5).map(
      (value, i) => value + themes[d * D_IN + (i % D_IN)],
    );
    add(documents, d, x, recon(x));
  }
  return documents;
}

function add(documents: DocumentSums, document: number, x: Float32Array, recon: Float32Array): void {
  const table = measure({ x, recon, acts: fakeActs(x) }, origin, 0);
  for (let row = 0; row < x.length / D_IN; row++) documents.of(document).addToken(x, table, row);
}

const wholeOf = (documents: DocumentSums) =>
  total(
    documents.parts.map(([, part]) => part),
    origin,
  );

describe("draws", () => {
  it("take as many documents as there are, with replacement, the same for the same seed", () => {
    const first = Array.from(draws(20, 3, 50), (weights) => [...weights]);
    expect(Array.from(draws(20, 3, 50), (weights) => [...weights])).toEqual(first);
    expect(Array.from(draws(20, 4, 50), (weights) => [...weights])).not.toEqual(first);
    expect(first).toHaveLength(50);
    for (const weights of first) expect(weights.reduce((a, b) => a + b, 0)).toBe(20);
    const never = first.flat().filter((weight) => weight === 0).length / first.flat().length;
    expect(never).toBeCloseTo(0.95 ** 20, 1);
  });
});

describe("an interval", () => {
  it("spans the middle 95 % of the replicates", () => {
    const values = Float64Array.from({ length: 1001 }, (_, i) => (i * 8) % 1001);
    expect(percentileInterval(values)).toEqual({ low: expect.closeTo(25, 9), high: expect.closeTo(975, 9) });
    expect(percentileInterval(Float64Array.of(1, Number.NaN))).toBeNull();
    expect(quantile([1, 2, 4], 0.25)).toBe(1.5);
  });

  it("of a replicate is that of its documents repeated, about their own mean", () => {
    const documents = documentsOf(6);
    const values = replicateMetrics(documents.parts, 5, 4);
    let r = 0;
    for (const weights of draws(6, 5, 4)) {
      const x = Array.from(weights).flatMap((weight, d) => {
        const theme = normals(6 * D_IN, "x/themes");
        const tokens = normals((2 + (d % 5)) * D_IN, `x/${d}`, 0, 0.5).map(
          (value, i) => value + theme[d * D_IN + (i % D_IN)],
        );
        return Array.from({ length: weight }, () => [...tokens]).flat();
      });
      const all = Float32Array.from(x);
      const { ve, mse, cosine } = valuesOf(sumsOf(all, shrunk(all), { origin }));
      const got = { ve: values.ve[r], mse: values.mse[r], cosine: values.cosine[r] };
      expect(differencesOf(got, { ve, mse, cosine }, 1e-12)).toEqual([]);
      r++;
    }
  });

  it("covers the truth about as often as it says: the mean of documents of known mean, 100 times", () => {
    let covered = 0;
    for (let trial = 0; trial < 100; trial++) {
      const documents = new DocumentSums(origin);
      const draw = new Philox(trial, "coverage");
      for (let d = 0; d < 60; d++) {
        const x = new Float32Array(D_IN);
        x[0] = 3 + draw.normal(2 * d);
        x[1] = draw.normal(2 * d + 1);
        add(documents, d, x, Float32Array.of(x[0] - 2 - 0.5 * draw.normal(1000 + d), x[1], 0, 0, 0));
      }
      const { low, high } = percentileInterval(replicateMetrics(documents.parts, 1, 200).mse)!;
      if (low <= 4.25 && 4.25 <= high) covered++; // E (2 + N/2)² = 4.25
    }
    expect(covered).toBeGreaterThanOrEqual(87);
    expect(covered).toBeLessThanOrEqual(99);
  });

  it("is wider where documents differ than where each is like the whole, and holds the value", () => {
    const clustered = documentsOf(40);
    const mixed = new DocumentSums(origin);
    const x = normals(160 * D_IN, "mixed", 0, 1.1);
    for (let d = 0; d < 40; d++) {
      const own = x.slice(d * 4 * D_IN, (d + 1) * 4 * D_IN);
      add(mixed, d, own, shrunk(own));
    }
    const width = (documents: DocumentSums) => {
      const { low, high } = metricIntervals(documents.parts, 0).normIn!;
      const value = valuesOf(wholeOf(documents)).normIn!;
      expect(low).toBeLessThan(value);
      expect(high).toBeGreaterThan(value);
      return high - low;
    };
    expect(width(clustered)).toBeGreaterThan(width(mixed));
  });

  it("is the same for the same seed, another for another, and absent for one document or an undefined metric", () => {
    const documents = documentsOf(12);
    expect(metricIntervals(documents.parts, 3)).toEqual(metricIntervals(documents.parts, 3));
    expect(metricIntervals(documents.parts, 3).ve).not.toEqual(metricIntervals(documents.parts, 4).ve);
    expect(metricIntervals(documentsOf(1).parts, 3).ve).toBeNull();
    const silent = documentsOf(12, (x) => new Float32Array(x.length));
    expect(metricIntervals(silent.parts, 3).cosine).toBeNull();
    expect(metricIntervals(silent.parts, 3).ve).not.toBeNull();
    expect(intervalMethod(3)).toMatchObject({ level: 0.95, replicates: 1000, seed: 3 });
  });
});

describe("the difference of two on the same documents", () => {
  const a = documentsOf(30);
  const b = documentsOf(30, (x) => shrunk(x).map((value, i) => value + 0.02 * Math.sin(i)));

  it("has a narrower interval than either, since what they share cancels", () => {
    const { mse } = pairedDifferences(a.parts, b.parts, 0);
    const alone = metricIntervals(a.parts, 0).mse!;
    expect(mse.difference).toBeCloseTo(valuesOf(wholeOf(b)).mse! - valuesOf(wholeOf(a)).mse!, 12);
    expect(mse.interval!.low).toBeLessThanOrEqual(mse.difference!);
    expect(mse.interval!.high).toBeGreaterThanOrEqual(mse.difference!);
    expect(mse.interval!.high - mse.interval!.low).toBeLessThan((alone.high - alone.low) / 5);
  });

  it("is nothing, for certain, of an SAE and itself", () => {
    expect(pairedDifferences(a.parts, a.parts, 0).ve).toMatchObject({
      difference: 0,
      interval: { low: 0, high: 0 },
    });
  });

  it("is refused for other documents, or other tokens of them", () => {
    expect(() => pairedDifferences(a.parts, documentsOf(29).parts, 0)).toThrow(DataError);
    const longer = documentsOf(30);
    add(longer, 4, normals(D_IN, "more"), normals(D_IN, "more"));
    expect(() => pairedDifferences(a.parts, longer.parts, 0)).toThrow(/same tokens of the same documents/);
  });
});

describe("documents beyond what is kept apart", () => {
  const x = normals(D_IN * 64, "many");
  const token = (d: number) => x.subarray((d % 64) * D_IN, ((d % 64) + 1) * D_IN);
  function many(ids: readonly number[]): DocumentSums {
    const documents = new DocumentSums(origin);
    for (const id of ids) add(documents, id, token(id), shrunk(token(id)));
    return documents;
  }
  const ids = Array.from({ length: MAX_DOCUMENTS + 500 }, (_, i) => i * 3);

  it("share blocks: nothing is lost, and order does not matter", () => {
    const forward = many(ids);
    const backward = many([...ids].reverse());
    expect([forward.nDocuments, forward.areShared, many(ids.slice(0, MAX_DOCUMENTS)).areShared]).toEqual([
      ids.length,
      true,
      false,
    ]);
    expect(wholeOf(forward).n).toBe(ids.length);
    expect(forward.parts.map(([key, { n }]) => [key, n])).toEqual(
      backward.parts.map(([key, { n }]) => [key, n]),
    );
    expect(differencesOf(valuesOf(wholeOf(forward)), valuesOf(wholeOf(backward)), 1e-12)).toEqual([]);
  });

  it("are drawn from at most 1024 blocks, the same ones whether they were kept apart or not", () => {
    const apart = many(ids.slice(0, MAX_DOCUMENTS));
    const few = apart.blocks();
    expect(few.length).toBeLessThanOrEqual(MAX_BLOCKS);
    expect(few.length).toBeGreaterThan(MAX_BLOCKS * 0.95);
    const shared = many(ids);
    const later = new Map(shared.blocks());
    expect(few.every(([key, { n }]) => n <= later.get(key)!.n)).toBe(true);
    expect([...later.values()].reduce((sum, { n }) => sum + n, 0)).toBe(ids.length);
  });
});
