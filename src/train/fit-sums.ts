/** The sums behind VE and MSE, row by row and in f64. */
export class FitSums {
  readonly #dIn: number;
  readonly #sums: Float64Array;
  #squares = 0;
  #errors = 0;
  #nRows = 0;

  constructor(dIn: number) {
    this.#dIn = dIn;
    this.#sums = new Float64Array(dIn);
  }

  /** Takes in rows first, first + 1 … of `x` [·, dIn], as many as `recon` [n, dIn] has reconstructions of. */
  add(x: Float32Array, recon: Float32Array, first = 0): void {
    const dIn = this.#dIn;
    for (let i = 0, at = first * dIn; i < recon.length; ) {
      for (let j = 0; j < dIn; j++, at++, i++) {
        this.#sums[j] += x[at];
        this.#squares += x[at] * x[at];
        this.#errors += (x[at] - recon[i]) ** 2;
      }
    }
    this.#nRows += recon.length / dIn;
  }

  get nRows(): number {
    return this.#nRows;
  }

  /** Σ‖x−x̄‖² = Σ‖x‖² − ‖Σx‖²/n, x̄ the rows' mean */
  get variance(): number {
    return this.#squares - this.#sums.reduce((sum, s) => sum + s * s, 0) / this.#nRows;
  }

  /** `1 − Σ‖x−x̂‖² / Σ‖x−x̄‖²` */
  get ve(): number {
    return 1 - this.#errors / this.variance;
  }

  /** mean over rows of ‖x−x̂‖² */
  get mse(): number {
    return this.#errors / this.#nRows;
  }
}
