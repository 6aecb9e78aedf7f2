/** Gated SAEs as jumprelu SAEs, against the two networks of the definition. */
import { expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { weightRows, wholeWeights } from "../kernels/weight-rows.ts";
import { Philox } from "../random/philox.ts";
import { gatedAsJumprelu } from "./gated.ts";

const [dIn, dSae, nTokens] = [5, 40, 60];

function normals(n: number, purpose: string, scale = 1): Float32Array {
  const stream = new Philox(9, purpose);
  return Float32Array.from({ length: n }, (_, i) => stream.normal(i) * scale);
}

it("opens the same latents, with the same values, negative thresholds among them", async () => {
  const wEnc = normals(dSae * dIn, "wEnc");
  const [bMag, bGate, rMag] = ["mag", "gate", "r"].map((purpose) => normals(dSae, purpose, 0.7));
  const weights = { dIn, dSae, wEnc, wDec: wEnc, bEnc: bMag, bDec: new Float32Array(dIn) };
  const jumprelu = await gatedAsJumprelu("a", weightRows(weights), { bGate, rMag });
  const { wEnc: w, bEnc: b, wDec } = await wholeWeights(jumprelu.rows);
  expect(wDec).toEqual(wEnc);
  const x = normals(nTokens * dIn, "x");
  const counts = { open: 0, shut: 0, shutByGateAlone: 0 };
  for (let t = 0; t < nTokens; t++)
    for (let i = 0; i < dSae; i++) {
      let c = 0;
      let h = b[i];
      for (let j = 0; j < dIn; j++) {
        c += x[t * dIn + j] * wEnc[i * dIn + j];
        h += x[t * dIn + j] * w[i * dIn + j];
      }
      const magnitude = Math.max(0, Math.exp(rMag[i]) * c + bMag[i]);
      const isOpen = c + bGate[i] > 0;
      const gated = isOpen ? magnitude : 0;
      expect(h > jumprelu.threshold[i] ? Math.max(0, h) : 0).toBeCloseTo(gated, 5);
      if (gated > 0) counts.open += 1;
      else if (magnitude > 0) counts.shutByGateAlone += 1;
      else counts.shut += 1;
    }
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(100);
  expect(jumprelu.threshold.some((threshold) => threshold < 0)).toBe(true);
});

it("refuses a scale that is beyond float32, and names the latent", async () => {
  const zeros = new Float32Array(2);
  const rows = weightRows({
    dIn: 1,
    dSae: 2,
    wEnc: zeros,
    wDec: zeros,
    bEnc: zeros,
    bDec: new Float32Array(1),
  });
  for (const r of [100, -800])
    await expect(gatedAsJumprelu("a", rows, { bGate: zeros, rMag: Float32Array.of(0, r) })).rejects.toThrow(
      FormatError,
    );
});
