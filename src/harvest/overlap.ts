/** Two ways to let work go on while one does something else: calls made ahead of their turn, and one task in the background. */

/**
 * `work` on every item, results in the order of the items, with up to `depth` calls under way while the receiver is busy
 * with a result. An error, of the items or of the work, comes up in its turn; calls under way are then left to
 * themselves, and so they are when the receiver stops.
 */
export async function* ahead<Item, Result>(
  items: AsyncIterable<Item> | Iterable<Item>,
  depth: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<{ item: Item; result: Result }> {
  const underWay: { item: Item; result: Promise<Result> }[] = [];
  for await (const item of items) {
    const result = work(item);
    result.catch(() => {}); // told when its turn comes
    underWay.push({ item, result });
    if (underWay.length > depth) yield await next(underWay);
  }
  while (underWay.length > 0) yield await next(underWay);
}

async function next<Item, Result>(
  underWay: { item: Item; result: Promise<Result> }[],
): Promise<{ item: Item; result: Result }> {
  const [{ item, result }] = underWay.splice(0, 1);
  return { item, result: await result };
}

/** One task at a time behind one's back. */
export class Background {
  #task: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | null = null;

  /** Waits for the task before, then starts this one. @throws the error of the task before */
  async start(task: () => Promise<void>): Promise<void> {
    await this.done();
    this.#task = task().catch((error: unknown) => {
      this.#failure = { error };
    });
  }

  /** @throws the error of a task that has failed */
  check(): void {
    if (this.#failure !== null) throw this.#failure.error;
  }

  /** Waits for the task under way. @throws its error */
  async done(): Promise<void> {
    await this.settled();
    this.check();
  }

  /** Waits for the task under way, however it ends. */
  async settled(): Promise<void> {
    await this.#task;
  }
}
