/** Outliers against brute force: sort, leave out, compute again. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { D_IN, naive, normals, pick, reconstructor, rowsFor, shrunk } from "../../test/evals/fixtures.ts";
import { ROLES } from "../corpus/windows.ts";
import { evaluateRows } from "./evaluate.ts";
import { gini, largest, tokensOf } from "./outliers.ts";

/** Tokens some of which are far larger, and some of which are far worse than others. */
function uneven(n: number) {
  const x = normals(n * D_IN, "x", 1);
  for (let t = 0; t < n; t += 97) for (let j = 0; j < D_IN; j++) x[t * D_IN + j] *= 30;
  const recon = shrunk(x);
  for (let t = 5; t < n; t += 53) for (let j = 0; j < D_IN; j++) recon[t * D_IN + j] += 1 + t / 100;
  return { x, recon };
}

/** Evaluates x with x̂ = recon, whatever the chunks. */
async function evaluateBoth(x: Float32Array, recon: Float32Array, chunkRows?: number) {
  let at = 0;
  const answers = reconstructor((chunk) => {
    const answer = recon.slice(at, at + chunk.length);
    at += chunk.length;
    return answer;
  });
  const n = x.length / D_IN;
  const numbers = (factor: number) => Uint32Array.from({ length: n }, (_, t) => t * factor);
  const labels = {
    tokenIds: numbers(3),
    window: Uint32Array.from({ length: n }, (_, t) => t >> 4),
    position: Uint32Array.from({ length: n }, (_, t) => t & 15),
    document: Uint32Array.from({ length: n }, (_, t) => t >> 5),
    role: new Uint8Array(n).fill(ROLES.indexOf("user")),
  };
  const around = (window: number, position: number) =>
    window % 2 === 0 ? { before: `${window}`, token: `${position}`, after: "…" } : null;
  const { result } = await evaluateRows(
    answers,
    { ...rowsFor(x), ...labels },
    {
      chunkRows,
      labels: { sourceOf: (document) => `source ${document}` },
      texts: { around },
    },
  );
  return result;
}

function bruteForce(x: Float32Array, recon: Float32Array) {
  const n = x.length / D_IN;
  const tokens = Array.from({ length: n }, (_, t) => {
    let [sse, xx] = [0, 0];
    for (let j = t * D_IN; j < (t + 1) * D_IN; j++) {
      sse += (x[j] - recon[j]) ** 2;
      xx += x[j] ** 2;
    }
    return { t, sse, norm: Math.sqrt(xx) };
  });
  const whole = tokens.reduce((sum, { sse }) => sum + sse, 0);
  const without = (key: "sse" | "norm", m: number) => {
    const ranked = [...tokens].sort((a, b) => b[key] - a[key] || a.t - b.t);
    const kept = ranked.slice(m).map(({ t }) => t);
    return {
      share: ranked.slice(0, m).reduce((sum, { sse }) => sum + sse, 0) / whole,
      ve: naive(pick(x, kept), pick(recon, kept)).ve,
    };
  };
  return { tokens, whole, without };
}

