/** Activations made elsewhere, as the importer sees them: a run of equal units (contexts or rows) that can be read by range. */
import { basename } from "node:path";
import { DataError } from "../errors.ts";
import { hashFile } from "../storage/hash.ts";
import type { TypedArray } from "../tensor/typed-array.ts";
import type { ActivationRows } from "./activations.ts";

/** Labels a store keeps beside each activation. */
export type Label = "tokenIds" | "document" | "position" | "window" | "role";

export interface ImportSource {
  readonly kind: "saelens-cache" | "safetensors";
  /** paths of the files the activations come from, in order */
  readonly files: readonly string[];
  readonly dIn: number;
  /** the store's dtype that keeps every bit of the source, or f32 where the source is wider */
  readonly dtype: "bf16" | "f32";
  /** as the source spells it; null if it does not say */
  readonly hookName: string | null;
  readonly modelName: string | null;
  /** a unit is what is read at once at least: a context of a cache, a single row elsewhere */
  readonly nUnits: number;
  readonly rowsPerUnit: number;
  /** labels the source does not have; they are stored as zeros */
  readonly absent: readonly Label[];
  /** Units [from, to), all their rows. */
  read(from: number, to: number): Promise<ActivationRows>;
  close(): Promise<void>;
}

/** Whole numbers of any integer type as u32. @throws {DataError} one is negative, or needs more than 32 bits */
export function toU32(values: TypedArray, what: string): Uint32Array {
  const out = new Uint32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = Number(values[i]);
    if (!(value >= 0 && value <= 0xffffffff && Number.isInteger(value)))
      throw new DataError(`${what}: entry ${i} is ${value}, expected a whole number from 0 to 2^32 − 1`);
    out[i] = value;
  }
  return out;
}

/** Name, size and hash of each file: what the imported store is made of. */
export async function describeFiles(
  files: readonly string[],
  onFile: (done: number) => void,
): Promise<{ name: string; sha256: string }[]> {
  const described: { name: string; sha256: string }[] = [];
  for (const path of files) {
    described.push({ name: basename(path), sha256: await hashFile(path) });
    onFile(described.length);
  }
  return described;
}
