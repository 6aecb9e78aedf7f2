/** One call at a time: what every engine promises. */

/** Runs jobs one after the other, in the order in which they were asked for; a failed job does not stop the next. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  take<T>(job: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(job);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
