/**
 * NumPy arrays: `.npy` (a header that is a Python dict literal, then the elements) and `.npz` (a zip archive of them).
 * Source: NumPy's format specification (numpy/lib/format.py), versions 1.0 to 3.0. Object arrays are pickles: refused.
 */
import { FormatError } from "../errors.ts";
import { bytesPerElement, type DType } from "../tensor/dtype.ts";
import { allocate, bytesOf, type TypedArray } from "../tensor/typed-array.ts";
import { widened } from "./widen.ts";
import { ZipFile } from "./zip.ts";

/** What the header of an array says. */
export interface NpyHeader {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly isFortranOrder: boolean;
  /** where the elements begin */
  readonly dataOffset: number;
}

/** Longest header that is read; NumPy's own limit for untrusted files. */
const MAX_HEADER_BYTES = 10_000;
const MAGIC = "\x93NUMPY";

const DTYPES: Readonly<Record<string, DType>> = {
  f8: "F64",
  f4: "F32",
  f2: "F16",
  i8: "I64",
  i4: "I32",
  i2: "I16",
  i1: "I8",
  u8: "U64",
  u4: "U32",
  u2: "U16",
  u1: "U8",
  b1: "BOOL",
};

/**
 * Reads the header at the start of `bytes`, which must hold it whole (or 10 012 bytes).
 * @throws {FormatError} naming what was got; `file` may name an entry of an archive
 */
export function parseNpyHeader(file: string, bytes: Uint8Array): NpyHeader {
  const latin1 = (from: number, to: number) => Buffer.from(bytes.subarray(from, to)).toString("latin1");
  if (bytes.length < 10 || latin1(0, 6) !== MAGIC)
    throw new FormatError(file, "does not begin as a NumPy array", { offset: 0 });
  const major = bytes[6];
  if (major < 1 || major > 3)
    throw new FormatError(file, `NumPy format ${major}.${bytes[7]}, expected 1.0 to 3.0`, { offset: 6 });
  const prefix = major === 1 ? 10 : 12;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < prefix) throw new FormatError(file, "ends within its header", { offset: bytes.length });
  const headerBytes = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerBytes > MAX_HEADER_BYTES || prefix + headerBytes > bytes.length)
    throw new FormatError(
      file,
      `a header of ${headerBytes} bytes, the array has ${bytes.length - prefix} after its length (cap ${MAX_HEADER_BYTES})`,
      { offset: 8 },
    );
  const text = latin1(prefix, prefix + headerBytes);
  const fields = dictLiteral(file, text, prefix);
  return {
    dtype: dtypeOf(file, fields.descr, prefix),
    shape: shapeOf(file, fields.shape, prefix),
    isFortranOrder: fields.fortranOrder === "True",
    dataOffset: prefix + headerBytes,
  };
}

