/** What a writer makes of an SAE before anything is written: tensors, JSON files, and what the format cannot say. */

import { encoderRowBlocks } from "../../formats/saelens-encoder.ts";
import type { TensorToWrite } from "../../formats/safetensors.ts";
import { f32ToBf16 } from "../../tensor/half.ts";
import type { Sae } from "../sae.ts";

export type StoredDtype = "float32" | "bfloat16";

/** An SAE as a format lays it down. */
export interface LaidOut {
  /** what it is by the format's own name */
  readonly architecture: string;
  /** the file of tensors, .safetensors or .npz */
  readonly weights: { readonly name: string; readonly tensors: readonly TensorToWrite[] };
  /** JSON files by their names */
  readonly json: Readonly<Record<string, unknown>>;
  /** what a reader of these files will not find out, in words */
  readonly lost: readonly string[];
}

/** A format that SAEs can be written in. */
export interface Writer {
  /** for people */
  readonly name: string;
  /** the files that a folder in this format may hold */
  readonly files: readonly string[];
  /**
   * `folder` is the path to be: some formats say in it what they say nowhere else.
   * @throws {UnsupportedError} the numbers would mean something else in this format
   */
  layOut(sae: Sae, dtype: StoredDtype, folder: string): LaidOut;
}

/** A tensor as it lies in memory. */
export function plain(
  name: string,
  shape: readonly number[],
  values: Float32Array,
  dtype: StoredDtype,
): TensorToWrite {
  return { name, dtype: dtypeName(dtype), shape, data: stored(values, dtype) };
}

/** A matrix [n, m] written as [m, n], a block of rows at a time. */
export function turned(
  name: string,
  [n, m]: readonly [number, number],
  values: Float32Array,
  dtype: StoredDtype,
): TensorToWrite {
  return {
    name,
    dtype: dtypeName(dtype),
    shape: [m, n],
    data: async function* () {
      for (const rows of encoderRowBlocks(values, m, n)) yield stored(rows, dtype);
    },
  };
}

function dtypeName(dtype: StoredDtype): "F32" | "BF16" {
  return dtype === "float32" ? "F32" : "BF16";
}

function stored(values: Float32Array, dtype: StoredDtype): Float32Array | Uint16Array {
  return dtype === "float32" ? values : f32ToBf16(values);
}
