/** Mean and spread of activations, in fp64; parts merge in any order (Chan, Golub and LeVeque 1979). */
import { ShapeError } from "../../errors.ts";

/** n, x̄ and Σ‖x−x̄‖² of rows. */
export class Moments {
  readonly dIn: number;
  #n = 0;
  readonly #mean: Float64Array;
  #scatter = 0;

  constructor(dIn: number) {
    this.dIn = dIn;
    this.#mean = new Float64Array(dIn);
  }

  /** Adds rows x [n, dIn]; of them, if `rows` is given, only those at its indices. */
  add(x: Float32Array, rows?: readonly number[]): void {
    if (x.length % this.dIn !== 0)
      throw new ShapeError("activations", x.length, `a multiple of dIn ${this.dIn}`);
    const n = rows?.length ?? x.length / this.dIn;
    if (n === 0) return;
    const start = (i: number) => (rows === undefined ? i : rows[i]) * this.dIn;
    const mean = new Float64Array(this.dIn);
    for (let i = 0; i < n; i++) for (let j = 0; j < this.dIn; j++) mean[j] += x[start(i) + j];
    for (let j = 0; j < this.dIn; j++) mean[j] /= n;
    let scatter = 0;
    for (let i = 0; i < n; i++)
      for (let j = 0; j < this.dIn; j++) scatter += (x[start(i) + j] - mean[j]) ** 2;
    this.#join(n, mean, scatter);
  }

  merge(other: Moments): void {
    if (other.dIn !== this.dIn) throw new ShapeError("dIn of the moments to merge", other.dIn, this.dIn);
    if (other.#n > 0) this.#join(other.#n, other.#mean, other.#scatter);
  }

  get n(): number {
    return this.#n;
  }

  /** x̄, [dIn] */
  get mean(): Float64Array {
    return this.#mean.slice();
  }

  /** Σ‖x−x̄‖² */
  get scatter(): number {
    return this.#scatter;
  }

  /** √(Σ‖x−x̄‖² / n): how far tokens lie from their mean. */
  get spread(): number {
    return this.#n === 0 ? 0 : Math.sqrt(this.#scatter / this.#n);
  }

  #join(n: number, mean: Float64Array, scatter: number): void {
    const total = this.#n + n;
    let between = 0;
    for (let j = 0; j < this.dIn; j++) {
      const shift = mean[j] - this.#mean[j];
      between += shift * shift;
      this.#mean[j] += (shift * n) / total;
    }
    this.#scatter += scatter + (between * this.#n * n) / total;
    this.#n = total;
  }
}
