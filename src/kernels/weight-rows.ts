/**
 * An SAE's parameters as rows that are read when they are wanted: from a file, from an array, or made on the spot. An
 * engine is filled from them a few megabytes at a time, so that what it holds is the only whole copy.
 */
import { ShapeError } from "../errors.ts";
import type { Engine, ExtraParameters, PlainParameter, Weights } from "./kernels.ts";
import { extraParametersOf, PLAIN_PARAMETERS } from "./parameters.ts";

/** The four parameters that every SAE has. */
export type WeightTensor = PlainParameter;

export interface WeightRows {
  readonly dIn: number;
  readonly dSae: number;
  /** width of wDec and bDec where it is not dIn: of transcoders, which no engine is filled with */
  readonly dOut?: number;
  /** of an architecture that has more parameters; small, and so whole */
  readonly extra?: ExtraParameters;
  /** Rows [from, to) of a tensor, as `Engine.read` gives them: a fresh array, the caller's. */
  read(tensor: WeightTensor, from: number, to: number): Promise<Float32Array>;
  /** Lets go of what is read from. */
  close(): Promise<void>;
}

/** Values of a piece: 8 MB. An encoder in a SAELens file is read across its rows: shorter pieces take longer. */
const PIECE_VALUES = 1 << 21;

/** Weights in memory, by row. */
export function weightRows(weights: Weights): WeightRows {
  const { dIn, dSae, extra } = weights;
  return {
    dIn,
    dSae,
    ...(extra && { extra }),
    async read(tensor, from, to) {
      const width = rowWidth(tensor, weights);
      return weights[tensor].slice(from * width, to * width);
    },
    async close() {},
  };
}

/** The same rows, each piece changed on the way. */
export function changedRows(
  rows: WeightRows,
  change: (tensor: WeightTensor, piece: Float32Array, from: number) => void,
): WeightRows {
  return {
    ...rows,
    async read(tensor, from, to) {
      const piece = await rows.read(tensor, from, to);
      change(tensor, piece, from);
      return piece;
    },
  };
}

/** Visits a tensor's rows in pieces, ascending. */
export async function visitRows(
  rows: WeightRows,
  tensor: WeightTensor,
  visit: (piece: Float32Array, from: number) => Promise<void> | void,
): Promise<void> {
  const nRows = tensor === "bDec" ? (rows.dOut ?? rows.dIn) : rows.dSae;
  const step = Math.max(1, Math.floor(PIECE_VALUES / rowWidth(tensor, rows)));
  for (let from = 0; from < nRows; from += step)
    await visit(await rows.read(tensor, from, Math.min(nRows, from + step)), from);
}

/** Writes all rows into an engine of the same size. @throws {ShapeError} the rows lack a parameter of its architecture */
export async function loadWeights(engine: Engine, rows: WeightRows): Promise<void> {
  for (const tensor of PLAIN_PARAMETERS)
    await visitRows(rows, tensor, (piece, from) => engine.write(tensor, from, piece));
  const { dSae, architecture } = engine.config;
  for (const tensor of extraParametersOf(architecture)) {
    const values = rows.extra?.[tensor];
    if (values?.length !== dSae) throw new ShapeError(`values in ${tensor}`, values?.length ?? 0, dSae);
    await engine.write(tensor, 0, values);
  }
}

/** All rows as arrays. */
export async function wholeWeights(rows: WeightRows): Promise<Weights> {
  const { dIn, dSae, dOut = dIn, extra } = rows;
  const whole = {
    wEnc: new Float32Array(dSae * dIn),
    wDec: new Float32Array(dSae * dOut),
    bEnc: new Float32Array(dSae),
    bDec: new Float32Array(dOut),
  };
  for (const tensor of PLAIN_PARAMETERS)
    await visitRows(rows, tensor, (piece, from) => whole[tensor].set(piece, from * rowWidth(tensor, rows)));
  return { dIn, dSae, ...whole, ...(extra && { extra }) };
}

/** Values in a row. */
function rowWidth(tensor: WeightTensor, { dIn, dOut = dIn }: { dIn: number; dOut?: number }): number {
  if (tensor === "wEnc") return dIn;
  return tensor === "wDec" ? dOut : 1;
}
