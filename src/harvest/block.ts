/**
 * The windows of one shard: their kept positions as rows, in window order, and the way from a batch's residual streams
 * to these rows. Batches may come in any order.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { PIECE_ENTRIES, type RowLabels } from "../activations/packed-rows.ts";
import type { WindowBatch } from "../corpus/windows.ts";
import type { TokenBatch } from "../models/residual-model.ts";
import { sequenceLength } from "./plan.ts";

/** Where a layer's rows go: rows [row, row + n) are the n · dIn numbers of `source` from element `at` on. */
export interface RowSink {
  set(row: number, n: number, source: Float32Array, at: number): void;
}

/** Windows of a block that run together, and the rectangle of tokens they make. */
export interface BlockBatch {
  /** their indices in the block */
  readonly members: readonly number[];
  readonly tokens: TokenBatch;
}

export class Block {
  readonly windows: WindowBatch;
  /** token id, window, position, document and role of every kept position, in window order */
  readonly labels: RowLabels;
  /** row of the first kept position of each window */
  readonly #firstRow: Uint32Array;

  constructor(windows: WindowBatch) {
    this.windows = windows;
    this.#firstRow = firstRows(windows);
    this.labels = labelsOf(windows, this.#firstRow[windows.nWindows]);
  }

  /** Some windows as a rectangle just long enough for the longest of them. */
  batch(members: readonly number[]): BlockBatch {
    const { contextSize, tokenIds } = this.windows;
    const lengths = Uint32Array.from(members, (window) => this.windows.lengths[window]);
    const seqLen = sequenceLength([...lengths]);
    const rectangle = new Uint32Array(members.length * seqLen);
    for (const [i, window] of members.entries()) {
      const start = window * contextSize;
      rectangle.set(tokenIds.subarray(start, start + Math.min(seqLen, contextSize)), i * seqLen);
    }
    return { members, tokens: { nWindows: members.length, seqLen, tokenIds: rectangle, lengths } };
  }

  /**
   * Hands the kept rows of a batch on: `residuals` are what the model made of it, [nWindows · seqLen, dIn] a layer, and
   * `sinks` has one sink a layer. Lets other work have its turn every few milliseconds.
   */
  async place(
    { members, tokens: { seqLen } }: BlockBatch,
    residuals: readonly Float32Array[],
    sinks: readonly RowSink[],
    dIn: number,
  ): Promise<void> {
    const longestRun = Math.max(1, Math.floor(PIECE_ENTRIES / dIn));
    let entries = 0;
    for (const [i, window] of members.entries())
      for (const { row, position, n } of this.#keptRuns(window, longestRun))
        for (const [layer, residual] of residuals.entries()) {
          if (entries + n * dIn > PIECE_ENTRIES) {
            await nextTurn();
            entries = 0;
          }
          sinks[layer].set(row, n, residual, (i * seqLen + position) * dIn);
          entries += n * dIn;
        }
  }

  /** The kept positions of a window as runs of neighbours, none longer than `longest`. */
  *#keptRuns(window: number, longest: number): Generator<{ row: number; position: number; n: number }> {
    const start = window * this.windows.contextSize;
    const keep = this.windows.keep.subarray(start, start + this.windows.lengths[window]);
    let row = this.#firstRow[window];
    for (let position = 0; position < keep.length; position++) {
      let n = 0;
      while (n < longest && keep[position + n] === 1) n += 1;
      if (n === 0) continue;
      yield { row, position, n };
      row += n;
      position += n - 1;
    }
  }
}

/** [nWindows + 1] row of each window's first kept position, and the number of rows. */
function firstRows({ nWindows, contextSize, keep }: WindowBatch): Uint32Array {
  const first = new Uint32Array(nWindows + 1);
  for (let window = 0; window < nWindows; window++) {
    let n = 0;
    for (let at = window * contextSize; at < (window + 1) * contextSize; at++) n += keep[at];
    first[window + 1] = first[window] + n;
  }
  return first;
}

function labelsOf(windows: WindowBatch, nRows: number): RowLabels {
  const labels = {
    nRows,
    tokenIds: new Uint32Array(nRows),
    window: new Uint32Array(nRows),
    position: new Uint32Array(nRows),
    document: new Uint32Array(nRows),
    role: new Uint8Array(nRows),
  };
  let row = 0;
  for (let at = 0; at < windows.keep.length; at++) {
    if (windows.keep[at] === 0) continue;
    labels.tokenIds[row] = windows.tokenIds[at];
    labels.window[row] = windows.first + Math.floor(at / windows.contextSize);
    labels.position[row] = at % windows.contextSize;
    labels.document[row] = windows.document[at];
    labels.role[row] = windows.role[at];
    row += 1;
  }
  return labels;
}
