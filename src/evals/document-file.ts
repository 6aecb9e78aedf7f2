/**
 * Sums of documents on disk: what paired intervals need of an evaluation that is over. One safetensors file holds several
 * sets. Of set s: `s/number` [n] u32, the documents' numbers (or blocks', beyond MAX_BLOCKS); `s/sums` [n, N_QUANTITIES]
 * and `s/y` [n, dIn] f64, about `s/origin` [dIn] f64.
 */
import { FormatError } from "../errors.ts";
import {
  openSafetensors,
  type SafetensorsFile,
  type TensorToWrite,
  writeSafetensors,
} from "../formats/safetensors.ts";
import type { Parts } from "./bootstrap.ts";
import { type DocumentSums, MAX_BLOCKS } from "./documents.ts";
import { N_QUANTITIES, QUANTITIES, TokenSums } from "./token-sums.ts";

const METADATA = { format: "lapidary-documents", version: "1", quantities: QUANTITIES.join(" ") };

/** Writes the sums of each set under its name; some dIn doubles a document. Returns the file's size and sha-256. */
export async function saveDocumentSums(
  path: string,
  sets: Readonly<Record<string, DocumentSums>>,
): Promise<{ bytes: number; sha256: string }> {
  return writeSafetensors(path, Object.entries(sets).flatMap(tensorsOf), METADATA);
}

function tensorsOf([set, documents]: [string, DocumentSums]): TensorToWrite[] {
  const parts = documents.blocks();
  const { origin } = documents;
  return [
    {
      name: `${set}/number`,
      dtype: "U32",
      shape: [parts.length],
      data: Uint32Array.from(parts, ([number]) => number),
    },
    {
      name: `${set}/sums`,
      dtype: "F64",
      shape: [parts.length, N_QUANTITIES],
      async *data() {
        for (const [, part] of parts) yield part.toArray();
      },
    },
    {
      name: `${set}/y`,
      dtype: "F64",
      shape: [parts.length, origin.length],
      async *data() {
        for (const [, part] of parts) yield part.y;
      },
    },
    { name: `${set}/origin`, dtype: "F64", shape: [origin.length], data: origin },
  ];
}

/**
 * The sums of every set of a file, as `pairedDifferences` takes them.
 * @throws {FormatError} no such file, one of another version, or one that does not hold what its sets need
 */
export async function loadDocumentSums(path: string): Promise<Map<string, Parts>> {
  const file = await openSafetensors(path);
  try {
    for (const [key, wanted] of Object.entries(METADATA))
      if (file.metadata[key] !== wanted)
        throw new FormatError(path, `${key} is "${file.metadata[key] ?? ""}", expected "${wanted}"`, {
          hint: "evaluate again",
        });
    const sets = [...file.tensors.keys()].flatMap((name) => name.match(/^(.*)\/number$/s)?.[1] ?? []);
    const found = new Map<string, Parts>();
    for (const set of sets) found.set(set, await readSet(file, set));
    return found;
  } finally {
    await file.close();
  }
}

async function readSet(file: SafetensorsFile, set: string): Promise<Parts> {
  const shape = (name: string) => file.tensors.get(`${set}/${name}`)?.shape ?? [];
  const [[n = 0], [dIn = 0]] = [shape("number"), shape("origin")];
  if (n < 1 || n > MAX_BLOCKS || dIn < 1)
    throw new FormatError(file.path, `set "${set}": ${n} documents of ${dIn} dimensions`);
  const read = async (name: string, dtype: "U32" | "F64", wanted: readonly number[]) => {
    const info = file.tensors.get(`${set}/${name}`);
    if (info?.dtype !== dtype || info.shape.join() !== wanted.join())
      throw new FormatError(
        file.path,
        `"${set}/${name}" is ${info ? `${info.dtype} [${info.shape.join(", ")}]` : "absent"}, expected ${dtype} [${wanted.join(", ")}]`,
      );
    const data = (await file.read(info.name)) as Uint32Array | Float64Array;
    if (!data.every(Number.isFinite))
      throw new FormatError(file.path, `"${info.name}" holds a number that is not finite`);
    return data;
  };
  const numbers = await read("number", "U32", [n]);
  const sums = (await read("sums", "F64", [n, N_QUANTITIES])) as Float64Array;
  const y = (await read("y", "F64", [n, dIn])) as Float64Array;
  const origin = (await read("origin", "F64", [dIn])) as Float64Array;
  return Array.from(numbers, (number, i) => [
    number,
    TokenSums.of(
      origin,
      y.subarray(i * dIn, (i + 1) * dIn),
      sums.subarray(i * N_QUANTITIES, (i + 1) * N_QUANTITIES),
    ),
  ]);
}
