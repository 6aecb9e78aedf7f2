/** The typed array that holds each element type in memory. BF16 and F16 stay 16-bit words until widened (`half.ts`). */
import type { DType } from "./dtype.ts";

/** Every typed array that a tensor on disk may become. */
export type TypedArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** A zeroed array for `n` elements of `dtype`. */
export function allocate(dtype: DType, n: number): TypedArray {
  switch (dtype) {
    case "F64":
      return new Float64Array(n);
    case "F32":
      return new Float32Array(n);
    case "I64":
      return new BigInt64Array(n);
    case "U64":
      return new BigUint64Array(n);
    case "I32":
      return new Int32Array(n);
    case "U32":
      return new Uint32Array(n);
    case "I16":
      return new Int16Array(n);
    case "F16":
    case "BF16":
    case "U16":
      return new Uint16Array(n);
    case "I8":
      return new Int8Array(n);
    case "U8":
    case "BOOL":
      return new Uint8Array(n);
  }
}

/** The bytes behind a typed array, without copying. */
export function bytesOf(data: TypedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
