/**
 * Data to time with: an SAE and activations that it explains. A token is a sum of some k decoder directions with positive
 * coefficients, plus noise, plus a mean; related latents come together; some are far more frequent than others; a few input
 * dimensions have twenty times the scale of the others, as in the residual streams of real models; the encoder is roughly the
 * decoder transposed. Plain random numbers would not do: how many candidates a screen keeps depends on what the data is like.
 * Of a trained SAE on real activations, 256 → 4 096 with k 32, it keeps some 47 a token; of this data, at that size, some 45.
 *
 * A pure function of (size, seed), cheap enough for hundreds of millions of weights: a direction is the sum of two windows,
 * at drawn offsets, into one pool of normal numbers, one of them shared by a family.
 */
import type { SparseActs } from "../kernels/kernels.ts";
import { Philox } from "../random/philox.ts";
import type { BenchSize } from "./sizes.ts";

const POOL = 1 << 18;
/** Wide input dimensions: one of so many, four at most. */
const INPUTS_PER_OUTLIER = 128;
const MOST_OUTLIERS = 4;
const OUTLIER_SCALE = 20;
/** Standard deviation of the noise, in units of the signal's. */
const NOISE = 0.2;
/** How much of an encoder row is not its decoder row. */
const ENCODER_NOISE = 0.3;
/** Latents that share a direction and fire together. Without them, all latents would interfere more than trained ones do. */
const FAMILY = 4;
/** The weight of the family's window, that of the latent's own being 1: directions of a family have a cosine of 0.69. */
const KINSHIP = 1.5;
/** Coefficients are 1/2 plus an exponential of mean 1: their mean, and mean square. */
const MEAN = 1.5;
const MEAN_SQUARE = 3.25;
/** Keeps a dead latent's pre-activations below what is selected. */
const DEAD_BIAS = -2.5;

export class PlantedSae {
  readonly size: BenchSize;
  /** [dSae], 1 for a dead latent: whole families, spread evenly. */
  readonly dead: Uint8Array;
  readonly #seed: number;
  readonly #pool: Float32Array;
  readonly #outliers: readonly number[];
  /** Standard deviation of an ordinary input dimension's signal. */
  readonly #scale: number;

  /** `deadPercent`: of the latents, 0 to 100. */
  constructor(size: BenchSize, { seed = 1, deadPercent = 0 }: { seed?: number; deadPercent?: number } = {}) {
    this.size = size;
    this.#seed = seed;
    const isDead = (family: number) =>
      Math.floor(((family + 1) * deadPercent) / 100) > Math.floor((family * deadPercent) / 100);
    this.dead = Uint8Array.from({ length: size.dSae }, (_, i) => (isDead(Math.floor(i / FAMILY)) ? 1 : 0));
    const normal = new Philox(seed, "bench/pool");
    this.#pool = Float32Array.from({ length: POOL }, (_, i) => normal.normal(i));
    const draw = new Philox(seed, "bench/outliers");
    const nOutliers = Math.min(MOST_OUTLIERS, Math.ceil(size.dIn / INPUTS_PER_OUTLIER));
    this.#outliers = Array.from({ length: nOutliers }, (_, i) => draw.u32(i) % size.dIn);
    const cosine = KINSHIP ** 2 / (KINSHIP ** 2 + 1);
    this.#scale = Math.sqrt((size.k * (MEAN_SQUARE + (FAMILY - 1) * cosine * MEAN ** 2)) / size.dIn);
  }

  /** [dSae]: zero for living latents. */
  bEnc(): Float32Array {
    return Float32Array.from(this.dead, (dead) => dead * DEAD_BIAS);
  }

