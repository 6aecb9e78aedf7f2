/**
 * A SAELens `CacheActivationsRunner` folder as an import source: one row a context, a column named by the hook with
 * [contextSize, dIn] floats, and `token_ids`. Its rows are contexts in corpus order (the runner shuffles only what it
 * returns, not what it writes), so document and window are the row's index, position the column's.
 */
import { DataError } from "../errors.ts";
import { type ArrowColumn, openArrowDataset } from "../formats/arrow.ts";
import { parseHookName, sameHook } from "../sae/hook-name.ts";
import { f16ToF32 } from "../tensor/half.ts";
import type { TypedArray } from "../tensor/typed-array.ts";
import { type ImportSource, toU32 } from "./import-source.ts";

/** @throws {DataError} no column of activations, or several and `hookName` does not say which */
export async function openSaelensCache(dir: string, hookName?: string): Promise<ImportSource> {
  const dataset = await openArrowDataset(dir);
  const column = activationColumn(dir, [...dataset.columns.values()], hookName);
  const [contextSize, dIn] = column.shape;
  const tokens = dataset.columns.get("token_ids");
  if (tokens !== undefined && tokens.shape.join() !== String(contextSize)) {
    throw new DataError(
      `${dir}: token_ids has rows of [${tokens.shape.join(", ")}], expected [${contextSize}] as in "${column.name}"`,
    );
  }
  return {
    kind: "saelens-cache",
    files: dataset.files,
    dIn,
    dtype: "f32",
    hookName: isHookName(column.name) ? column.name : null,
    modelName: null,
    nUnits: dataset.nRows,
    rowsPerUnit: contextSize,
    absent: tokens === undefined ? ["tokenIds", "role"] : ["role"],
    async read(from, to) {
      const nRows = (to - from) * contextSize;
      const context = Uint32Array.from({ length: nRows }, (_, i) => from + Math.floor(i / contextSize));
      return {
        nRows,
        activations: toF32(await dataset.read(column.name, from, to), column),
        tokenIds:
          tokens === undefined
            ? new Uint32Array(nRows)
            : toU32(await dataset.read("token_ids", from, to), `token_ids of ${dir}`),
        window: context,
        document: context,
        position: Uint32Array.from({ length: nRows }, (_, i) => i % contextSize),
        role: new Uint8Array(nRows),
      };
    },
    async close() {},
  };
}

function activationColumn(dir: string, columns: ArrowColumn[], hookName: string | undefined): ArrowColumn {
  const candidates = columns.filter(({ shape, dtype }) => shape.length === 2 && dtype.startsWith("F"));
  const names = candidates.map(({ name }) => name).join(", ");
  if (candidates.length === 0) {
    throw new DataError(`${dir} has no column of activations (an Array2D of floats)`, {
      hint: "give the folder that SAELens' CacheActivationsRunner wrote",
    });
  }
  const named = candidates.filter(
    ({ name }) =>
      hookName !== undefined && (name === hookName || (isHookName(name) && sameHook(name, hookName))),
  );
  if (named.length === 1) return named[0];
  const [only] = candidates;
  const isUnnamed = candidates.length === 1 && (hookName === undefined || !isHookName(only.name));
  if (isUnnamed) return only;
  throw new DataError(
    hookName === undefined
      ? `${dir} has several columns of activations: ${names}`
      : `${dir} holds activations of ${names}, not of ${hookName}`,
    { hint: "name one of them as the hook point" },
  );
}

function isHookName(name: string): boolean {
  try {
    parseHookName(name);
    return true;
  } catch {
    return false;
  }
}

function toF32(values: TypedArray, { dtype }: ArrowColumn): Float32Array {
  if (dtype === "F16") return f16ToF32(values as Uint16Array);
  return dtype === "F32" ? (values as Float32Array) : new Float32Array(values as Float64Array);
}
