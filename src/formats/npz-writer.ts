/**
 * Writing `.npz`: a zip archive of NumPy arrays, stored, in C order. The same arrays give the same bytes.
 * Source: NumPy's format specification, version 1.0 (numpy/lib/format.py).
 */
import { UnsupportedError } from "../errors.ts";
import { bytesPerElement, type DType } from "../tensor/dtype.ts";
import { bytesOf } from "../tensor/typed-array.ts";
import type { TensorToWrite } from "./safetensors.ts";
import { writeZip } from "./zip-writer.ts";

const DESCR: Readonly<Partial<Record<DType, string>>> = {
  F64: "<f8",
  F32: "<f4",
  F16: "<f2",
  I64: "<i8",
  I32: "<i4",
  U8: "|u1",
  BOOL: "|b1",
};

/**
 * Writes an archive atomically, arrays in the order given. Pieces of an array are asked for twice. Returns its size and
 * sha-256.
 * @throws {UnsupportedError} an element type that NumPy lacks (BF16), or that is not written
 * @throws {ShapeError} pieces that do not add up to their array
 */
export async function writeNpz(
  path: string,
  arrays: readonly TensorToWrite[],
): Promise<{ bytes: number; sha256: string }> {
  return writeZip(
    path,
    arrays.map((array) => {
      const header = npyHeader(array);
      return {
        name: `${array.name}.npy`,
        bytes: header.length + array.shape.reduce((a, b) => a * b, bytesPerElement(array.dtype)),
        async *pieces() {
          yield header;
          if (typeof array.data !== "function") yield bytesOf(array.data);
          else for await (const piece of array.data()) yield bytesOf(piece);
        },
      };
    }),
  );
}

/** Magic, version 1.0, length, and the dict, filled up with blanks so that elements begin at a multiple of 64. */
function npyHeader({ name, dtype, shape }: TensorToWrite): Uint8Array {
  const descr = DESCR[dtype];
  if (descr === undefined)
    throw new UnsupportedError(`array "${name}" of ${dtype} in an npz file`, "NumPy knows float32, not BF16");
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const length = Math.ceil((10 + dict.length + 1) / 64) * 64;
  const header = Buffer.alloc(length, " ");
  header.write("\x93NUMPY\x01\x00", 0, "latin1");
  header.writeUInt16LE(length - 10, 8);
  header.write(dict, 10, "latin1");
  header[length - 1] = 0x0a;
  return header;
}
