/**
 * Hands out training batches in order and reads one ahead while the engine works. What it hands out is a function of the
 * step alone. Two arrays take turns: a batch is the caller's until the next one is asked for.
 */
import type { BatchReader } from "../activations/activations.ts";

export class BatchQueue {
  readonly #reader: BatchReader;
  readonly #totalSteps: number;
  /** not in anybody's hands */
  readonly #spare: Float32Array[] = [];
  #given: Float32Array | null = null;
  #ahead: { readonly step: number; readonly batch: Promise<Float32Array> } | null = null;

  constructor(reader: BatchReader, totalSteps: number) {
    this.#reader = reader;
    this.#totalSteps = totalSteps;
  }

  positionOf(step: number): { epoch: number; batch: number } {
    return { epoch: Math.floor(step / this.#reader.nBatches), batch: step % this.#reader.nBatches };
  }

  /** The batch of `step` (0-based), [rows, dIn] f32; starts to read the one after it. */
  async at(step: number): Promise<Float32Array> {
    if (this.#given !== null) this.#spare.push(this.#given);
    this.#given = null;
    if (this.#ahead !== null && this.#ahead.step !== step) await this.close();
    const ahead = this.#ahead;
    this.#ahead = null;
    const batch = await (ahead?.batch ?? this.#read(step));
    this.#given = batch;
    if (step + 1 < this.#totalSteps) {
      const next = this.#read(step + 1);
      next.catch(() => {}); // reported when its step comes
      this.#ahead = { step: step + 1, batch: next };
    }
    return batch;
  }

  /** Waits for the read under way, so that the store can be closed. */
  async close(): Promise<void> {
    const batch = await this.#ahead?.batch.catch(() => undefined);
    if (batch !== undefined) this.#spare.push(batch);
    this.#ahead = null;
  }

  #read(step: number): Promise<Float32Array> {
    const { epoch, batch } = this.positionOf(step);
    return this.#reader.batch(epoch, batch, this.#spare.pop());
  }
}
