/** A comparison latent by latent as a safetensors file: what a scatter is drawn from, and what other tools can read. */
import { FormatError } from "../../errors.ts";
import {
  openSafetensors,
  type SafetensorsFile,
  type TensorToWrite,
  writeSafetensors,
} from "../../formats/safetensors.ts";
import type { ComparedLatents, LatentComparison, LatentsByIndex } from "./comparison.ts";
import type { NearestRows } from "./nearest-rows.ts";

const FORMAT = "lapidary-compared-latents";
const VERSION = "1";
const BY_INDEX = {
  decoderCosine: "by_index.decoder_cosine",
  encoderCosine: "by_index.encoder_cosine",
  thresholdRatio: "by_index.threshold_ratio",
  logFrequencyChange: "by_index.log_frequency_change",
} as const satisfies Record<keyof LatentsByIndex, string>;

/** What the file holds: the arrays, and hashes of the two SAEs (`SaeIdentity`). */
export interface SavedLatents {
  readonly latents: ComparedLatents;
  readonly a: string;
  readonly b: string;
}

/**
 * Writes the arrays of a comparison: `by_index.*` F64 [dSae] where there are any, and `nearest_in_b.index` I32 and
 * `.cosine` F64 [dSae of A], `nearest_in_a.*` [dSae of B]. NaN is undefined, index −1 none.
 */
export async function saveComparedLatents(
  path: string,
  { summary, latents }: LatentComparison,
): Promise<void> {
  const tensors: TensorToWrite[] = [];
  for (const [key, name] of Object.entries(BY_INDEX)) {
    const data = latents.byIndex?.[key as keyof LatentsByIndex] ?? null;
    if (data !== null) tensors.push({ name, dtype: "F64", shape: [data.length], data });
  }
  for (const side of ["b", "a"] as const) {
    const { index, cosine } = side === "b" ? latents.nearestInB : latents.nearestInA;
    tensors.push(
      { name: `nearest_in_${side}.cosine`, dtype: "F64", shape: [cosine.length], data: cosine },
      { name: `nearest_in_${side}.index`, dtype: "I32", shape: [index.length], data: index },
    );
  }
  await writeSafetensors(path, tensors, {
    format: FORMAT,
    version: VERSION,
    a: summary.a.hash,
    b: summary.b.hash,
  });
}

/** @throws {FormatError} it is another file, or its arrays do not fit each other */
export async function loadComparedLatents(path: string): Promise<SavedLatents> {
  const file = await openSafetensors(path);
  try {
    const { format, version, a, b } = file.metadata;
    if (format !== FORMAT || version !== VERSION || a === undefined || b === undefined)
      throw new FormatError(
        path,
        `not a comparison of latents: its metadata says format ${format}, version ${version}; expected ${FORMAT}, ${VERSION}`,
        { hint: "run lapidary compare again" },
      );
    const [nA, nB] = ["nearest_in_b.index", "nearest_in_a.index"].map(
      (name) => file.tensors.get(name)?.shape[0] ?? 0,
    );
    const latents = {
      byIndex: file.tensors.has(BY_INDEX.decoderCosine) ? await readByIndex(file, nA, nB) : null,
      nearestInB: await readNearest(file, "nearest_in_b", nA, nB),
      nearestInA: await readNearest(file, "nearest_in_a", nB, nA),
    };
    return { latents, a, b };
  } finally {
    await file.close();
  }
}

async function readByIndex(file: SafetensorsFile, nA: number, nB: number): Promise<LatentsByIndex> {
  if (nA !== nB)
    throw new FormatError(file.path, `compares ${nA} latents with ${nB}, and both by index all the same`);
  const read = (key: keyof LatentsByIndex) => readF64(file, BY_INDEX[key], nA);
  const readIfPresent = (key: keyof LatentsByIndex) => (file.tensors.has(BY_INDEX[key]) ? read(key) : null);
  return {
    decoderCosine: await read("decoderCosine"),
    encoderCosine: await read("encoderCosine"),
    thresholdRatio: await readIfPresent("thresholdRatio"),
    logFrequencyChange: await readIfPresent("logFrequencyChange"),
  };
}

/** `n` rows, each with the index of one of `among`, or −1. */
async function readNearest(
  file: SafetensorsFile,
  name: string,
  n: number,
  among: number,
): Promise<NearestRows> {
  checkTensor(file, `${name}.index`, "I32", n);
  const index = (await file.read(`${name}.index`)) as Int32Array;
  const wrong = index.findIndex((found) => found < -1 || found >= among);
  if (wrong >= 0)
    throw new FormatError(file.path, `${name}.index[${wrong}] is ${index[wrong]}, of ${among} latents`);
  return { index, cosine: await readF64(file, `${name}.cosine`, n) };
}

async function readF64(file: SafetensorsFile, name: string, n: number): Promise<Float64Array> {
  checkTensor(file, name, "F64", n);
  return (await file.read(name)) as Float64Array;
}

function checkTensor({ path, tensors }: SafetensorsFile, name: string, dtype: string, n: number): void {
  const info = tensors.get(name);
  if (info?.dtype === dtype && info.shape.length === 1 && info.shape[0] === n) return;
  const got = info === undefined ? "absent" : `${info.dtype} [${info.shape.join(", ")}]`;
  throw new FormatError(path, `tensor "${name}" is ${got}, expected ${dtype} [${n}]`);
}
