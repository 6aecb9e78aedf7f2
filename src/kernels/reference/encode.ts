/**
 * Pre-activations, a tile of tokens at a time:
 *   c = x − bDec·[applyBDecToInput]        h = c · wEncᵀ + bEnc        p = h·n  if rescaling, else h
 * Sums in f64, results rounded to f32 once. A tile is dense over latents, so that selection sees whole rows; all the
 * tokens' rows together are never held.
 */
import type { EngineConfig, Weights } from "../kernels.ts";
import { Breath } from "./breath.ts";

/** Values a tile may hold: 16 MB of f32. */
const TILE_VALUES = 1 << 22;

/** Called for tokens first … first + nTokens; `p` [nTokens, dSae] is overwritten by the next tile. */
export type TileVisitor = (p: Float32Array, first: number, nTokens: number) => void;

/** ‖wDec[i]‖₂ of every latent, [dSae]. */
export function decoderNorms({ wDec, dIn, dSae }: Weights): Float32Array {
  const norms = new Float32Array(dSae);
  for (let i = 0; i < dSae; i++) {
    let sum = 0;
    for (let j = i * dIn; j < (i + 1) * dIn; j++) sum += wDec[j] * wDec[j];
    norms[i] = Math.sqrt(sum);
  }
  return norms;
}

/** Visits p [nTokens, dSae] in tiles of tokens, ascending. `norms`: n [dSae] if rescaling, else null. */
export async function visitPreActs(
  x: Float32Array,
  weights: Weights,
  config: EngineConfig,
  norms: Float32Array | null,
  visit: TileVisitor,
): Promise<void> {
  const { dIn, dSae } = config;
  const nTokens = x.length / dIn;
  const tileTokens = Math.min(nTokens, 64, Math.max(2, Math.floor(TILE_VALUES / dSae)));
  const p = new Float32Array(tileTokens * dSae);
  const c = new Float64Array((tileTokens + 1) * dIn); // one row more: tokens are taken in pairs
  const breath = new Breath();
  for (let first = 0; first < nTokens; first += tileTokens) {
    const n = Math.min(tileTokens, nTokens - first);
    centre(x, first, n, config, weights.bDec, c);
    if (first > 0 && breath.due()) await breath.take();
    for (let from = 0; from < dSae; from += LATENT_BLOCK) {
      preActsOfBlock(c, n, weights, norms, from, Math.min(from + LATENT_BLOCK, dSae), p);
      if (breath.due()) await breath.take();
    }
    visit(p, first, n);
  }
}

/** Latents computed between two looks at the clock. */
const LATENT_BLOCK = 1024;

/** c = x − bDec·[applyBDecToInput] for tokens first … first + n, f64. */
export function centre(
  x: Float32Array,
  first: number,
  n: number,
  { dIn, applyBDecToInput }: EngineConfig,
  bDec: Float32Array,
  c: Float64Array,
): void {
  for (let t = 0; t < n; t++)
    for (let j = 0; j < dIn; j++)
      c[t * dIn + j] = x[(first + t) * dIn + j] - (applyBDecToInput ? bDec[j] : 0);
}

/** Columns [from, to) of p. Four latents by two tokens at a time, their rows padded with zeros at the edges. */
function preActsOfBlock(
  c: Float64Array,
  nTokens: number,
  { dIn, dSae, wEnc, bEnc }: Weights,
  norms: Float32Array | null,
  from: number,
  to: number,
  p: Float32Array,
): void {
  const rows = new Float64Array(4 * dIn);
  const h = new Float64Array(8);
  for (let i = from; i < to; i += 4) {
    const nLatents = Math.min(4, to - i);
    for (let j = 0; j < nLatents * dIn; j++) rows[j] = wEnc[i * dIn + j];
    for (let t = 0; t < nTokens; t += 2) {
      dotFourByTwo(rows, c, t * dIn, dIn, h);
      for (let u = 0; u < Math.min(2, nTokens - t); u++) {
        for (let k = 0; k < nLatents; k++) {
          const pre = Math.fround(h[u * 4 + k] + bEnc[i + k]);
          p[(t + u) * dSae + i + k] = norms === null ? pre : pre * norms[i + k];
        }
      }
    }
  }
}

/** h[u·4 + k] = ⟨row k, token u⟩ for four rows and two tokens, each sum ascending in f64. */
function dotFourByTwo(rows: Float64Array, c: Float64Array, at: number, d: number, h: Float64Array): void {
  let a0 = 0;
  let a1 = 0;
  let a2 = 0;
  let a3 = 0;
  let b0 = 0;
  let b1 = 0;
  let b2 = 0;
  let b3 = 0;
  for (let j = 0; j < d; j++) {
    const x = c[at + j];
    const y = c[at + d + j];
    const w0 = rows[j];
    const w1 = rows[d + j];
    const w2 = rows[2 * d + j];
    const w3 = rows[3 * d + j];
    a0 += w0 * x;
    a1 += w1 * x;
    a2 += w2 * x;
    a3 += w3 * x;
    b0 += w0 * y;
    b1 += w1 * y;
    b2 += w2 * y;
    b3 += w3 * y;
  }
  h[0] = a0;
  h[1] = a1;
  h[2] = a2;
  h[3] = a3;
  h[4] = b0;
  h[5] = b1;
  h[6] = b2;
  h[7] = b3;
}
