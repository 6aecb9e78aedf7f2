/**
 * Good manners for long computations on the event loop: one call at a time, and a breath now and then.
 */

/** Runs jobs one after the other, in the order in which they were asked for; a failed job does not stop the next. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  take<T>(job: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(job);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

const BREATH_EVERY_MS = 30;

/** `await breath()` inside a loop lets timers and sockets run, at most every 30 ms; otherwise it returns at once. */
export class Breath {
  #last = Date.now();

  due(): boolean {
    return Date.now() - this.#last >= BREATH_EVERY_MS;
  }

  async take(): Promise<void> {
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
    this.#last = Date.now();
  }
}
