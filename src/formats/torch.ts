/**
 * Torch checkpoints (`torch.save`, the zip format of torch ≥ 1.6): a pickle that says which tensors there are, and an
 * entry a storage. Nothing in it is executed (`pickle.ts`); names other than those of tensors and dicts are refused.
 * Source: torch/serialization.py and torch/_utils.py of torch 2.x.
 */
import { open } from "node:fs/promises";
import { FormatError, UnsupportedError } from "../errors.ts";
import { fileError, isAbsent } from "../storage/file-error.ts";
import { bytesPerElement, type DType } from "../tensor/dtype.ts";
import { allocate, bytesOf, type TypedArray } from "../tensor/typed-array.ts";
import { PickleObject, type PickleRules, type PickleValue, readPickle } from "./pickle.ts";
import { widened } from "./widen.ts";
import { ZipFile } from "./zip.ts";

/** A tensor that a checkpoint names; its elements are read by `TorchFile.read`. */
export class TorchTensor extends PickleObject {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** elements between neighbours along each axis */
  readonly strides: readonly number[];
  /** elements before the first */
  readonly offset: number;
  readonly storage: Storage;

  constructor(storage: Storage, offset: number, shape: readonly number[], strides: readonly number[]) {
    super("tensor");
    this.dtype = storage.dtype;
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

class Storage extends PickleObject {
  readonly dtype: DType;
  readonly key: string;
  readonly nElements: number;

  constructor(dtype: DType, key: string, nElements: number) {
    super("storage");
    this.dtype = dtype;
    this.key = key;
    this.nElements = nElements;
  }
}

const STORAGES: Readonly<Record<string, DType>> = {
  "torch.DoubleStorage": "F64",
  "torch.FloatStorage": "F32",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  "torch.LongStorage": "I64",
  "torch.IntStorage": "I32",
  "torch.ShortStorage": "I16",
  "torch.CharStorage": "I8",
  "torch.ByteStorage": "U8",
  "torch.BoolStorage": "BOOL",
};
/** Names that may be called, or that stand for nothing but themselves. */
const CALLS = new Set([
  "torch._utils._rebuild_tensor_v2",
  "torch._utils._rebuild_parameter",
  "collections.OrderedDict",
  "torch.Size",
  "torch.device",
]);
const DTYPE_NAME = /^torch\.(float|double|half|bfloat|u?int|long|short|bool|complex)\d*$/;

const MAX_PICKLE_BYTES = 64 * 1024 * 1024;
const LEGACY_PICKLE = [0x80, 0x02, 0x8a, 0x0a];

/** An open checkpoint. */
export class TorchFile {
  readonly path: string;
  /** what was saved: most often a Map from names to tensors */
  readonly value: PickleValue;
  readonly #zip: ZipFile;
  readonly #root: string;

  private constructor(zip: ZipFile, root: string, value: PickleValue) {
    this.path = zip.path;
    this.#zip = zip;
    this.#root = root;
    this.value = value;
  }

  /**
   * Opens a checkpoint and reads its pickle.
   * @throws {FormatError} damaged, or it names something that is no tensor, dict, list, number or string
   * @throws {UnsupportedError} the format of torch before 1.6, or big-endian
   */
  static async open(path: string): Promise<TorchFile> {
    await refuseOldFormats(path);
    const zip = await ZipFile.open(path);
    try {
      const pickle = [...zip.entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
      if (pickle.length !== 1)
        throw new FormatError(path, `${pickle.length} entries named */data.pkl, a torch checkpoint has one`);
      const root = pickle[0].slice(0, -"data.pkl".length);
      if (zip.entries.has(`${root}byteorder`)) {
        const order = Buffer.from(await zip.read(`${root}byteorder`, { maxBytes: 64 })).toString("latin1");
        if (order !== "little") throw new UnsupportedError(`${path}: byte order ${JSON.stringify(order)}`);
      }
      const bytes = await zip.read(pickle[0], { maxBytes: MAX_PICKLE_BYTES });
      const where = `${path}, ${pickle[0]}`;
      return new TorchFile(zip, root, readTensorPickle(where, bytes));
    } catch (error) {
      await zip.close();
      throw error;
    }
  }

  /** Elements of a tensor in row-major order, whatever its strides. @throws {FormatError} its storage is not what it says */
  async read(tensor: TorchTensor): Promise<TypedArray> {
    const { dtype, shape, storage, offset } = tensor;
    const entry = this.#zip.entry(`${this.#root}data/${storage.key}`);
    const size = bytesPerElement(dtype);
    if (entry.bytes !== storage.nElements * size)
      throw new FormatError(
        this.path,
        `storage ${storage.key} of ${storage.nElements} ${dtype} needs ${storage.nElements * size} bytes, its entry has ${entry.bytes}`,
      );
    const n = shape.reduce((a, b) => a * b, 1);
    const last =
      n === 0 ? offset : offset + shape.reduce((sum, d, i) => sum + (d - 1) * tensor.strides[i], 0);
    if (last >= Math.max(1, storage.nElements) && n > 0)
      throw new FormatError(
        this.path,
        `a tensor [${shape.join(", ")}] reaches element ${last} of a storage of ${storage.nElements}`,
      );
    if (isContiguous(tensor) && !entry.isDeflated) {
      const data = allocate(dtype, n);
      await this.#zip.check(entry.name);
      await this.#zip.readInto(entry.name, bytesOf(data), offset * size);
      return data;
    }
    const whole = allocate(dtype, storage.nElements);
    bytesOf(whole).set(await this.#zip.read(entry.name, { maxBytes: entry.bytes }));
    return rowMajor(whole, tensor, n);
  }

  /** The same, widened (or, from F64, rounded) to f32. @throws {FormatError} it holds no floating-point numbers */
  async readF32(tensor: TorchTensor): Promise<Float32Array> {
    return widened(this.path, "a tensor", tensor.dtype, await this.read(tensor));
  }

  async close(): Promise<void> {
    await this.#zip.close();
  }
}

/** What the pickle of a checkpoint comes to, by the rules of this file. @throws {FormatError} */
export function readTensorPickle(where: string, bytes: Uint8Array): PickleValue {
  return readPickle(where, bytes, new TensorRules(where));
}

/** What a checkpoint may name. */
class TensorRules implements PickleRules {
  readonly #where: string;

  constructor(where: string) {
    this.#where = where;
  }

  name(name: string, at: number): PickleValue {
    if (name in STORAGES || CALLS.has(name)) return new PickleObject(name);
    if (DTYPE_NAME.test(name)) return name;
    throw new FormatError(this.#where, `names ${JSON.stringify(name.slice(0, 80))}`, {
      offset: at,
      hint: "only tensors, dicts, lists, numbers and strings are read, and nothing is executed: save the state dict alone, or as safetensors",
    });
  }

  call(name: string, args: readonly PickleValue[], at: number): PickleValue {
    if (name === "collections.OrderedDict") return this.#orderedDict(args, at);
    if (name === "torch._utils._rebuild_tensor_v2") return this.#tensor(args, at);
    if (name === "torch._utils._rebuild_parameter" && args[0] instanceof TorchTensor) return args[0];
    if (name === "torch.Size" && isSizes(args[0])) return [...args[0]];
    if (name === "torch.device" && typeof args[0] === "string") return args[0];
    throw new FormatError(this.#where, `calls ${name} with what it does not take`, { offset: at });
  }

  reference(id: PickleValue, at: number): PickleValue {
    const [kind, type, key, , nElements] = Array.isArray(id) ? id : [];
    const dtype = type instanceof PickleObject ? STORAGES[type.name] : undefined;
    if (kind !== "storage" || dtype === undefined || typeof key !== "string" || !isSize(nElements))
      throw new FormatError(this.#where, "a reference that is no tensor's storage", { offset: at });
    return new Storage(dtype, key, nElements);
  }

  #orderedDict([pairs]: readonly PickleValue[], at: number): PickleValue {
    const dict = new Map<string, PickleValue>();
    if (pairs === undefined) return dict;
    if (!Array.isArray(pairs))
      throw new FormatError(this.#where, "a dict of what are no pairs", { offset: at });
    for (const pair of pairs) {
      if (!Array.isArray(pair) || typeof pair[0] !== "string" || pair.length !== 2)
        throw new FormatError(this.#where, "a dict of what are no pairs", { offset: at });
      dict.set(pair[0], pair[1]);
    }
    return dict;
  }

  #tensor([storage, offset, shape, strides]: readonly PickleValue[], at: number): TorchTensor {
    const fits =
      storage instanceof Storage &&
      isSize(offset) &&
      isSizes(shape) &&
      isSizes(strides) &&
      shape.length === strides.length &&
      shape.length <= 8;
    if (!fits)
      throw new FormatError(this.#where, "a tensor without storage, offset, shape and strides", {
        offset: at,
      });
    return new TorchTensor(storage, offset, shape, strides);
  }
}

function isSize(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isSizes(value: PickleValue | undefined): value is number[] {
  return Array.isArray(value) && value.every(isSize);
}

function isContiguous({ shape, strides }: TorchTensor): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis];
  }
  return true;
}

function rowMajor(whole: TypedArray, { dtype, shape, strides, offset }: TorchTensor, n: number): TypedArray {
  const result = allocate(dtype, n);
  const index = new Array<number>(shape.length).fill(0);
  let from = offset;
  for (let to = 0; to < n; to++) {
    result[to] = whole[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] += 1;
      from += strides[axis];
      if (index[axis] < shape[axis]) break;
      from -= index[axis] * strides[axis];
      index[axis] = 0;
    }
  }
  return result;
}

/** Older checkpoints are a bare pickle, or a tar: said in words rather than as "no zip archive". */
async function refuseOldFormats(path: string): Promise<void> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw isAbsent(cause) ? new FormatError(path, "no such file", { cause }) : fileError(cause, path);
  });
  try {
    const start = new Uint8Array(264);
    await file.read(start, 0, start.length, 0);
    const isPickle =
      LEGACY_PICKLE.every((byte, i) => start[i] === byte) || (start[0] === 0x80 && start[1] <= 5);
    const isTar = Buffer.from(start.subarray(257, 262)).toString("latin1") === "ustar";
    if (isPickle || isTar)
      throw new UnsupportedError(
        `${path}: a ${isTar ? "tar" : "bare pickle"}, the format of torch before 1.6`,
        "load it in a Python you trust and save the state dict again: torch.save(...), or safetensors",
      );
  } finally {
    await file.close();
  }
}
