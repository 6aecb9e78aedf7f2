/** Rows of a store in memory: making room for some, and picking some out. */
import type { ActivationRows } from "./activations.ts";

/** `nRows` rows of zeros. */
export function allocateRows(nRows: number, dIn: number): ActivationRows {
  return {
    nRows,
    activations: new Float32Array(nRows * dIn),
    tokenIds: new Uint32Array(nRows),
    window: new Uint32Array(nRows),
    position: new Uint32Array(nRows),
    document: new Uint32Array(nRows),
    role: new Uint8Array(nRows),
  };
}

/** The rows at `indices`, copied. */
export function selectRows(rows: ActivationRows, dIn: number, indices: readonly number[]): ActivationRows {
  const activations = new Float32Array(indices.length * dIn);
  indices.forEach((row, i) => {
    activations.set(rows.activations.subarray(row * dIn, (row + 1) * dIn), i * dIn);
  });
  return { ...selectLabels(rows, indices), activations };
}

/** What is said of the rows at `indices`, without their activations. */
export function selectLabels(
  rows: Omit<ActivationRows, "activations">,
  indices: readonly number[],
): Omit<ActivationRows, "activations"> {
  const pick = (labels: Uint32Array) => Uint32Array.from(indices, (row) => labels[row]);
  return {
    nRows: indices.length,
    tokenIds: pick(rows.tokenIds),
    window: pick(rows.window),
    position: pick(rows.position),
    document: pick(rows.document),
    role: Uint8Array.from(indices, (row) => rows.role[row]),
  };
}
