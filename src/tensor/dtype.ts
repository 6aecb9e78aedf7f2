/** Element types, spelled as safetensors spells them, and their widths in bytes. */

/** Element types, by the names that safetensors files use. */
export type DType =
  | "F64"
  | "F32"
  | "F16"
  | "BF16"
  | "I64"
  | "I32"
  | "I16"
  | "I8"
  | "U64"
  | "U32"
  | "U16"
  | "U8"
  | "BOOL";

const BYTES: Record<DType, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** Bytes one element of `dtype` takes. */
export function bytesPerElement(dtype: DType): number {
  return BYTES[dtype];
}

export function isDType(name: string): name is DType {
  return Object.hasOwn(BYTES, name);
}
