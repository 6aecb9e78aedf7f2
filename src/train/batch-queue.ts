/** Hands out training batches in order and reads one ahead while the engine works. What it hands out is a function of the step alone. */
import type { BatchReader } from "../activations/activations.ts";

export class BatchQueue {
  readonly #reader: BatchReader;
  readonly #totalSteps: number;
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
    if (this.#ahead !== null && this.#ahead.step !== step) await this.close();
    const batch = await (this.#ahead?.batch ?? this.#read(step));
    this.#ahead = null;
    if (step + 1 < this.#totalSteps) {
      const ahead = this.#read(step + 1);
      ahead.catch(() => {}); // reported when its step comes
      this.#ahead = { step: step + 1, batch: ahead };
    }
    return batch;
  }

  /** Waits for the read under way, so that the store can be closed. */
  async close(): Promise<void> {
    await this.#ahead?.batch.catch(() => {});
    this.#ahead = null;
  }

  #read(step: number): Promise<Float32Array> {
    const { epoch, batch } = this.positionOf(step);
    return this.#reader.batch(epoch, batch);
  }
}
