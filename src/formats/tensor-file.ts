/**
 * A file of named tensors, whatever its format: safetensors, NumPy's npz, or a torch checkpoint. Rows of a matrix come as
 * f32, from a safetensors file read when they are wanted; of the other two a tensor is read whole at its first use and
 * kept until the file is closed, because their checksums and compression know no rows.
 */
import { FormatError, ShapeError } from "../errors.ts";
import type { DType } from "../tensor/dtype.ts";
import { NpzFile } from "./npy.ts";
import type { PickleKey, PickleValue } from "./pickle.ts";
import { readEncoderRows, readRowsF32 } from "./saelens-encoder.ts";
import { openSafetensors, type SafetensorsFile } from "./safetensors.ts";
import { TorchFile, TorchTensor } from "./torch.ts";

export interface TensorShape {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export interface TensorFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorShape>;
  /** what a torch checkpoint's dict holds beside tensors; empty for other formats */
  readonly others: ReadonlyMap<string, PickleValue>;
  /** The whole tensor, f32. @throws {FormatError} absent, or no floating-point numbers */
  whole(name: string): Promise<Float32Array>;
  /** Rows [from, to) of a matrix [n, m], f32: [to − from, m]. */
  rows(name: string, from: number, to: number): Promise<Float32Array>;
  /** Columns [from, to) of a matrix [n, m] as rows, f32: [to − from, n]. */
  columns(name: string, from: number, to: number): Promise<Float32Array>;
  /** The values of a small tensor of any type, as numbers. */
  numbers(name: string): Promise<number[]>;
  close(): Promise<void>;
}

/** Columns turned at a time, so that what is written stays in the cache. */
const TILE = 64;
/** Values that `numbers` reads at most. */
const MAX_NUMBERS = 1 << 16;

/** Opens one file by its ending: .safetensors, .npz, .pt, .pth or .bin. @throws {FormatError} */
export async function openSingleFile(path: string): Promise<TensorFile> {
  if (path.endsWith(".safetensors")) return ofSafetensors(await openSafetensors(path));
  if (path.endsWith(".npz")) {
    const npz = await NpzFile.open(path);
    const read = { f32: (name: string) => npz.readF32(name), any: (name: string) => npz.read(name) };
    return new WholeTensors(path, npz.arrays, new Map(), read, () => npz.close());
  }
  if (/\.(pt|pth|bin)$/.test(path)) {
    const torch = await TorchFile.open(path);
    try {
      return ofTorch(torch);
    } catch (error) {
      await torch.close();
      throw error;
    }
  }
  throw new FormatError(path, "no file of tensors by its name", {
    hint: "its name must end with .safetensors, .npz, .pt, .pth or .bin",
  });
}

function ofSafetensors(file: SafetensorsFile): TensorFile {
  const { path, tensors } = file;
  return {
    path,
    tensors,
    others: new Map(),
    whole: (name) => file.readF32(name),
    rows: (name, from, to) => readRowsF32(file, name, from, to),
    columns: (name, from, to) => readEncoderRows(file, name, from, to),
    numbers: async (name) => asNumbers(path, name, await file.read(name)),
    close: () => file.close(),
  };
}

function ofTorch(torch: TorchFile): TensorFile {
  const { path, value } = torch;
  if (!(value instanceof Map)) throw new FormatError(path, "what was saved is no dict of tensors");
  const tensors = new Map<string, TorchTensor>();
  const others = new Map<string, PickleValue>();
  for (const [key, entry] of value as Map<PickleKey, PickleValue>)
    if (entry instanceof TorchTensor) tensors.set(String(key), entry);
    else others.set(String(key), entry);
  const find = (name: string) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw absent(path, name, tensors);
    return tensor;
  };
  const read = {
    f32: (name: string) => torch.readF32(find(name)),
    any: (name: string) => torch.read(find(name)),
  };
  return new WholeTensors(path, tensors, others, read, () => torch.close());
}

interface Reads {
  f32(name: string): Promise<Float32Array>;
  any(name: string): Promise<ArrayLike<number | bigint>>;
}

/** Tensors that are read whole, once. */
class WholeTensors implements TensorFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorShape>;
  readonly others: ReadonlyMap<string, PickleValue>;
  readonly #read: Reads;
  readonly #close: () => Promise<void>;
  readonly #kept = new Map<string, Promise<Float32Array>>();

  constructor(
    path: string,
    tensors: ReadonlyMap<string, TensorShape>,
    others: ReadonlyMap<string, PickleValue>,
    read: Reads,
    close: () => Promise<void>,
  ) {
    this.path = path;
    this.tensors = tensors;
    this.others = others;
    this.#read = read;
    this.#close = close;
  }

  async whole(name: string): Promise<Float32Array> {
    return (await this.#keep(name)).slice();
  }

  async rows(name: string, from: number, to: number): Promise<Float32Array> {
    const [, width] = this.#matrix(name, 0, from, to);
    return (await this.#keep(name)).slice(from * width, to * width);
  }

  async columns(name: string, from: number, to: number): Promise<Float32Array> {
    const [n, m] = this.#matrix(name, 1, from, to);
    const values = await this.#keep(name);
    const out = new Float32Array((to - from) * n);
    for (let c0 = from; c0 < to; c0 += TILE) {
      const c1 = Math.min(c0 + TILE, to);
      for (let r = 0; r < n; r++) for (let c = c0; c < c1; c++) out[(c - from) * n + r] = values[r * m + c];
    }
    return out;
  }

  async numbers(name: string): Promise<number[]> {
    return asNumbers(this.path, name, await this.#read.any(name));
  }

  async close(): Promise<void> {
    this.#kept.clear();
    await this.#close();
  }

  #keep(name: string): Promise<Float32Array> {
    let values = this.#kept.get(name);
    if (values === undefined) {
      values = this.#read.f32(name);
      this.#kept.set(name, values);
    }
    return values;
  }

  #matrix(name: string, axis: 0 | 1, from: number, to: number): readonly [number, number] {
    const shape = this.tensors.get(name)?.shape;
    if (shape === undefined) throw absent(this.path, name, this.tensors);
    if (shape.length !== 2 || !(from >= 0 && from <= to && to <= shape[axis]))
      throw new ShapeError(
        `a range of "${name}" in ${this.path}`,
        [from, to],
        `within [${shape.join(", ")}]`,
      );
    return [shape[0], shape[1]];
  }
}

function asNumbers(path: string, name: string, values: ArrayLike<number | bigint>): number[] {
  if (values.length > MAX_NUMBERS)
    throw new FormatError(
      path,
      `"${name}" holds ${values.length} values, at most ${MAX_NUMBERS} were expected`,
    );
  return Array.from(values, Number);
}

function absent(path: string, name: string, tensors: ReadonlyMap<string, unknown>): FormatError {
  const known = [...tensors.keys()].slice(0, 12).join(", ");
  return new FormatError(path, `no tensor "${name}"; it holds ${known || "none"}`);
}