describe("outliers", () => {
  it.each([undefined, 64, 700])("leave out what brute force leaves out, chunks of %s", async (chunkRows) => {
    const { x, recon } = uneven(2500);
    const { outliers } = await evaluateBoth(x, recon, chunkRows);
    const { without } = bruteForce(x, recon);
    expect(outliers!.shares.map(({ share, nTokens }) => [share, nTokens])).toEqual([
      [0.0001, 1],
      [0.001, 3],
      [0.01, 25],
    ]);
    for (const { nTokens, sseShare, veWithout, sseShareByNorm, veWithoutByNorm } of outliers!.shares) {
      const [byError, byNorm] = [without("sse", nTokens), without("norm", nTokens)];
      expect(sseShare).toBeCloseTo(byError.share, 12);
      expect(veWithout).toBeCloseTo(byError.ve, 12);
      expect(sseShareByNorm).toBeCloseTo(byNorm.share, 12);
      expect(veWithoutByNorm).toBeCloseTo(byNorm.ve, 12);
    }
  });

  it("list the fifty worst with what is known of them, worst first", async () => {
    const { x, recon } = uneven(2500);
    const { outliers } = await evaluateBoth(x, recon);
    const { tokens, whole } = bruteForce(x, recon);
    const norms = tokens.map(({ norm }) => norm).sort((a, b) => a - b);
    const median = (norms[1249] + norms[1250]) / 2;
    const worst = [...tokens].sort((a, b) => b.sse - a.sse || a.t - b.t).slice(0, 50);
    expect(outliers!.worst).toEqual(
      worst.map(({ t, sse, norm }) => ({
        sse: expect.closeTo(sse, 9),
        sseShare: expect.closeTo(sse / whole, 12),
        norm: expect.closeTo(norm, 9),
        normRatio: expect.closeTo(norm / median, 9),
        tokenId: t * 3,
        source: `source ${t >> 5}`,
        role: "user",
        document: t >> 5,
        window: t >> 4,
        position: t & 15,
        token: (t >> 4) % 2 === 0 ? `${t & 15}` : null,
        before: (t >> 4) % 2 === 0 ? `${t >> 4}` : null,
        after: (t >> 4) % 2 === 0 ? "…" : null,
      })),
    );
  });

  it("have a concentration curve that rises from the worst token to all, ever more slowly", async () => {
    const { x, recon } = uneven(2500);
    const { curve, worst, shares } = (await evaluateBoth(x, recon)).outliers!;
    expect(curve.length).toBeGreaterThan(45);
    expect(curve[0]).toEqual({ tokenShare: 1 / 2500, sseShare: expect.closeTo(worst[0].sseShare, 12) });
    expect(curve.at(-1)).toEqual({ tokenShare: 1, sseShare: 1 });
    const slopes = curve.map(({ tokenShare, sseShare }, i) => {
      const before = curve[i - 1] ?? { tokenShare: 0, sseShare: 0 };
      expect(tokenShare).toBeGreaterThan(before.tokenShare);
      return (sseShare - before.sseShare) / (tokenShare - before.tokenShare);
    });
    for (let i = 1; i < slopes.length; i++) expect(slopes[i]).toBeLessThanOrEqual(slopes[i - 1] + 1e-9);
    const three = curve.find(({ tokenShare }) => tokenShare === 3 / 2500)!;
    expect(three.sseShare).toBeCloseTo(shares[1].sseShare, 12);
  });

  it("of a perfect reconstruction: no worst tokens, all equal", async () => {
    const x = normals(300 * D_IN, "x");
    const { gini, worst, curve, shares } = (await evaluateBoth(x, x)).outliers!;
    expect([gini, worst.length, curve.at(-1)!.sseShare]).toEqual([0, 0, 1]);
    expect(shares[2]).toMatchObject({ nTokens: 3, sseShare: 0.01, veWithout: 1, veWithoutByNorm: 1 });
  });

  it("of two tokens: one is left, which has no VE", async () => {
    const x = normals(2 * D_IN, "x");
    const { shares } = (await evaluateBoth(x, shrunk(x))).outliers!;
    expect(shares.map(({ nTokens, veWithout }) => [nTokens, veWithout])).toEqual([
      [1, null],
      [1, null],
      [1, null],
    ]);
  });
});

describe("the largest of some values", () => {
  it("are those of a stable sort, also among ties", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 40 }),
        fc.nat(),
        (list, m) => {
          const values = Float64Array.from(list);
          const n = m % (values.length + 1);
          const ranked = list.map((_, i) => i).sort((a, b) => list[b] - list[a] || a - b);
          expect(largest(values, values.slice().sort(), n)).toEqual(ranked.slice(0, n).sort((a, b) => a - b));
        },
      ),
    );
  });
  it.each([
    [0.01, 100, 1],
    [0.01, 700, 7],
    [0.01, 701, 8],
    [0.001, 3000, 3],
    [0.0001, 1, 1],
  ])("%d of %d tokens are %d", (share, n, wanted) => {
    expect(tokensOf(share, n)).toBe(wanted);
  });
});

describe("the Gini coefficient", () => {
  it("is half the mean difference of two over the mean, 0 for equal values, (n−1)/n for one that has all", () => {
    expect(gini(Float64Array.of(2, 2, 2, 2))).toBeCloseTo(0, 15);
    expect(gini(Float64Array.of(0, 0, 0, 5))).toBeCloseTo(0.75, 15);
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 1, maxLength: 20 }),
        (list) => {
          const sum = list.reduce((a, b) => a + b, 0);
          fc.pre(sum > 1e-6);
          const differences = list
            .flatMap((a) => list.map((b) => Math.abs(a - b)))
            .reduce((a, b) => a + b, 0);
          expect(gini(Float64Array.from(list).sort())).toBeCloseTo(differences / (2 * list.length * sum), 12);
        },
      ),
    );
  });
});
