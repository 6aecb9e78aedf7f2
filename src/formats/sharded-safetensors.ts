/**
 * Files of tensors by their names, and tensors over several safetensors files, as Hugging Face lays large models down:
 * `<name>.safetensors.index.json` with a `weight_map` from each tensor's name to the file beside it that holds it. The
 * index and the files must say the same: every tensor of every shard is in the map, under that shard, and nothing else is.
 * Source: huggingface_hub's split of state dicts (serialization/_base.py).
 */
import { dirname, join } from "node:path";
import { FormatError } from "../errors.ts";
import { readJson } from "../storage/json.ts";
import { bytesPerElement } from "../tensor/dtype.ts";
import { isObject } from "./json-fields.ts";
import { openSingleFile, type TensorFile, type TensorShape } from "./tensor-file.ts";

const INDEX = /\.safetensors\.index\.json$/;
const MAX_INDEX_BYTES = 64 * 1024 * 1024;
/** Shards that are open together. */
const MAX_SHARDS = 1000;
/** A file in the same folder, and nothing that could be read as another place. */
const SHARD_NAME = /^[^/\\\0]{1,200}\.safetensors$/;

/**
 * Opens a file of tensors by its ending: .safetensors, .npz, .pt, .pth, .bin, or the index of a sharded one.
 * @throws {FormatError} as the format's own reader
 */
export function openTensorFile(path: string): Promise<TensorFile> {
  return INDEX.test(path) ? openSharded(path) : openSingleFile(path);
}

/**
 * Opens an index and all its shards.
 * @throws {FormatError} a shard is missing; a tensor is in another shard than the index says, in two, in none, or not in
 * the index; sizes that the index states are not those of the tensors
 */
async function openSharded(path: string): Promise<TensorFile> {
  const { shardOf, totalSize } = await readIndex(path);
  const shards = new Map<string, TensorFile>();
  const close = async () => {
    for (const shard of shards.values()) await shard.close();
  };
  try {
    for (const name of new Set(shardOf.values()))
      shards.set(name, await openSingleFile(join(dirname(path), name)));
    const tensors = checkedTensors(path, shardOf, shards);
    checkSize(path, totalSize, tensors);
    return new Shards(path, tensors, shardOf, shards, close);
  } catch (error) {
    await close();
    throw error;
  }
}

interface Index {
  /** tensor → file name */
  readonly shardOf: ReadonlyMap<string, string>;
  readonly totalSize: number | null;
}

async function readIndex(path: string): Promise<Index> {
  const json = await readJson(path, { maxBytes: MAX_INDEX_BYTES });
  const map = isObject(json) ? json.weight_map : undefined;
  if (!isObject(json) || !isObject(map))
    throw new FormatError(path, 'no "weight_map" of tensors\' names to files');
  const shardOf = new Map<string, string>();
  for (const [tensor, file] of Object.entries(map)) {
    if (typeof file !== "string" || !SHARD_NAME.test(file))
      throw new FormatError(
        path,
        `"${tensor.slice(0, 80)}" lies in ${JSON.stringify(file)?.slice(0, 80)}, expected a .safetensors file in the same folder`,
      );
    shardOf.set(tensor, file);
  }
  const nShards = new Set(shardOf.values()).size;
  if (nShards === 0 || nShards > MAX_SHARDS)
    throw new FormatError(path, `${nShards} shards, expected 1 to ${MAX_SHARDS}`);
  const size = isObject(json.metadata) ? json.metadata.total_size : undefined;
  return { shardOf, totalSize: typeof size === "number" ? size : null };
}

function checkedTensors(
  path: string,
  shardOf: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, TensorFile>,
): Map<string, TensorShape> {
  const tensors = new Map<string, TensorShape>();
  for (const [file, shard] of shards)
    for (const [name, tensor] of shard.tensors) {
      const shown = `"${name.slice(0, 80)}"`;
      if (tensors.has(name)) throw new FormatError(shard.path, `tensor ${shown} lies in another shard too`);
      const said = shardOf.get(name);
      if (said !== file)
        throw new FormatError(
          shard.path,
          said === undefined
            ? `tensor ${shown} is not in ${path}`
            : `tensor ${shown} belongs into ${said}, by the index`,
        );
      tensors.set(name, tensor);
    }
  for (const [name, file] of shardOf)
    if (!tensors.has(name))
      throw new FormatError(
        join(dirname(path), file),
        `no tensor "${name.slice(0, 80)}", which the index has here`,
      );
  return tensors;
}

/** Some tools count bytes of tensors that share memory once: a total below the sum says nothing, one above it does. */
function checkSize(path: string, totalSize: number | null, tensors: ReadonlyMap<string, TensorShape>): void {
  if (totalSize === null) return;
  let sum = 0;
  for (const { dtype, shape } of tensors.values())
    sum += shape.reduce((a, b) => a * b, bytesPerElement(dtype));
  if (totalSize > sum)
    throw new FormatError(path, `total_size is ${totalSize}, the shards hold ${sum} bytes of tensors`);
}

class Shards implements TensorFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorShape>;
  readonly others: TensorFile["others"] = new Map();
  readonly close: () => Promise<void>;
  readonly #shardOf: ReadonlyMap<string, string>;
  readonly #shards: ReadonlyMap<string, TensorFile>;

  constructor(
    path: string,
    tensors: ReadonlyMap<string, TensorShape>,
    shardOf: ReadonlyMap<string, string>,
    shards: ReadonlyMap<string, TensorFile>,
    close: () => Promise<void>,
  ) {
    this.path = path;
    this.tensors = tensors;
    this.#shardOf = shardOf;
    this.#shards = shards;
    this.close = close;
  }

  whole = async (name: string) => this.#of(name).whole(name);
  rows = async (name: string, from: number, to: number) => this.#of(name).rows(name, from, to);
  columns = async (name: string, from: number, to: number) => this.#of(name).columns(name, from, to);
  numbers = async (name: string) => this.#of(name).numbers(name);

  #of(name: string): TensorFile {
    const shard = this.#shards.get(this.#shardOf.get(name) ?? "");
    if (shard === undefined) throw new FormatError(this.path, `no tensor "${name}"`);
    return shard;
  }
}
