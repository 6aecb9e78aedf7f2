/** Work on many things, a few at a time; results in the order of the things. */

/**
 * At most `concurrency` at once. After the first error nothing further begins, what is going on is told by its signal,
 * and once all of it has ended the error is thrown.
 */
export async function inParallel<T, R>(
  items: readonly T[],
  concurrency: number,
  work: (item: T, signal: AbortSignal) => Promise<R>,
  signal?: AbortSignal,
): Promise<R[]> {
  const stop = new AbortController();
  const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const results: R[] = new Array(items.length);
  let next = 0;
  let failure: { readonly error: unknown } | null = null;
  const worker = async () => {
    while (next < items.length && failure === null) {
      const i = next++;
      try {
        both.throwIfAborted();
        results[i] = await work(items[i], both);
      } catch (error) {
        failure ??= { error };
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker));
  if (failure !== null) throw (failure as { readonly error: unknown }).error;
  return results;
}