  /** [dIn]: the mean of the activations. */
  bDec(): Float32Array {
    const offset = this.#offsets("mean", 1).at(0, 0);
    const mean = Float32Array.from(
      { length: this.size.dIn },
      (_, j) => 0.5 * this.#scale * this.#at(offset + j),
    );
    for (const j of this.#outliers) mean[j] *= OUTLIER_SCALE;
    return mean;
  }

  /**
   * Rows of latents from `from` on into both arrays, as many as fit. With u a direction of length 1 and n its decoder norm,
   * 0.8 … 1.2: wDec = n·u and wEnc = (u + noise)/n, so that p = n·(x·wEnc) is u's coefficient in x, with some error.
   *
   * Shapes  wEnc, wDec [n, dIn]
   */
  fillRows(from: number, wEnc: Float32Array, wDec: Float32Array): void {
    const { dIn } = this.size;
    const offsets = this.#offsets("latents", 3);
    const families = this.#offsets("families", 1);
    const pool = this.#pool;
    for (let row = 0; row * dIn < wDec.length; row++) {
      const family = families.at(Math.floor((from + row) / FAMILY), 0);
      const [own, error] = [0, 1].map((column) => offsets.at(from + row, column));
      const norm = 0.8 + 0.4 * (offsets.at(from + row, 2) / POOL);
      const start = row * dIn;
      let square = 0;
      for (let j = 0; j < dIn; j++) {
        const value = KINSHIP * pool[(family + j) & (POOL - 1)] + pool[(own + j) & (POOL - 1)];
        wDec[start + j] = value;
        square += value * value;
      }
      const toUnit = 1 / Math.sqrt(square);
      const noise = ENCODER_NOISE / Math.sqrt(dIn);
      for (let j = 0; j < dIn; j++) {
        const unit = wDec[start + j] * toUnit;
        wEnc[start + j] = (unit + noise * pool[(error + j) & (POOL - 1)]) / norm;
        wDec[start + j] = unit * norm;
      }
      for (const j of this.#outliers) wEnc[start + j] /= OUTLIER_SCALE;
    }
  }

  /** The codes of batch `index`: on average k latents a token, never dead ones. */
  codes(index: number, nTokens: number): SparseActs {
    const { dSae, k } = this.size;
    const nFamilies = Math.ceil(dSae / FAMILY);
    const draw = new Philox(this.#seed, `bench/codes-${index}`);
    const offsets = new Uint32Array(nTokens + 1);
    const entries: { latents: number[]; values: number[] } = { latents: [], values: [] };
    let i = 0;
    for (let token = 0; token < nTokens; token++) {
      const wanted = Math.max(1, Math.round((k / FAMILY) * (0.5 + draw.uniform(i++))));
      const chosen = new Set<number>();
      for (let n = 0; n < wanted; n++) {
        const first = FAMILY * Math.floor(nFamilies * draw.uniform(i++) ** 2); // low ones are frequent
        if (this.dead[first] === 1) continue;
        for (let j = first; j < Math.min(first + FAMILY, dSae); j++) chosen.add(j);
      }
      for (const latent of [...chosen].sort((a, b) => a - b)) {
        entries.latents.push(latent);
        entries.values.push(0.5 - Math.log(1 - draw.uniform(i++)));
      }
      offsets[token + 1] = entries.latents.length;
    }
    return {
      nTokens,
      offsets,
      latents: Uint32Array.from(entries.latents),
      values: Float32Array.from(entries.values),
    };
  }

  /** Makes decoded codes of batch `index` into activations, in place: noise everywhere, large swings in a few dimensions. */
  addNoise(index: number, decoded: Float32Array): void {
    const { dIn } = this.size;
    const offsets = this.#offsets(`noise-${index}`, 1);
    for (let start = 0, token = 0; start < decoded.length; start += dIn, token++) {
      const offset = offsets.at(token, 0);
      for (let j = 0; j < dIn; j++) decoded[start + j] += NOISE * this.#scale * this.#at(offset + j);
      for (const j of this.#outliers)
        decoded[start + j] += OUTLIER_SCALE * this.#scale * this.#at(offset + dIn + j);
    }
  }

  #at(position: number): number {
    return this.#pool[position & (POOL - 1)];
  }

  /** Numbers below POOL, `perRow` for every row. */
  #offsets(purpose: string, perRow: number): { at(row: number, column: number): number } {
    const draw = new Philox(this.#seed, `bench/${purpose}`);
    return { at: (row, column) => draw.u32(row * perRow + column) & (POOL - 1) };
  }
}
