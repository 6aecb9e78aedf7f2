/** How much disk and memory a store takes, computed before a byte is written (design invariant 8). */
import { POOL_BYTES, POOLS_IN_MEMORY } from "./shuffle.ts";

type StoreDtype = "bf16" | "f32";

/** token_ids, window, position, document (u32) and role (u8) of one row */
const ROW_LABEL_BYTES = 17;
const TARGET_SHARD_BYTES = 128 * 1024 * 1024;

/** Bytes of one activation row of `dIn` entries, without its labels. */
export function activationBytes(dIn: number, dtype: StoreDtype): number {
  return dIn * (dtype === "bf16" ? 2 : 4);
}

/** Bytes on disk of a store of `nRows` rows (headers and manifest, about 500 bytes a shard, not counted). */
export function storeBytes(options: { nRows: number; dIn: number; dtype: StoreDtype }): number {
  return options.nRows * (activationBytes(options.dIn, options.dtype) + ROW_LABEL_BYTES);
}

/** Rows that make a shard of about 128 MiB: large enough to read in sequence, small enough to write again after a kill. */
export function rowsPerShard(dIn: number, dtype: StoreDtype): number {
  return Math.max(1, Math.floor(TARGET_SHARD_BYTES / (activationBytes(dIn, dtype) + ROW_LABEL_BYTES)));
}

/** Memory a batch reader takes at most: its pools, and two f32 batches. */
export function readerBytes(options: {
  nRows: number;
  dIn: number;
  dtype: StoreDtype;
  batchTokens: number;
}): number {
  const whole = options.nRows * activationBytes(options.dIn, options.dtype);
  return Math.min(POOL_BYTES, whole) * POOLS_IN_MEMORY + 2 * options.batchTokens * options.dIn * 4;
}
