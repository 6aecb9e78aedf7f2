/**
 * An engine's tensors on disk and back, a few megabytes at a time: never a second copy of the weights in memory.
 * `weights.safetensors` holds the parameters, `moments.safetensors` Adam's; names and layout are the engine's own
 * (latent-major f32), so what is read back is what was there, bit for bit.
 */
import { join } from "node:path";
import { FormatError, ShapeError } from "../errors.ts";
import { openSafetensors, type SafetensorsFile, writeSafetensors } from "../formats/safetensors.ts";
import type { Engine, EngineTensor, ExtraParameters, Weights } from "../kernels/kernels.ts";
import { EXTRA_PARAMETERS, parametersOf } from "../kernels/parameters.ts";
import { type WeightRows, wholeWeights } from "../kernels/weight-rows.ts";

const CHUNK_FLOATS = 1 << 20;

/** Which tensors each file of an engine's holds, in file order. */
function tensorFiles({ config }: Engine): [name: string, tensors: EngineTensor[]][] {
  const parameters = parametersOf(config.architecture);
  const moments = (["m", "v"] as const).flatMap((moment) =>
    parameters.map((name): EngineTensor => `${moment}.${name}`),
  );
  return [
    ["weights.safetensors", [...parameters]],
    ["moments.safetensors", moments],
  ];
}

/** The latents' counters, F64 [dSae], tensor `tokensSinceFired`. */
export const COUNTERS_FILE = "counters.safetensors";

export interface WrittenFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Streams all tensors of `engine`, and the counters, into `dir`. Each file is synced. */
export async function writeTensors(
  dir: string,
  engine: Engine,
  tokensSinceFired: Float64Array,
): Promise<WrittenFile[]> {
  const files: WrittenFile[] = [];
  for (const [name, tensors] of tensorFiles(engine)) {
    const toWrite = tensors.map((tensor) => ({
      name: tensor,
      dtype: "F32" as const,
      shape: shapeOf(engine, tensor),
      data: () => rowsOf(engine, tensor),
    }));
    files.push({ name, ...(await writeSafetensors(join(dir, name), toWrite)) });
  }
  const counters = {
    name: "tokensSinceFired",
    dtype: "F64" as const,
    shape: [tokensSinceFired.length],
    data: tokensSinceFired,
  };
  files.push({ name: COUNTERS_FILE, ...(await writeSafetensors(join(dir, COUNTERS_FILE), [counters])) });
  return files;
}

/** Overwrites every tensor of `engine` (`"all"`), or Adam's moments alone, with those in `dir`. */
export async function restoreTensors(dir: string, engine: Engine, which: "all" | "moments"): Promise<void> {
  for (const [name, tensors] of tensorFiles(engine)) {
    if (which === "moments" && name !== "moments.safetensors") continue;
    await withFile(join(dir, name), async (file) => {
      for (const tensor of tensors) {
        const shape = shapeOf(engine, tensor);
        checkShape(file, tensor, shape);
        for (const [from, to] of chunks(shape)) {
          await engine.write(tensor, from, (await file.readRows(tensor, from, to)) as Float32Array);
        }
      }
    });
  }
}

/** The parameters in `dir`, read when they are wanted; the caller closes them. */
export async function openWeights(dir: string): Promise<WeightRows> {
  const file = await openSafetensors(join(dir, "weights.safetensors"));
  try {
    const [dSae = 0, dIn = 0] = file.tensors.get("wEnc")?.shape ?? [];
    checkShape(file, "wEnc", [dSae, dIn]);
    checkShape(file, "wDec", [dSae, dIn]);
    checkShape(file, "bEnc", [dSae]);
    checkShape(file, "bDec", [dIn]);
    const extra = await readExtra(file, dSae);
    return {
      dIn,
      dSae,
      ...(extra && { extra }),
      read: async (tensor, from, to) => (await file.readRows(tensor, from, to)) as Float32Array,
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** What an architecture has beside the four; null: nothing. */
async function readExtra(file: SafetensorsFile, dSae: number): Promise<ExtraParameters | null> {
  const names = EXTRA_PARAMETERS.filter((name) => file.tensors.has(name));
  if (names.length === 0) return null;
  const read: [string, Float32Array][] = [];
  for (const name of names) {
    checkShape(file, name, [dSae]);
    read.push([name, (await file.read(name)) as Float32Array]);
  }
  return Object.fromEntries(read);
}

/** The parameters in `dir`, whole. */
export async function readWeights(dir: string): Promise<Weights> {
  const rows = await openWeights(dir);
  try {
    return await wholeWeights(rows);
  } finally {
    await rows.close();
  }
}

/** The counters in `dir`, [dSae]. */
export async function readCounters(dir: string): Promise<Float64Array> {
  return withFile(join(dir, COUNTERS_FILE), async (file) => {
    const counters = await file.read("tokensSinceFired");
    if (counters instanceof Float64Array) return counters;
    throw new FormatError(file.path, "tokensSinceFired is not F64");
  });
}

async function* rowsOf(engine: Engine, tensor: EngineTensor): AsyncIterable<Float32Array> {
  for (const [from, to] of chunks(shapeOf(engine, tensor))) yield await engine.read(tensor, from, to);
}

function* chunks(shape: readonly number[]): Iterable<[from: number, to: number]> {
  const [nRows, rowLength = 1] = shape;
  const step = Math.max(1, Math.floor(CHUNK_FLOATS / rowLength));
  for (let from = 0; from < nRows; from += step) yield [from, Math.min(from + step, nRows)];
}

function shapeOf(engine: Engine, tensor: EngineTensor): number[] {
  const { dIn, dSae } = engine.config;
  if (tensor.endsWith("bDec")) return [dIn];
  return tensor.endsWith("wEnc") || tensor.endsWith("wDec") ? [dSae, dIn] : [dSae];
}

function checkShape(file: SafetensorsFile, name: string, expected: readonly number[]): void {
  const info = file.tensors.get(name);
  if (info === undefined) throw new FormatError(file.path, `no tensor "${name}"`);
  if (info.dtype !== "F32") throw new FormatError(file.path, `"${name}" is ${info.dtype}, expected F32`);
  if (info.shape.length !== expected.length || info.shape.some((n, i) => n !== expected[i])) {
    throw new ShapeError(`"${name}" in ${file.path}`, info.shape, expected);
  }
}

async function withFile<T>(path: string, use: (file: SafetensorsFile) => Promise<T>): Promise<T> {
  const file = await openSafetensors(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
