/** Two SAEs latent by latent: an SAE with itself, with its latents shuffled, moved, folded; of other widths; on disk. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { FormatError, ShapeError } from "../../errors.ts";
import { writeSafetensors } from "../../formats/safetensors.ts";
import { createReferenceEngine } from "../../kernels/reference/engine.ts";
import { Philox } from "../../random/philox.ts";
import { plainConfig } from "../../sae/dialects/config.ts";
import type { Sae } from "../../sae/sae.ts";
import { compareLatents } from "./comparison.ts";
import { loadComparedLatents, saveComparedLatents } from "./comparison-file.ts";

const scratch = await mkdtemp(join(tmpdir(), "comparison-"));
afterAll(() => rm(scratch, { recursive: true }));
const options = { createEngine: createReferenceEngine };
const dIn = 10;

/** A JumpReLU SAE of the given rows; thresholds 1. */
function saeOf(wEnc: Float32Array, wDec: Float32Array, threshold: number | null = 1): Sae {
  const dSae = wDec.length / dIn;
  return {
    config: plainConfig({
      architecture: threshold === null ? "standard" : "jumprelu",
      dIn,
      dSae,
      dtype: "float32",
      applyBDecToInput: true,
    }),
    weights: { dIn, dSae, wEnc, wDec, bEnc: new Float32Array(dSae), bDec: new Float32Array(dIn) },
    threshold: threshold === null ? null : new Float32Array(dSae).fill(threshold),
    runnerConfig: null,
  };
}

function normals(nRows: number, seed: number): Float32Array {
  const stream = new Philox(seed, "comparison");
  return Float32Array.from({ length: nRows * dIn }, (_, i) => stream.normal(i));
}

const known = (sae: Sae, counts: number[], nTokens: number) => ({ sae, firing: { counts, nTokens } });
const unknown = (sae: Sae) => ({ sae, firing: null });

