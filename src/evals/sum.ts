/** A sum in fp64 that does not depend on the order or grouping of its terms beyond the last bits (Neumaier 1974). */
export class CompensatedSum {
  #sum = 0;
  #lost = 0;

  add(term: number): void {
    const next = this.#sum + term;
    this.#lost += Math.abs(this.#sum) >= Math.abs(term) ? this.#sum - next + term : term - next + this.#sum;
    this.#sum = next;
  }

  merge(other: CompensatedSum): void {
    this.add(other.#sum);
    this.add(other.#lost);
  }

  get value(): number {
    return this.#sum + this.#lost;
  }
}
