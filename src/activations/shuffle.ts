/**
 * The seeded, seekable order in which training sees a store. An epoch permutes blocks of consecutive rows, groups the
 * blocks to pools that fit in memory, and permutes the rows within each pool; batches are cut from that sequence, across
 * pool borders. Every number is drawn by (seed, epoch, pool), so batch i is the same whether asked for first or last, and
 * a pool's blocks are read in ascending order of their place on disk. What is in memory only decides the speed.
 */
import { DataError } from "../errors.ts";
import { Philox } from "../random/philox.ts";
import type { BatchReader } from "./activations.ts";

/** Consecutive rows that travel together to one pool. */
export const BLOCK_ROWS = 128;
/** A pool holds as many blocks as fit in this many bytes, in the store's own element type. */
export const POOL_BYTES = 128 * 1024 * 1024;
/** Two pools are kept, a third may be on its way. */
export const POOLS_IN_MEMORY = 3;

/** Half-open range of rows. */
export type RowRange = readonly [from: number, to: number];

/** What a shuffle reads from: activations in their stored element type, bf16 as 16-bit words. */
export interface RawRows {
  readonly nRows: number;
  readonly dIn: number;
  readonly dtype: "bf16" | "f32";
  /** The rows of ascending, disjoint ranges, one after the other: [sum of lengths, dIn]. */
  readRaw(ranges: readonly RowRange[]): Promise<Uint16Array | Float32Array>;
}

export interface ShuffleOptions {
  readonly batchTokens: number;
  readonly seed: number;
  /** default BLOCK_ROWS; with `poolBytes` it decides the order, so both stay at their defaults outside tests */
  readonly blockRows?: number;
  readonly poolBytes?: number;
}

/**
 * Batches of `source` in shuffled order. In an epoch every row comes at most once; all come but the last
 * nRows mod batchTokens of the epoch's sequence.
 * @throws {DataError} the store has no rows
 * @throws {RangeError} batchTokens is not a positive integer
 */
export function createBatchReader(source: RawRows, options: ShuffleOptions): BatchReader {
  if (!Number.isSafeInteger(options.batchTokens) || options.batchTokens < 1)
    throw new RangeError(`batchTokens must be a positive integer, got ${options.batchTokens}`);
  if (source.nRows === 0) throw new DataError("the activation store has no rows to make batches of");
  return new ShuffledReader(source, options);
}

class ShuffledReader implements BatchReader {
  readonly batchTokens: number;
  readonly nBatches: number;
  readonly #source: RawRows;
  readonly #seed: number;
  readonly #blockRows: number;
  readonly #blocksPerPool: number;
  /** Pools by "epoch/pool", the least recently used first. */
  readonly #pools = new Map<string, Promise<Pool>>();
  #order: EpochOrder | null = null;

  constructor(source: RawRows, options: ShuffleOptions) {
    const { blockRows = BLOCK_ROWS, poolBytes = POOL_BYTES } = options;
    const blockBytes = blockRows * source.dIn * (source.dtype === "bf16" ? 2 : 4);
    this.#source = source;
    this.#seed = options.seed;
    this.#blockRows = blockRows;
    this.#blocksPerPool = Math.max(1, Math.floor(poolBytes / blockBytes));
    this.batchTokens = Math.min(options.batchTokens, source.nRows);
    this.nBatches = Math.max(1, Math.floor(source.nRows / options.batchTokens));
  }

  async batch(epoch: number, i: number, into?: Float32Array): Promise<Float32Array> {
    if (!Number.isSafeInteger(epoch) || epoch < 0) throw new RangeError(`epoch ${epoch}: expected 0, 1, …`);
    if (!Number.isSafeInteger(i) || i < 0 || i >= this.nBatches)
      throw new RangeError(`batch ${i}: expected one in [0, ${this.nBatches})`);
    const order = this.#epochOrder(epoch);
    const { dIn } = this.#source;
    const end = (i + 1) * this.batchTokens;
    const length = this.batchTokens * dIn;
    const out = into?.length === length ? into : new Float32Array(length);
    for (let place = i * this.batchTokens, filled = 0; place < end; ) {
      const pool = order.poolAt(place);
      const [from, to] = order.placesOf(pool);
      const { raw, rowOrder } = await this.#pool(order, pool);
      const stop = Math.min(end, to);
      gather(raw, rowOrder.subarray(place - from, stop - from), dIn, out.subarray(filled * dIn));
      filled += stop - place;
      place = stop;
    }
    if (i + 1 < this.nBatches) this.#prefetch(order, order.poolAt(end + this.batchTokens - 1));
    return out;
  }