describe("two SAEs", () => {
  const n = 40;
  const a = saeOf(normals(n, 1), normals(n, 2));

  it("an SAE with itself: nothing moved, every latent is its own nearest", async () => {
    const { summary, latents } = await compareLatents(unknown(a), unknown(a), options);
    expect(latents.byIndex!.decoderCosine.every((c) => 1 - c < 1e-12)).toBe(true);
    expect([...latents.nearestInB.index]).toEqual(Array.from({ length: n }, (_, i) => i));
    expect(summary.byIndex).toMatchObject({ nLatents: n, nIndexIsNearest: n, logFrequencyChange: null });
    expect(summary.byIndex!.nMovedBelow.map((moved) => moved.nLatents)).toEqual([0, 0, 0]);
    expect(summary.byIndex!.thresholdRatio!.quantiles.every(({ value }) => value === 1)).toBe(true);
    expect(summary.mutual.nPairs).toBe(n);
    expect(JSON.parse(JSON.stringify(summary))).toEqual(summary);
  });

  it("latents in another order are found again, and their index no longer helps", async () => {
    const order = Array.from({ length: n }, (_, i) => (7 * i + 3) % n);
    const shuffled = (rows: Float32Array) =>
      Float32Array.from(order.flatMap((from) => [...rows.subarray(from * dIn, (from + 1) * dIn)]));
    const b = saeOf(shuffled(a.weights.wEnc), shuffled(a.weights.wDec));
    const { summary, latents } = await compareLatents(unknown(a), unknown(b), options);
    expect([...latents.nearestInA.index]).toEqual(order);
    expect([...latents.nearestInB.index].map((j) => order[j])).toEqual(
      Array.from({ length: n }, (_, i) => i),
    );
    expect(summary.mutual.nPairs).toBe(n);
    expect(summary.byIndex!.nIndexIsNearest).toBe(order.filter((from, i) => from === i).length);
  });

  it("counts how many moved by how much, by the equations", async () => {
    const noise = normals(n, 3);
    const moved = a.weights.wDec.map((value, i) => value + (Math.floor(i / dIn) / n) * noise[i]);
    const b = saeOf(a.weights.wEnc, moved);
    const { summary, latents } = await compareLatents(unknown(a), unknown(b), options);
    const row = (rows: Float32Array, i: number) => Array.from(rows.subarray(i * dIn, (i + 1) * dIn));
    const dot = (x: number[], y: number[]) => x.reduce((sum, v, j) => sum + v * y[j], 0);
    const cosines = Array.from({ length: n }, (_, i) => {
      const [x, y] = [row(a.weights.wDec, i), row(moved, i)];
      return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
    });
    for (const [i, wanted] of cosines.entries())
      expect(latents.byIndex!.decoderCosine[i]).toBeCloseTo(wanted, 12);
    expect(latents.byIndex!.encoderCosine.every((c) => 1 - c < 1e-12)).toBe(true);
    expect(summary.byIndex!.nMovedBelow).toEqual(
      [0.99, 0.9, 0.5].map((cosine) => ({ cosine, nLatents: cosines.filter((c) => c < cosine).length })),
    );
    expect(summary.byIndex!.nMovedBelow[0].nLatents).toBeGreaterThan(0);
  });

  it("folding decoder norms changes no cosine and no threshold ratio", async () => {
    const norms = Array.from({ length: n }, (_, i) =>
      Math.sqrt(a.weights.wDec.subarray(i * dIn, (i + 1) * dIn).reduce((sum, v) => sum + v * v, 0)),
    );
    const folded: Sae = {
      ...saeOf(
        a.weights.wEnc.map((v, i) => v * norms[Math.floor(i / dIn)]),
        a.weights.wDec.map((v, i) => v / norms[Math.floor(i / dIn)]),
      ),
      threshold: Float32Array.from(norms),
    };
    const { latents } = await compareLatents(unknown(a), unknown(folded), options);
    for (const ratio of latents.byIndex!.thresholdRatio!) expect(ratio).toBeCloseTo(1, 6);
    for (const cosine of latents.byIndex!.decoderCosine) expect(cosine).toBeCloseTo(1, 12);
  });

  it("frequencies: in decades; silent in one is half a token, in both unknown", async () => {
    const counts = (first: number[]) => [...first, ...new Array<number>(n - first.length).fill(10)];
    const { summary, latents } = await compareLatents(
      known(a, counts([1, 0, 5, 0]), 100),
      known(a, counts([100, 5, 0, 0]), 1000),
      options,
    );
    const change = latents.byIndex!.logFrequencyChange!;
    expect(change[0]).toBeCloseTo(1, 12);
    expect(change[1]).toBeCloseTo(0, 12);
    expect(change[2]).toBeCloseTo(-2, 12);
    expect(change[3]).toBeNaN();
    expect(summary.byIndex!.logFrequencyChange).toMatchObject({ n: n - 1 });
  });

  it("SAEs of other widths are matched by cosine alone", async () => {
    const wide = saeOf(normals(n + 5, 4), Float32Array.from([...normals(5, 5), ...a.weights.wDec]));
    const { summary, latents } = await compareLatents(unknown(a), unknown(wide), options);
    expect([summary.byIndex, latents.byIndex]).toEqual([null, null]);
    expect([...latents.nearestInB.index]).toEqual(Array.from({ length: n }, (_, i) => i + 5));
    expect(summary.nearestInA.n).toBe(n + 5);
    expect(summary.mutual.nPairs).toBe(n);
  });

  it("without thresholds there is no ratio; zero rows are undefined and nobody's match", async () => {
    const wDec = a.weights.wDec.slice().fill(0, 0, dIn);
    const { summary, latents } = await compareLatents(
      unknown(saeOf(a.weights.wEnc, wDec, null)),
      unknown(a),
      options,
    );
    expect(latents.byIndex!.thresholdRatio).toBeNull();
    expect(latents.byIndex!.decoderCosine[0]).toBeNaN();
    expect(latents.nearestInB.index[0]).toBe(-1);
    expect([...latents.nearestInA.index]).not.toContain(0);
    expect(summary.mutual.nPairs).toBe(n - 1);
    expect(summary.byIndex!.decoderCosine.nUndefined).toBe(1);
  });

  it("twins: an index as near as the nearest counts as its own match", async () => {
    const wDec = a.weights.wDec.slice();
    wDec.copyWithin(9 * dIn, 4 * dIn, 5 * dIn);
    const twins = saeOf(a.weights.wEnc, wDec);
    const { summary, latents } = await compareLatents(unknown(twins), unknown(twins), options);
    expect(latents.nearestInB.index[9]).toBe(4);
    expect(summary.byIndex!.nIndexIsNearest).toBe(n);
    expect(summary.mutual.nPairs).toBe(n);
  });

  it("refuses SAEs of other inputs and counts of another SAE; tells how far it is", async () => {
    const other: Sae = { ...a, config: { ...a.config, dIn: 5 } };
    await expect(compareLatents(unknown(a), unknown(other), options)).rejects.toThrow(ShapeError);
    await expect(compareLatents(known(a, [1, 2], 10), unknown(a), options)).rejects.toThrow(/firing counts/);
    const seen: number[] = [];
    const onProgress = ({ done, total }: { done: number; total: number }) => seen.push(done / total);
    await compareLatents(unknown(a), unknown(a), { ...options, chunkRows: 20, onProgress });
    expect(seen).toEqual([0.25, 0.5, 0.75, 1]);
  });
});

describe("on disk", () => {
  const a = saeOf(normals(30, 1), normals(30, 2));

  it("the arrays come back as they were, undefined ones and absent ones included", async () => {
    const wDec = a.weights.wDec.slice().fill(0, 0, dIn);
    const path = join(scratch, "same.safetensors");
    const compared = await compareLatents(unknown(a), unknown(saeOf(a.weights.wEnc, wDec)), options);
    await saveComparedLatents(path, compared);
    const { summary, latents } = compared;
    expect(await loadComparedLatents(path)).toEqual({ latents, a: summary.a.hash, b: summary.b.hash });
  });

  it("of other widths there is nothing by index", async () => {
    const path = join(scratch, "wide.safetensors");
    const compared = await compareLatents(
      unknown(a),
      unknown(saeOf(normals(31, 3), normals(31, 4))),
      options,
    );
    await saveComparedLatents(path, compared);
    expect((await loadComparedLatents(path)).latents).toEqual(compared.latents);
  });

  it("refuses other files, and indices of no latent", async () => {
    const other = join(scratch, "other.safetensors");
    await writeSafetensors(other, []);
    await expect(loadComparedLatents(other)).rejects.toThrow(/not a comparison of latents/);
    await writeFile(other, "no");
    await expect(loadComparedLatents(other)).rejects.toThrow(FormatError);
    const compared = await compareLatents(unknown(a), unknown(a), options);
    compared.latents.nearestInB.index[3] = 30;
    const wrong = join(scratch, "wrong.safetensors");
    await saveComparedLatents(wrong, compared);
    await expect(loadComparedLatents(wrong)).rejects.toThrow(/nearest_in_b\.index\[3\] is 30, of 30 latents/);
  });
});
