/**
 * SAELens stores the encoder as W_enc [d_in, d_sae]; Lapidary holds it as wEnc [dSae, dIn]. Both directions work on
 * blocks of the file's rows, so a 65536 × 2560 encoder passes without a second copy of itself in memory.
 */
import type { TypedArray } from "../tensor/typed-array.ts";
import type { SafetensorsFile } from "./safetensors.ts";
import { widened } from "./widen.ts";

/** Values of a block of rows: 16 MB of f32. */
const BLOCK_VALUES = 1 << 22;
/** Columns turned at a time, so that what is read stays in the cache. */
const TILE = 64;

function rowsPerBlock(dIn: number, dSae: number): number {
  return Math.min(dIn, Math.max(16, Math.floor(BLOCK_VALUES / dSae)));
}

/** Columns [from, to) of the tensor `name` [dIn, dSae] of `file`, as rows of [dSae, dIn]: [to − from, dIn] in f32. */
export async function readEncoderRows(
  file: SafetensorsFile,
  name: string,
  from: number,
  to: number,
): Promise<Float32Array> {
  const n = to - from;
  const columns = asF32(file, name, await file.readColumns(name, from, to));
  const dIn = columns.length / Math.max(1, n);
  const out = new Float32Array(columns.length);
  for (let c0 = 0; c0 < n; c0 += TILE) {
    const c1 = Math.min(c0 + TILE, n);
    for (let r = 0; r < dIn; r++) for (let c = c0; c < c1; c++) out[c * dIn + r] = columns[r * n + c];
  }
  return out;
}

/** Rows [from, to) of a tensor as they lie, in f32. */
export async function readRowsF32(
  file: SafetensorsFile,
  name: string,
  from: number,
  to: number,
): Promise<Float32Array> {
  return asF32(file, name, await file.readRows(name, from, to));
}

function asF32({ path, tensors }: SafetensorsFile, name: string, values: TypedArray): Float32Array {
  return widened(path, `tensor "${name}"`, tensors.get(name)?.dtype, values);
}

/** The rows of W_enc [dIn, dSae], in order, a block at a time; `wEnc` is [dSae, dIn]. Each block is a fresh array. */
export function* encoderRowBlocks(wEnc: Float32Array, dIn: number, dSae: number): Generator<Float32Array> {
  const step = rowsPerBlock(dIn, dSae);
  for (let from = 0; from < dIn; from += step) {
    const to = Math.min(from + step, dIn);
    const block = new Float32Array((to - from) * dSae);
    for (let c0 = 0; c0 < dSae; c0 += TILE) {
      const c1 = Math.min(c0 + TILE, dSae);
      for (let r = 0; r < to - from; r++)
        for (let c = c0; c < c1; c++) block[r * dSae + c] = wEnc[c * dIn + from + r];
    }
    yield block;
  }
}
