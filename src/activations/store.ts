/**
 * Opens a store for reading: rows in store order, a stream of them, or shuffled batches. A shard is hashed against the
 * manifest before its first row is used, so a flipped byte is an error that names the file, never a number.
 */
import { join } from "node:path";
import { FormatError, ShapeError, StateError } from "../errors.ts";
import { openSafetensors, type SafetensorsFile } from "../formats/safetensors.ts";
import { statIfPresent } from "../storage/file-error.ts";
import { hashFile } from "../storage/hash.ts";
import { bf16ToF32 } from "../tensor/half.ts";
import type {
  ActivationRows,
  ActivationStore,
  BatchReader,
  StoreManifest,
  StreamOptions,
} from "./activations.ts";
import { readManifest } from "./manifest.ts";
import { allocateRows } from "./rows.ts";
import { createBatchReader, type RawRows, type RowRange } from "./shuffle.ts";

/**
 * Opens the store in `dir`.
 * @throws {FormatError} no manifest, or a wrong one
 * @throws {StateError} the store is not complete and `allowIncomplete` was not given
 */
export async function openActivationStore(
  dir: string,
  options: { allowIncomplete?: boolean } = {},
): Promise<ActivationStore> {
  const manifest = await readManifest(dir);
  if (!manifest.complete && options.allowIncomplete !== true) {
    throw new StateError(
      `${dir} is not complete (${manifest.nRows} rows in ${manifest.shards.length} shards so far)`,
      "run the same harvest or import again: it goes on where it stopped",
    );
  }
  return new OpenStore(dir, manifest);
}

class OpenStore implements ActivationStore, RawRows {
  readonly dir: string;
  readonly manifest: StoreManifest;
  readonly nRows: number;
  readonly dIn: number;
  readonly dtype: "bf16" | "f32";
  /** first row of each shard, then nRows */
  readonly #starts: number[];
  readonly #verified = new Map<number, Promise<void>>();
  readonly #inFlight = new Set<Promise<unknown>>();
  #closed = false;

  constructor(dir: string, manifest: StoreManifest) {
    this.dir = dir;
    this.manifest = manifest;
    this.nRows = manifest.nRows;
    this.dIn = manifest.dIn;
    this.dtype = manifest.dtype;
    this.#starts = [0];
    for (const shard of manifest.shards) this.#starts.push(this.#starts.at(-1)! + shard.nRows);
  }

  async rows(from: number, to: number): Promise<ActivationRows> {
    return this.#read(from, to);
  }

  async *stream(
    chunkRows: number,
    limit = this.nRows,
    { reuse = Number.POSITIVE_INFINITY }: StreamOptions = {},
  ): AsyncGenerator<ActivationRows> {
    if (!Number.isSafeInteger(chunkRows) || chunkRows < 1)
      throw new RangeError(`chunkRows must be a positive integer, got ${chunkRows}`);
    const end = Math.min(limit, this.nRows);
    const ring: ActivationRows[] = [];
    for (let from = 0; from < end; from += chunkRows) {
      const to = Math.min(end, from + chunkRows);
      const old = ring.length < reuse ? undefined : ring.shift();
      const rows = await this.#read(from, to, old?.nRows === to - from ? old : undefined);
      if (Number.isFinite(reuse)) ring.push(rows);
      yield rows;
    }
  }

  batches(options: { batchTokens: number; seed: number }): BatchReader {
    return createBatchReader(this, { batchTokens: options.batchTokens, seed: options.seed });
  }

  readRaw(ranges: readonly RowRange[]): Promise<Uint16Array | Float32Array> {
    return this.#track(() => this.#readRaw(ranges));
  }

