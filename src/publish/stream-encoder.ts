/**
 * Pre-activations of a few inputs in one pass over the encoder as it lies in the file: W_enc [dIn, dSae], a block of rows
 * at a time, sums in double precision. The next block is read while one is added; the matrix is never in memory.
 */
import type { OpenSaelens } from "../formats/saelens.ts";
import type { Sae } from "../sae/sae.ts";
import { type PlainInputs, squares } from "./plain-sae.ts";

/** Values of W_enc read at a time: 4 MB of f32. */
const BLOCK_VALUES = 1 << 20;
/** Latents whose sums stay in the cache while a block's rows are added. */
const TILE = 2048;

/** p [dSae, n], as `plain-sae.ts` defines it. */
export async function preActivations(
  file: OpenSaelens,
  { config }: Pick<Sae, "config">,
  { n, centred }: PlainInputs,
): Promise<Float64Array> {
  const { dIn, dSae } = config;
  const p = new Float64Array(dSae * n);
  const step = Math.min(dIn, Math.max(1, Math.floor(BLOCK_VALUES / dSae)));
  let next = file.encoderInputs(0, step);
  for (let from = 0; from < dIn; from += step) {
    const to = Math.min(dIn, from + step);
    const block = await next;
    if (to < dIn) next = file.encoderInputs(to, Math.min(dIn, to + step)); // read while this one is added
    next.catch(() => {}); // told when it is waited for
    for (let tile = 0; tile < dSae; tile += TILE)
      for (let i = from; i < to; i += 2)
        addInputs(
          p,
          block,
          (i - from) * dSae,
          dSae,
          tile,
          Math.min(dSae, tile + TILE),
          pair(centred, dIn, i, to, n),
        );
  }
  // a gated SAE in the words of `sae/gated.ts`: p = e^r·(c·W) + b_mag
  for (let j = 0; j < dSae; j++) {
    const scale = file.gate === null ? 1 : Math.exp(file.gate.rMag[j]);
    for (let t = 0; t < n; t++) p[j * n + t] = p[j * n + t] * scale + file.bEnc[j];
  }
  if (config.rescaleActsByDecoderNorm) await scaleByNorms(p, file, config, n);
  return p;
}

/** c of dimensions i and i + 1 for the n inputs: [2, n]; of dimension `to` and beyond, zeros. */
function pair(centred: Float64Array, dIn: number, i: number, to: number, n: number): Float64Array {
  const c = new Float64Array(2 * n);
  for (let t = 0; t < n; t++) {
    c[t] = centred[t * dIn + i];
    if (i + 1 < to) c[n + t] = centred[t * dIn + i + 1];
  }
  return c;
}

/** p[j, t] += c[0, t] · block[at + j] + c[1, t] · block[at + dSae + j] for latents [from, to). */
function addInputs(
  p: Float64Array,
  block: Float32Array,
  at: number,
  dSae: number,
  from: number,
  to: number,
  c: Float64Array,
): void {
  const n = c.length / 2;
  const second = at + dSae < block.length ? at + dSae : at; // beyond the last row: any, times zero
  if (n !== 8) {
    for (let j = from; j < to; j++)
      for (let t = 0; t < n; t++) p[j * n + t] += c[t] * block[at + j] + c[n + t] * block[second + j];
    return;
  }
  const [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = c; // the usual n, without a loop
  for (let j = from, e = from * 8; j < to; j++, e += 8) {
    const a = block[at + j];
    const b = block[second + j];
    p[e] += a0 * a + b0 * b;
    p[e + 1] += a1 * a + b1 * b;
    p[e + 2] += a2 * a + b2 * b;
    p[e + 3] += a3 * a + b3 * b;
    p[e + 4] += a4 * a + b4 * b;
    p[e + 5] += a5 * a + b5 * b;
    p[e + 6] += a6 * a + b6 * b;
    p[e + 7] += a7 * a + b7 * b;
  }
}

async function scaleByNorms(
  p: Float64Array,
  file: OpenSaelens,
  { dIn, dSae }: Sae["config"],
  n: number,
): Promise<void> {
  const step = Math.max(1, Math.floor(BLOCK_VALUES / dIn));
  for (let from = 0; from < dSae; from += step) {
    const to = Math.min(dSae, from + step);
    const block = await file.rows("wDec", from, to);
    for (let j = from; j < to; j++) {
      const norm = Math.sqrt(squares(block.subarray((j - from) * dIn, (j + 1 - from) * dIn)));
      for (let t = 0; t < n; t++) p[j * n + t] *= norm;
    }
  }
}
