/** Windows gathered in memory until they make a batch; marks which of their tokens are kept. */
import type { PackableDocument, PackedWindow } from "./packing.ts";
import type { WindowBatch } from "./windows.ts";

export class WindowBuffer {
  readonly contextSize: number;
  readonly #capacity: number;
  #batch: WindowBatch;
  #nWindows = 0;

  constructor(contextSize: number, capacity: number) {
    this.contextSize = contextSize;
    this.#capacity = capacity;
    this.#batch = this.#empty();
  }

  get nWindows(): number {
    return this.#nWindows;
  }

  /** Copies a window in. `numberOf` turns a document's index in its source into its number in the set. */
  add(
    window: PackedWindow<PackableDocument>,
    keep: Uint8Array,
    numberOf: (index: number) => number = (index) => index,
  ): void {
    const at = this.#nWindows * this.contextSize;
    this.#batch.tokenIds.set(window.tokenIds, at);
    this.#batch.role.set(window.role, at);
    this.#batch.keep.set(keep, at);
    for (let i = 0; i < this.contextSize; i++) this.#batch.document[at + i] = numberOf(window.document[i]);
    this.#batch.lengths[this.#nWindows] = window.length;
    this.#nWindows += 1;
  }

  /** What was gathered, and starts anew. */
  take(): WindowBatch {
    const n = this.#nWindows * this.contextSize;
    const { tokenIds, lengths, keep, role, document } = this.#batch;
    const batch = {
      first: 0,
      nWindows: this.#nWindows,
      contextSize: this.contextSize,
      tokenIds: tokenIds.slice(0, n),
      lengths: lengths.slice(0, this.#nWindows),
      keep: keep.slice(0, n),
      role: role.slice(0, n),
      document: document.slice(0, n),
    };
    this.#nWindows = 0;
    return batch;
  }

  #empty(): WindowBatch {
    const n = this.#capacity * this.contextSize;
    return {
      first: 0,
      nWindows: 0,
      contextSize: this.contextSize,
      tokenIds: new Uint32Array(n),
      lengths: new Uint32Array(this.#capacity),
      keep: new Uint8Array(n),
      role: new Uint8Array(n),
      document: new Uint32Array(n),
    };
  }
}

/** [contextSize] 1 for each real token whose id is not excluded. */
export function keepMask(
  window: { readonly tokenIds: Uint32Array; readonly length: number },
  excluded: ReadonlySet<number>,
): Uint8Array {
  const keep = new Uint8Array(window.tokenIds.length);
  for (let i = 0; i < window.length; i++) keep[i] = excluded.has(window.tokenIds[i]) ? 0 : 1;
  return keep;
}
