/** Good manners for long computations on the event loop: a breath now and then. */

const BREATH_EVERY_MS = 30;

/** `if (breath.due()) await breath.take()` inside a loop lets timers and sockets run, at most every 30 ms. */
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