  #epochOrder(epoch: number): EpochOrder {
    if (this.#order?.epoch !== epoch)
      this.#order = new EpochOrder(
        epoch,
        this.#seed,
        this.#source.nRows,
        this.#blockRows,
        this.#blocksPerPool,
      );
    return this.#order;
  }

  #pool(order: EpochOrder, pool: number): Promise<Pool> {
    const key = `${order.epoch}/${pool}`;
    const held = this.#pools.get(key);
    const loading = held ?? this.#load(order, pool);
    this.#pools.delete(key);
    this.#pools.set(key, loading);
    if (held === undefined) {
      loading.catch(() => this.#pools.delete(key));
      const [oldest] = this.#pools.keys();
      if (this.#pools.size === POOLS_IN_MEMORY) this.#pools.delete(oldest);
    }
    return loading;
  }

  /** Starts reading a pool that will be wanted; if that fails, the failure shows when the pool is asked for. */
  #prefetch(order: EpochOrder, pool: number): void {
    if (!this.#pools.has(`${order.epoch}/${pool}`)) this.#pool(order, pool).catch(() => {});
  }

  async #load(order: EpochOrder, pool: number): Promise<Pool> {
    const [from, to] = order.placesOf(pool);
    const rowOrder = new Philox(this.#seed, `shuffle/${order.epoch}/pool-${pool}`).permutation(to - from);
    return { raw: await this.#source.readRaw(order.rangesOf(pool)), rowOrder };
  }
}

interface Pool {
  /** [rows, dIn], by ascending row of the store */
  readonly raw: Uint16Array | Float32Array;
  /** which of those rows stands at each place of the pool */
  readonly rowOrder: Uint32Array;
}

/** One epoch's permutation of blocks, and where pools begin in the epoch's sequence of rows ("places"). */
class EpochOrder {
  readonly epoch: number;
  readonly #nRows: number;
  readonly #blockRows: number;
  readonly #blocksPerPool: number;
  readonly #blocks: Uint32Array;
  /** place in `#blocks` of the store's last block, the only one that may be short, and by how many rows it is */
  readonly #lastBlockAt: number;
  readonly #missing: number;

  constructor(epoch: number, seed: number, nRows: number, blockRows: number, blocksPerPool: number) {
    const nBlocks = Math.ceil(nRows / blockRows);
    this.epoch = epoch;
    this.#nRows = nRows;
    this.#blockRows = blockRows;
    this.#blocksPerPool = blocksPerPool;
    this.#blocks = new Philox(seed, `shuffle/${epoch}`).permutation(nBlocks);
    this.#lastBlockAt = this.#blocks.indexOf(nBlocks - 1);
    this.#missing = nBlocks * blockRows - nRows;
  }

  /** Half-open range of places that pool `pool` fills. */
  placesOf(pool: number): RowRange {
    return [this.#start(pool), Math.min(this.#nRows, this.#start(pool + 1))];
  }

  poolAt(place: number): number {
    const poolRows = this.#blocksPerPool * this.#blockRows;
    const guess = Math.floor(place / poolRows); // right, or one too few after the short block
    return place >= this.#start(guess + 1) ? guess + 1 : guess;
  }

  /** The pool's rows in the store, ascending, neighbouring blocks joined. */
  rangesOf(pool: number): RowRange[] {
    const first = pool * this.#blocksPerPool;
    const blocks = this.#blocks.slice(first, first + this.#blocksPerPool).sort();
    const ranges: [number, number][] = [];
    for (const block of blocks) {
      const from = block * this.#blockRows;
      const to = Math.min(this.#nRows, from + this.#blockRows);
      const last = ranges.at(-1);
      if (last?.[1] === from) last[1] = to;
      else ranges.push([from, to]);
    }
    return ranges;
  }

  #start(pool: number): number {
    const block = pool * this.#blocksPerPool;
    return block * this.#blockRows - (block > this.#lastBlockAt ? this.#missing : 0);
  }
}

/** Copies the rows of `raw` [n, dIn] named by `rowOrder` into `out`, widened to f32. */
function gather(
  raw: Uint16Array | Float32Array,
  rowOrder: Uint32Array,
  dIn: number,
  out: Float32Array,
): void {
  if (raw instanceof Float32Array) {
    rowOrder.forEach((row, i) => {
      out.set(raw.subarray(row * dIn, (row + 1) * dIn), i * dIn);
    });
    return;
  }
  const bits = new Uint32Array(out.buffer, out.byteOffset, rowOrder.length * dIn); // bfloat16 is the upper half of f32
  rowOrder.forEach((row, i) => {
    for (let j = 0; j < dIn; j++) bits[i * dIn + j] = raw[row * dIn + j] << 16;
  });
}
