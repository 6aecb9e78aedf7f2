/** How much memory training takes, before it takes it. */

/**
 * Peak bytes of a training run, an upper estimate to plan with:
 * `4·(8·F·d + 6·B·d) + 64·F + 12·(B·256)`: weights (2·F·d), both moments (4·F·d), one more copy of the weights while
 * the engine is loaded (2·F·d); batches in hand, read ahead and reconstructed; counters; sparse activations.
 * The store's shuffle pools come on top (`activations/plan.ts`). Resampling takes `12·n·d` for n newcomers at an epoch
 * boundary, when the loading copy is long gone. Meant of the native engine: the reference engine, which nobody runs at
 * such sizes, holds gradients too (`8·F·d` more).
 */
export function trainingBytes(dIn: number, dSae: number, batchTokens: number): number {
  const floats = 8 * dSae * dIn + 6 * batchTokens * dIn;
  return 4 * floats + 64 * dSae + 12 * 256 * batchTokens;
}
