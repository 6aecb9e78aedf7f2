/**
 * Safetensors files as an import source: `activations [n, dIn]` and, as far as they are known, `token_ids`, `document`,
 * `position`, `window` and `role`, each [n] whole numbers. Several files follow each other in the order of their names.
 */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { DataError } from "../errors.ts";
import { openSafetensors, type SafetensorsFile } from "../formats/safetensors.ts";
import { bf16ToF32, f16ToF32 } from "../tensor/half.ts";
import type { TypedArray } from "../tensor/typed-array.ts";
import type { ActivationRows } from "./activations.ts";
import { type ImportSource, type Label, toU32 } from "./import-source.ts";
import { allocateRows } from "./rows.ts";

const LABELS: Record<Label, string> = {
  tokenIds: "token_ids",
  document: "document",
  position: "position",
  window: "window",
  role: "role",
};
const FLOATS = ["BF16", "F16", "F32", "F64"];
const SNIPPET = "docs/formats/import.md has a Python snippet that writes such files";

/** @throws {DataError} no activations, or files that do not fit each other */
export async function openSafetensorsDump(paths: readonly string[]): Promise<ImportSource> {
  const files: SafetensorsFile[] = [];
  const close = async () => {
    for (const file of files) await file.close();
  };
  try {
    for (const path of paths) files.push(await openSafetensors(path));
    return { ...describe(files), files: paths, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function describe(files: readonly SafetensorsFile[]): Omit<ImportSource, "files" | "close"> {
  const shapes = files.map(checkedShape);
  const [{ dIn, dtype, labels }] = shapes;
  shapes.forEach((shape, i) => {
    const name = basename(files[i].path);
    const first = basename(files[0].path);
    if (shape.dIn !== dIn) throw new DataError(`${name} has rows of ${shape.dIn}, ${first} of ${dIn}`);
    if (shape.labels.join() !== labels.join()) {
      const list = (of: readonly Label[]) => of.map((label) => LABELS[label]).join(", ") || "no labels";
      throw new DataError(`${name} has ${list(shape.labels)}, ${first} has ${list(labels)}`, {
        hint: "write the same tensors to every file",
      });
    }
    if (shape.dtype !== dtype) throw new DataError(`${name} is ${shape.dtype}, ${first} is ${dtype}`);
  });
  const starts = [0];
  for (const { nRows } of shapes) starts.push(starts.at(-1)! + nRows);
  return {
    kind: "safetensors",
    dIn,
    dtype: dtype === "BF16" ? "bf16" : "f32",
    hookName: agreed(files, "hook_name"),
    modelName: agreed(files, "model_name"),
    nUnits: starts[files.length],
    rowsPerUnit: 1,
    absent: (Object.keys(LABELS) as Label[]).filter((label) => !labels.includes(label)),
    async read(from, to) {
      const rows = allocateRows(to - from, dIn);
      for (const [i, file] of files.entries()) {
        const first = Math.max(from, starts[i]);
        const last = Math.min(to, starts[i + 1]);
        if (first < last)
          await readInto(rows, first - from, file, labels, [first - starts[i], last - starts[i]], dIn);
      }
      return rows;
    },
  };
}

async function readInto(
  rows: ActivationRows,
  at: number,
  file: SafetensorsFile,
  labels: readonly Label[],
  [from, to]: readonly [number, number],
  dIn: number,
): Promise<void> {
  const values = await file.readRows("activations", from, to);
  rows.activations.set(widen(values, file.tensors.get("activations")!.dtype), at * dIn);
  for (const label of labels) {
    const what = `${LABELS[label]} of ${file.path} from row ${from} on`;
    const numbers = toU32(await file.readRows(LABELS[label], from, to), what);
    if (label === "role" && numbers.some((role) => role > 255))
      throw new DataError(`${what}: a role above 255`);
    rows[label].set(numbers, at);
  }
}

function widen(values: TypedArray, dtype: string): Float32Array {
  if (dtype === "BF16") return bf16ToF32(values as Uint16Array);
  if (dtype === "F16") return f16ToF32(values as Uint16Array);
  return dtype === "F32" ? (values as Float32Array) : new Float32Array(values as Float64Array);
}

/** Rows, width and labels of one file, all lengths checked. */
function checkedShape({ path, tensors }: SafetensorsFile) {
  const activations = tensors.get("activations");
  if (activations === undefined) {
    const names = [...tensors.keys()].slice(0, 8).join(", ") || "nothing";
    throw new DataError(`${path} has no tensor "activations"; it holds ${names}`, { hint: SNIPPET });
  }
  const { shape, dtype } = activations;
  if (shape.length !== 2 || shape[1] === 0) {
    throw new DataError(`activations of ${path} have shape [${shape.join(", ")}], expected [n, dIn]`, {
      hint: "flatten windows to rows and drop padding and special tokens; " + SNIPPET,
    });
  }
  if (!FLOATS.includes(dtype))
    throw new DataError(`activations of ${path} are ${dtype}, expected one of ${FLOATS.join(", ")}`);
  const labels: Label[] = [];
  for (const [label, name] of Object.entries(LABELS) as [Label, string][]) {
    const info = tensors.get(name);
    if (info === undefined) continue;
    if (info.shape.length !== 1 || info.shape[0] !== shape[0])
      throw new DataError(`${name} of ${path} has shape [${info.shape.join(", ")}], expected [${shape[0]}]`);
    if (!/^[IU]\d/.test(info.dtype))
      throw new DataError(`${name} of ${path} is ${info.dtype}, expected whole numbers (I64, I32, U32, …)`);
    labels.push(label);
  }
  return { nRows: shape[0], dIn: shape[1], dtype, labels };
}

/** The metadata entry `key` if the files that have it agree. */
function agreed(files: readonly SafetensorsFile[], key: string): string | null {
  const said = new Set(files.flatMap(({ metadata }) => (metadata[key] === undefined ? [] : [metadata[key]])));
  if (said.size > 1) throw new DataError(`the files disagree about ${key}: ${[...said].join(", ")}`);
  return [...said][0] ?? null;
}

/** Is `path` a file? False for a folder. @throws {DataError} there is neither */
export async function isFile(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => null);
  if (info === null) throw new DataError(`${path}: no such file or folder`);
  return info.isFile();
}
