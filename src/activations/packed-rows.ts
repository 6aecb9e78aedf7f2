/**
 * Rows on their way into a shard: kept as the store keeps them, bf16 or f32, set a few at a time in any order, and
 * judged as they come. A row with an entry that the store cannot hold is *unfit*: it is noted here and left out later.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { ActivationRows, StoreIdentity } from "./activations.ts";
import { selectLabels } from "./rows.ts";

/** What a store says of each row beside its activations. */
export type RowLabels = Omit<ActivationRows, "activations">;

/**
 * The bits of |x| from which on a store cannot hold x: in f32 those of infinity (NaNs lie above), in bf16 those of what
 * rounds to infinity, the middle between its largest number and 2^128.
 */
const UNFIT_BITS = { f32: 0x7f80_0000, bf16: 0x7f7f_8000 } as const;

/** Entries placed at once, about a millisecond's work: between pieces the event loop has its turn. */
export const PIECE_ENTRIES = 1 << 18;
/** Entries written at once: hashing them takes a few milliseconds. */
const WRITTEN_ENTRIES = 1 << 20;

/** Room for `labels.nRows` rows of `dIn` entries. Rows that are never set are zeros. */
export class PackedRows {
  readonly labels: RowLabels;
  readonly dIn: number;
  readonly dtype: StoreIdentity["dtype"];
  readonly #entries: Uint16Array | Float32Array;
  readonly #unfit = new Set<number>();

  constructor(labels: RowLabels, dIn: number, dtype: StoreIdentity["dtype"]) {
    this.labels = labels;
    this.dIn = dIn;
    this.dtype = dtype;
    this.#entries = new (dtype === "bf16" ? Uint16Array : Float32Array)(labels.nRows * dIn);
  }

  /** All rows of `rows`, a piece every turn of the event loop. */
  static async from(rows: ActivationRows, dIn: number, dtype: StoreIdentity["dtype"]): Promise<PackedRows> {
    const packed = new PackedRows(rows, dIn, dtype);
    const step = Math.max(1, Math.floor(PIECE_ENTRIES / dIn));
    for (let row = 0; row < rows.nRows; row += step) {
      packed.set(row, Math.min(step, rows.nRows - row), rows.activations, row * dIn);
      await nextTurn();
    }
    return packed;
  }

  get nRows(): number {
    return this.labels.nRows;
  }

  /** Rows that will be left out. */
  get nUnfit(): number {
    return this.#unfit.size;
  }

  /** Rows [row, row + n): the n · dIn numbers of `source` from element `at` on, rounded to nearest, ties to even. */
  set(row: number, n: number, source: Float32Array, at: number): void {
    const bits = new Int32Array(source.buffer, source.byteOffset + 4 * at, n * this.dIn);
    const unfit = UNFIT_BITS[this.dtype];
    const largest =
      this.#entries instanceof Uint16Array
        ? roundInto(this.#entries, row * this.dIn, bits)
        : copyInto(this.#entries, row * this.dIn, source, at, bits);
    if (largest < unfit) return;
    for (let i = 0; i < n; i++)
      if (largestBits(bits.subarray(i * this.dIn, (i + 1) * this.dIn)) >= unfit) this.#unfit.add(row + i);
  }

  /** Labels of the rows that are not left out. */
  fitLabels(): RowLabels {
    if (this.#unfit.size === 0) return this.labels;
    const fit = Array.from({ length: this.nRows }, (_, row) => row).filter((row) => !this.#unfit.has(row));
    return selectLabels(this.labels, fit);
  }

  /** Activations of the rows that are not left out, in row order, in pieces of a few MiB; views, not copies. */
  *fitPieces(): Generator<Uint16Array | Float32Array> {
    const step = Math.max(1, Math.floor(WRITTEN_ENTRIES / this.dIn));
    let from = 0;
    for (const border of [...[...this.#unfit].sort((a, b) => a - b), this.nRows]) {
      for (; from < border; from += step)
        yield this.#entries.subarray(from * this.dIn, Math.min(from + step, border) * this.dIn);
      from = border + 1;
    }
  }
}

/** The nearest bf16 of each f32 (not NaN), given as bits, into `out` from `to` on; returns the largest |x|, as bits. */
function roundInto(out: Uint16Array, to: number, bits: Int32Array): number {
  let largest = 0;
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i];
    const magnitude = b & 0x7fff_ffff;
    if (magnitude > largest) largest = magnitude;
    out[to + i] = (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return largest;
}

function copyInto(out: Float32Array, to: number, source: Float32Array, at: number, bits: Int32Array): number {
  out.set(source.subarray(at, at + bits.length), to);
  return largestBits(bits);
}

/** Bits of positive floats have the order of the floats, with infinity and then NaN at the end. */
function largestBits(bits: Int32Array): number {
  let largest = 0;
  for (let i = 0; i < bits.length; i++) {
    const magnitude = bits[i] & 0x7fff_ffff;
    if (magnitude > largest) largest = magnitude;
  }
  return largest;
}
