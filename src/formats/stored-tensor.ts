/**
 * Weights in memory → tensors as they are to be stored: in float32, or rounded to bfloat16. What was finite stays so: a
 * value that bfloat16 would make infinite is refused, here for every format.
 */
import { UnsupportedError } from "../errors.ts";
import { f32ToBf16 } from "../tensor/half.ts";
import { encoderRowBlocks } from "./saelens-encoder.ts";
import type { TensorToWrite } from "./safetensors.ts";

/** Element type of weights on disk. */
export type StoredDtype = "float32" | "bfloat16";

/** A tensor as it lies in memory. @throws {UnsupportedError} a value beyond bfloat16's range */
export function plain(
  name: string,
  shape: readonly number[],
  values: Float32Array,
  dtype: StoredDtype,
): TensorToWrite {
  return { name, dtype: dtypeName(dtype), shape, data: stored(name, values, dtype) };
}

/** A matrix [n, m] written as [m, n], a block of rows at a time. Its pieces throw what `plain` throws. */
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
      for (const rows of encoderRowBlocks(values, m, n)) yield stored(name, rows, dtype);
    },
  };
}

function dtypeName(dtype: StoredDtype): "F32" | "BF16" {
  return dtype === "float32" ? "F32" : "BF16";
}

/** All bits of a bfloat16's exponent: infinity, or NaN. */
const EXPONENT = 0x7f80;

function stored(name: string, values: Float32Array, dtype: StoredDtype): Float32Array | Uint16Array {
  if (dtype === "float32") return values;
  const rounded = f32ToBf16(values);
  for (let i = 0; i < rounded.length; i++)
    if ((rounded[i] & EXPONENT) === EXPONENT && Number.isFinite(values[i]))
      throw new UnsupportedError(
        `tensor "${name}" holds ${values[i]}, which bfloat16 cannot: it would be written as infinity`,
        "write the SAE as float32",
      );
  return rounded;
}
