/** The planted data is a function of its seed, says what it claims to say, and an engine finds in it what was planted. */
import { expect, it } from "vitest";
import { createReferenceEngine } from "../kernels/reference/engine.ts";
import { PlantedSae } from "./planted.ts";
import { chooseSize } from "./sizes.ts";
import { openEngine, plantedBatch } from "./workload.ts";

const size = chooseSize("tiny", { dIn: 64, dSae: 512, k: 6 });

function rows(planted: PlantedSae, from: number, n: number) {
  const [wEnc, wDec] = [new Float32Array(n * size.dIn), new Float32Array(n * size.dIn)];
  planted.fillRows(from, wEnc, wDec);
  return { wEnc, wDec };
}

const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);

it("is the same whatever pieces it is made in, and another with another seed", () => {
  const whole = rows(new PlantedSae(size), 0, 512);
  const piece = rows(new PlantedSae(size), 100, 7);
  const [from, to] = [100 * size.dIn, 107 * size.dIn];
  expect(piece.wEnc).toEqual(whole.wEnc.slice(from, to));
  expect(piece.wDec).toEqual(whole.wDec.slice(from, to));
  expect(rows(new PlantedSae(size, { seed: 2 }), 100, 7).wDec).not.toEqual(piece.wDec);
  expect(new PlantedSae(size).codes(3, 20)).toEqual(new PlantedSae(size).codes(3, 20));
  expect(new PlantedSae(size).codes(4, 20).latents).not.toEqual(new PlantedSae(size).codes(3, 20).latents);
});

it("has encoder rows along decoder rows, and different latents", () => {
  const { wEnc, wDec } = rows(new PlantedSae(size), 0, 512);
  const row = (w: Float32Array, i: number) => w.subarray(i * size.dIn, (i + 1) * size.dIn);
  for (let i = 0; i < 512; i += 37) {
    const [e, d] = [row(wEnc, i), row(wDec, i)];
    expect(Math.sqrt(dot(d, d))).toBeGreaterThan(0.79);
    expect(Math.sqrt(dot(d, d))).toBeLessThan(1.21);
    expect(dot(e, d) / Math.sqrt(dot(e, e) * dot(d, d))).toBeGreaterThan(0.8);
    for (const other of [row(wDec, (i + 4) % 512), row(wDec, (i + 100) % 512)])
      expect(Math.abs(dot(d, other)) / Math.sqrt(dot(d, d) * dot(other, other))).toBeLessThan(0.6);
  }
});

it("kills the share of latents that is asked for, and gives them no part in a code", () => {
  const planted = new PlantedSae(size, { deadPercent: 5 });
  expect(planted.dead.reduce((sum, dead) => sum + dead, 0)).toBe(4 * Math.floor((512 / 4) * 0.05));
  const { latents } = planted.codes(0, 200);
  expect([...latents].filter((latent) => planted.dead[latent] === 1)).toEqual([]);
  expect(planted.bEnc().every((bias, i) => bias < 0 === (planted.dead[i] === 1))).toBe(true);
  expect(new PlantedSae(size).dead.includes(1)).toBe(false);
});

it("gives activations with about k latents a token, a few wide dimensions, and codes that an engine finds again", async () => {
  const planted = new PlantedSae(size);
  const engine = await openEngine(createReferenceEngine, planted, { training: false, rescale: true });
  const nTokens = 200;
  const codes = planted.codes(0, nTokens);
  expect(codes.values.length / nTokens).toBeGreaterThan(0.6 * size.k);
  expect(codes.values.length / nTokens).toBeLessThan(1.3 * size.k);
  const x = await plantedBatch(engine, planted, 0, nTokens);

  const bDec = planted.bDec();
  const scale = Array.from({ length: size.dIn }, (_, j) => {
    let sum = 0;
    for (let t = 0; t < nTokens; t++) sum += (x[t * size.dIn + j] - bDec[j]) ** 2;
    return Math.sqrt(sum / nTokens);
  }).sort((a, b) => a - b);
  const ordinary = scale[size.dIn >> 1];
  expect(scale[size.dIn - 1]).toBeGreaterThan(10 * ordinary);
  expect(scale[size.dIn - 5]).toBeLessThan(2 * ordinary);

  const found = await engine.encode(x, { kind: "batch-topk", k: size.k });
  const key = (acts: typeof codes) =>
    Array.from({ length: nTokens }, (_, t) =>
      [...acts.latents.subarray(acts.offsets[t], acts.offsets[t + 1])].map((latent) => `${t} ${latent}`),
    ).flat();
  const there = new Set(key(codes));
  const again = key(found).filter((entry) => there.has(entry)).length;
  expect(again / there.size).toBeGreaterThan(0.5);
  await engine.dispose();
});