const HEADER =
  /^\{\s*(?:'(descr|fortran_order|shape)'\s*:\s*('[^']*'|True|False|\([\d,\sL]*\))\s*(?:,\s*)?){3}\}\s*$/;
const FIELD = /'(descr|fortran_order|shape)'\s*:\s*('[^']*'|True|False|\([\d,\sL]*\))/g;

/** The three keys of a header; nothing else is a header, and nothing is evaluated. */
function dictLiteral(file: string, text: string, offset: number) {
  const fields = new Map<string, string>();
  if (HEADER.test(text)) for (const [, key, value] of text.matchAll(FIELD)) fields.set(key, value);
  const [descr, fortranOrder, shape] = ["descr", "fortran_order", "shape"].map((key) => fields.get(key));
  if (descr === undefined || fortranOrder === undefined || shape === undefined)
    throw new FormatError(
      file,
      `header ${JSON.stringify(text.trim().slice(0, 120))}, expected a dict of descr, fortran_order and shape`,
      { offset },
    );
  return { descr, fortranOrder, shape };
}

function dtypeOf(file: string, descr: string, offset: number): DType {
  const match = /^'([<>|=]?)([a-zA-Z]\d*)'$/.exec(descr);
  const dtype = match === null ? undefined : DTYPES[match[2]];
  if (dtype === undefined)
    throw new FormatError(file, `element type ${descr.slice(0, 40)} is not a number's`, {
      offset,
      hint: descr.includes("O") ? "an array of Python objects is a pickle, which is never loaded" : undefined,
    });
  if (match?.[1] === ">")
    throw new FormatError(file, `element type ${descr} is big-endian, expected little-endian`, { offset });
  return dtype;
}

function shapeOf(file: string, tuple: string, offset: number): number[] {
  const shape = (tuple.match(/\d+/g) ?? []).map(Number);
  if (!tuple.startsWith("(") || shape.length > 8 || !shape.every((size) => Number.isSafeInteger(size)))
    throw new FormatError(file, `shape ${tuple.slice(0, 80)}, expected at most 8 sizes`, { offset });
  return shape;
}

/** An open `.npz`. Arrays it returns are fresh copies, in C order. */
export class NpzFile {
  readonly path: string;
  readonly arrays: ReadonlyMap<string, NpyHeader>;
  readonly #zip: ZipFile;

  private constructor(zip: ZipFile, arrays: Map<string, NpyHeader>) {
    this.path = zip.path;
    this.#zip = zip;
    this.arrays = arrays;
  }

  /** Opens the archive and reads every array's header. @throws {FormatError} */
  static async open(path: string): Promise<NpzFile> {
    const zip = await ZipFile.open(path);
    try {
      const arrays = new Map<string, NpyHeader>();
      for (const { name, bytes, isDeflated } of zip.entries.values()) {
        if (!name.endsWith(".npy")) throw new FormatError(path, `entry "${name}" is not an array (.npy)`);
        const where = `${path}, ${name}`;
        const start = isDeflated
          ? await zip.read(name, { maxBytes: Number.MAX_SAFE_INTEGER })
          : await startOf(zip, name, bytes);
        const header = parseNpyHeader(where, start);
        const wanted = nElements(header) * bytesPerElement(header.dtype);
        if (header.dataOffset + wanted !== bytes)
          throw new FormatError(
            where,
            `shape [${header.shape.join(", ")}] ${header.dtype} needs ${wanted} bytes, ${bytes - header.dataOffset} follow the header`,
            { offset: header.dataOffset },
          );
        arrays.set(name.slice(0, -".npy".length), header);
      }
      return new NpzFile(zip, arrays);
    } catch (error) {
      await zip.close();
      throw error;
    }
  }

  /** Whole array in its own element type, in C order. */
  async read(name: string): Promise<TypedArray> {
    const header = this.#header(name);
    const entry = this.#zip.entry(`${name}.npy`);
    const data = allocate(header.dtype, nElements(header));
    if (entry.isDeflated) {
      const whole = await this.#zip.read(entry.name, { maxBytes: entry.bytes });
      bytesOf(data).set(whole.subarray(header.dataOffset));
    } else {
      await this.#zip.check(entry.name);
      await this.#zip.readInto(entry.name, bytesOf(data), header.dataOffset);
    }
    return header.isFortranOrder && header.shape.length > 1 ? inCOrder(data, header) : data;
  }

  /** Whole array widened (or, from F64, rounded) to f32. @throws {FormatError} it holds no floating-point numbers */
  async readF32(name: string): Promise<Float32Array> {
    const { dtype } = this.#header(name);
    return widened(this.path, `array "${name}"`, dtype, await this.read(name));
  }

  async close(): Promise<void> {
    await this.#zip.close();
  }

  #header(name: string): NpyHeader {
    const header = this.arrays.get(name);
    if (header === undefined)
      throw new FormatError(
        this.path,
        `no array "${name}"; it holds ${[...this.arrays.keys()].slice(0, 12).join(", ") || "none"}`,
      );
    return header;
  }
}

async function startOf(zip: ZipFile, name: string, bytes: number): Promise<Uint8Array> {
  const start = new Uint8Array(Math.min(bytes, MAX_HEADER_BYTES + 12));
  await zip.readInto(name, start, 0);
  return start;
}

function nElements({ shape }: NpyHeader): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Fortran order means the first index runs fastest: the bytes of the transposed array. */
function inCOrder(data: TypedArray, { dtype, shape }: NpyHeader): TypedArray {
  const result = allocate(dtype, data.length);
  const index = new Array<number>(shape.length).fill(0);
  for (let to = 0; to < data.length; to++) {
    let from = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) from = from * shape[axis] + index[axis];
    result[to] = data[from];
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
  }
  return result;
}
