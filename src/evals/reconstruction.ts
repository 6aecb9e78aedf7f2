/**
 * Streaming statistics of activations and their reconstructions, in fp64. Parts merge: any chunks in any order give the
 * same numbers to about 1e-15 relative. Variance is kept as (n, mean, M2) and joined by the formula of Chan, Golub and
 * LeVeque (1979), which has no cancellation, however far the data lie from zero.
 */
import { DataError, ShapeError } from "../errors.ts";
import { type MetricValues, metric, ratio } from "./metrics.ts";
import { CompensatedSum } from "./sum.ts";

/** The metrics that need x and x̂ only. */
export type ReconstructionMetrics = Omit<MetricValues, "l0">;

export class ReconstructionStats {
  readonly dIn: number;
  #n = 0;
  /** x̄ so far, [dIn] */
  readonly #mean: Float64Array;
  /** M2 = Σ‖x−x̄‖² */
  readonly #scatter = new CompensatedSum();
  /** Σ‖x−x̂‖² */
  readonly #sse = new CompensatedSum();
  /** Σ‖x̂‖² */
  readonly #reconEnergy = new CompensatedSum();
  /** Σ⟨x, x̂⟩ */
  readonly #inner = new CompensatedSum();
  readonly #cosines = new CompensatedSum();
  #nCosines = 0;
  readonly #ratios = new CompensatedSum();
  #nRatios = 0;

  constructor(dIn: number) {
    this.dIn = dIn;
    this.#mean = new Float64Array(dIn);
  }

  /** Tokens seen. */
  get n(): number {
    return this.#n;
  }

  /**
   * Adds tokens: x and recon [n, dIn].
   * @throws {ShapeError} the two differ in length, or are no multiple of dIn
   * @throws {DataError} a number of either is not finite
   */
  add(x: Float32Array, recon: Float32Array): void {
    if (recon.length !== x.length) throw new ShapeError("reconstructions", recon.length, x.length);
    if (x.length % this.dIn !== 0)
      throw new ShapeError("activations", x.length, `a multiple of dIn ${this.dIn}`);
    const n = x.length / this.dIn;
    if (n === 0) return;
    for (let row = 0; row < n; row++) this.#addToken(x, recon, row * this.dIn);
    const { mean, scatter } = chunkVariance(x, n, this.dIn);
    this.#join(n, mean, scatter);
  }

  /** Adds what `other` has seen; `other` stays as it is. */
  merge(other: ReconstructionStats): void {
    if (other.dIn !== this.dIn) throw new ShapeError("dIn of the statistics to merge", other.dIn, this.dIn);
    if (other.#n === 0) return;
    this.#sse.merge(other.#sse);
    this.#reconEnergy.merge(other.#reconEnergy);
    this.#inner.merge(other.#inner);
    this.#cosines.merge(other.#cosines);
    this.#nCosines += other.#nCosines;
    this.#ratios.merge(other.#ratios);
    this.#nRatios += other.#nRatios;
    this.#join(other.#n, other.#mean, other.#scatter);
  }

  /** @throws {DataError} all tokens seen are equal (or there are none): there is no variance to explain */
  metrics(): ReconstructionMetrics {
    const n = this.#n;
    const scatter = this.#scatter.value;
    if (!(scatter > 0)) {
      throw new DataError(
        `the ${n} evaluated activations do not vary, so variance explained is not defined`,
        {
          hint: "evaluate on more text",
        },
      );
    }
    return {
      ve: metric("ve", 1 - this.#sse.value / scatter, n),
      mse: metric("mse", this.#sse.value / n, n),
      cosine: metric("cosine", ratio(this.#cosines.value, this.#nCosines), this.#nCosines),
      l2Ratio: metric("l2Ratio", ratio(this.#ratios.value, this.#nRatios), this.#nRatios),
      relativeReconstructionBias: metric(
        "relativeReconstructionBias",
        ratio(this.#reconEnergy.value, this.#inner.value),
        n,
      ),
    };
  }

  #addToken(x: Float32Array, recon: Float32Array, start: number): void {
    let sse = 0;
    let xx = 0;
    let rr = 0;
    let xr = 0;
    for (let i = start; i < start + this.dIn; i++) {
      const a = x[i];
      const b = recon[i];
      sse += (a - b) * (a - b);
      xx += a * a;
      rr += b * b;
      xr += a * b;
    }
    if (!Number.isFinite(sse)) {
      const side = Number.isFinite(xx) ? "reconstruction" : "activation";
      throw new DataError(`the ${side} of evaluated token ${this.#n + start / this.dIn} is not finite`);
    }
    this.#sse.add(sse);
    this.#reconEnergy.add(rr);
    this.#inner.add(xr);
    if (xx > 0) {
      this.#ratios.add(Math.sqrt(rr / xx));
      this.#nRatios += 1;
    }
    if (xx > 0 && rr > 0) {
      this.#cosines.add(xr / Math.sqrt(xx * rr));
      this.#nCosines += 1;
    }
  }

  /** Joins n tokens of the given mean and scatter: M2 = M2ₐ + M2ᵦ + ‖x̄ᵦ−x̄ₐ‖² · nₐnᵦ/n. */
  #join(n: number, mean: Float64Array, scatter: CompensatedSum): void {
    const total = this.#n + n;
    let between = 0;
    for (let j = 0; j < this.dIn; j++) {
      const shift = mean[j] - this.#mean[j];
      between += shift * shift;
      this.#mean[j] += (shift * n) / total;
    }
    this.#scatter.merge(scatter);
    this.#scatter.add((between * this.#n * n) / total);
    this.#n = total;
  }
}

/** Mean and Σ‖x−mean‖² of one chunk, in two passes. */
function chunkVariance(x: Float32Array, n: number, dIn: number) {
  const mean = new Float64Array(dIn);
  for (let i = 0, j = 0; i < x.length; i++, j = j + 1 === dIn ? 0 : j + 1) mean[j] += x[i];
  for (let j = 0; j < dIn; j++) mean[j] /= n;
  const scatter = new CompensatedSum();
  for (let start = 0; start < x.length; start += dIn) {
    let row = 0;
    for (let j = 0; j < dIn; j++) row += (x[start + j] - mean[j]) ** 2;
    scatter.add(row);
  }
  return { mean, scatter };
}
