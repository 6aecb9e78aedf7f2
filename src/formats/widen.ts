/** Values of any floating-point type as float32. */
import { FormatError } from "../errors.ts";
import type { DType } from "../tensor/dtype.ts";
import { bf16ToF32, f16ToF32 } from "../tensor/half.ts";
import type { TypedArray } from "../tensor/typed-array.ts";

/** Widens, or from F64 rounds; F32 stays the same array. @throws {FormatError} no such type; `what` names what holds it */
export function widened(
  path: string,
  what: string,
  dtype: DType | undefined,
  values: TypedArray,
): Float32Array {
  switch (dtype) {
    case "F32":
      return values as Float32Array;
    case "BF16":
      return bf16ToF32(values as Uint16Array);
    case "F16":
      return f16ToF32(values as Uint16Array);
    case "F64":
      return new Float32Array(values as Float64Array);
    default:
      throw new FormatError(path, `${what} is ${dtype}, expected F32, BF16, F16 or F64`, {
        hint: "save it as one of those",
      });
  }
}