  /** Waits for reads under way; later ones throw. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#inFlight);
  }

  #read(from: number, to: number, into?: ActivationRows): Promise<ActivationRows> {
    this.#checkRange(from, to);
    return this.#track(() => this.#readRows(from, to, into ?? allocateRows(to - from, this.dIn)));
  }

  async #readRows(from: number, to: number, rows: ActivationRows): Promise<ActivationRows> {
    let filled = 0;
    await this.#eachPiece([[from, to]], async (file, first, last) => {
      const next = filled + last - first;
      await this.#readActivations(
        file,
        [first, last],
        rows.activations.subarray(filled * this.dIn, next * this.dIn),
      );
      for (const [name, labels] of [
        ["token_ids", rows.tokenIds],
        ["window", rows.window],
        ["position", rows.position],
        ["document", rows.document],
        ["role", rows.role],
      ] as const)
        await file.readRowsInto(name, first, last, labels.subarray(filled, next));
      filled = next;
    });
    return rows;
  }

  /** bf16 is read into the upper half of its place, and widened from below: a value is read before it is written over. */
  async #readActivations(file: SafetensorsFile, [first, last]: RowRange, into: Float32Array): Promise<void> {
    if (this.dtype === "f32") return file.readRowsInto("activations", first, last, into);
    const half = new Uint16Array(into.buffer, into.byteOffset + 2 * into.length, into.length);
    await file.readRowsInto("activations", first, last, half);
    bf16ToF32(half, into);
  }

  async #readRaw(ranges: readonly RowRange[]): Promise<Uint16Array | Float32Array> {
    const nRows = ranges.reduce((n, [from, to]) => n + to - from, 0);
    const raw =
      this.dtype === "bf16" ? new Uint16Array(nRows * this.dIn) : new Float32Array(nRows * this.dIn);
    let filled = 0;
    await this.#eachPiece(ranges, async (file, first, last) => {
      raw.set((await file.readRows("activations", first, last)) as typeof raw, filled * this.dIn);
      filled += last - first;
    });
    return raw;
  }

  /** Calls `read(shard, first, last)` for each piece of ascending row ranges, rows counted within the shard; opens each shard once. */
  async #eachPiece(
    ranges: readonly RowRange[],
    read: (file: SafetensorsFile, first: number, last: number) => Promise<void>,
  ): Promise<void> {
    let openIndex = -1;
    let file: SafetensorsFile | null = null;
    try {
      for (const [from, to] of ranges) {
        for (let row = from; row < to; ) {
          const index = this.#shardAt(row);
          if (file === null || openIndex !== index) {
            await file?.close();
            file = null;
            file = await this.#open(index);
            openIndex = index;
          }
          const start = this.#starts[index];
          const end = Math.min(to, this.#starts[index + 1]);
          await read(file, row - start, end - start);
          row = end;
        }
      }
    } finally {
      await file?.close();
    }
  }

  /** Opens a shard, verified, and checks that it holds what the manifest says. */
  async #open(index: number): Promise<SafetensorsFile> {
    let verified = this.#verified.get(index);
    if (verified === undefined) {
      verified = this.#verify(index);
      this.#verified.set(index, verified);
      verified.catch(() => this.#verified.delete(index));
    }
    await verified;
    const file = await openSafetensors(this.#path(index));
    try {
      const { nRows } = this.manifest.shards[index];
      const label = { dtype: "U32", shape: [nRows] };
      const expected = {
        activations: { dtype: this.dtype === "bf16" ? "BF16" : "F32", shape: [nRows, this.dIn] },
        token_ids: label,
        window: label,
        position: label,
        document: label,
        role: { dtype: "U8", shape: [nRows] },
      };
      for (const [name, { dtype, shape }] of Object.entries(expected)) {
        const info = file.tensors.get(name);
        if (info?.dtype === dtype && info.shape.join() === shape.join()) continue;
        const got = info === undefined ? "absent" : `${info.dtype} [${info.shape.join(", ")}]`;
        throw new FormatError(
          file.path,
          `tensor "${name}" is ${got}, expected ${dtype} [${shape.join(", ")}]`,
        );
      }
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async #verify(index: number): Promise<void> {
    const path = this.#path(index);
    const { bytes, sha256 } = this.manifest.shards[index];
    const hint = "the file was damaged or replaced; delete the store's folder and harvest or import again";
    const info = await statIfPresent(path);
    if (info === null) throw new FormatError(path, "no such file, though the manifest names it", { hint });
    if (info.size !== bytes)
      throw new FormatError(path, `${info.size} bytes, the manifest says ${bytes}`, { hint });
    const got = await hashFile(path);
    if (got !== sha256)
      throw new FormatError(path, `its bytes hash to ${got}, the manifest says ${sha256}`, { hint });
  }

  #path(index: number): string {
    return join(this.dir, this.manifest.shards[index].name);
  }

  #shardAt(row: number): number {
    let low = 0;
    let high = this.#starts.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #checkRange(from: number, to: number): void {
    const whole = Number.isSafeInteger(from) && Number.isSafeInteger(to);
    if (!(whole && from >= 0 && from <= to && to <= this.nRows))
      throw new ShapeError(`rows of ${this.dir}`, [from, to], `a range within [0, ${this.nRows}]`);
  }

  async #track<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new StateError(`${this.dir} is closed`, "open the store again");
    const working = work();
    this.#inFlight.add(working);
    try {
      return await working;
    } finally {
      this.#inFlight.delete(working);
    }
  }
}
