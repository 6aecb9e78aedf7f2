/**
 * Rescalings of an SAE's weights that change no reconstruction: norms of decoder rows moved into the encoder, and a
 * factor on the inputs moved into both. Arithmetic in f64, stored once in f32, as correctly rounded fp32 would be. Each
 * comes twice: for weights in memory, and for rows that are read when they are wanted.
 */
import type { Weights } from "../kernels/kernels.ts";
import { changedRows, visitRows, type WeightRows, type WeightTensor } from "../kernels/weight-rows.ts";

/**
 * wDec/n, wEnc·n, bEnc·n: every decoder row gets norm 1 and pre-activations h become p = h·n.
 * A row with n = 0 has no direction: its decoder row stays zero and its encoder row and bias become zero, so that it
 * can never fire (SAELens divides by zero and gets NaN). Thresholds are the caller's to multiply by n.
 */
export function foldDecoderNorms(weights: Weights, norms: Float32Array): Weights {
  return changed(weights, (tensor, piece) => foldNorms(tensor, piece, 0, weights.dIn, norms));
}

/** The same. */
export function foldDecoderNormsOfRows(rows: WeightRows, norms: Float32Array): WeightRows {
  return changedRows(rows, (tensor, piece, from) => foldNorms(tensor, piece, from, rows.dIn, norms));
}

/**
 * Weights for x from weights for s·x: wEnc·s, wDec/s, bDec/s; bEnc stays. What SAELens does at the end of a run with
 * `expected_average_only_in`. Decoder norms are divided by s, and so are pre-activations rescaled by them.
 */
export function foldInputScale(weights: Weights, s: number): Weights {
  return changed(weights, (tensor, piece) => foldScale(tensor, piece, s));
}

/** The same. */
export function foldInputScaleOfRows(rows: WeightRows, s: number): WeightRows {
  return changedRows(rows, (tensor, piece) => foldScale(tensor, piece, s));
}

/** n = ‖wDec[i]‖ of every latent, [dSae], as `decoderNorms` of weights in memory. */
export async function decoderNormsOf(rows: WeightRows): Promise<Float32Array> {
  return Float32Array.from(await rowSquares(rows, "wDec"), Math.sqrt);
}

/** ‖row‖² of wEnc or wDec, [dSae], f64; a transcoder's decoder rows have dOut values. */
export async function rowSquares(rows: WeightRows, tensor: "wEnc" | "wDec"): Promise<Float64Array> {
  const { dIn, dSae, dOut = dIn } = rows;
  const squares = new Float64Array(dSae);
  const width = tensor === "wEnc" ? dIn : dOut;
  await visitRows(rows, tensor, (piece, from) => squares.set(squaresOf(piece, width), from));
  return squares;
}

/** The same of rows in memory. */
export function squaresOf(rows: Float32Array, dIn: number): Float64Array {
  const squares = new Float64Array(rows.length / dIn);
  for (let i = 0; i < squares.length; i++) {
    let sum = 0;
    for (let at = i * dIn; at < (i + 1) * dIn; at++) sum += rows[at] * rows[at];
    squares[i] = sum;
  }
  return squares;
}

function foldNorms(
  tensor: WeightTensor,
  piece: Float32Array,
  from: number,
  dIn: number,
  norms: Float32Array,
): void {
  if (tensor === "bDec") return;
  const width = tensor === "bEnc" ? 1 : dIn;
  for (let row = 0; row * width < piece.length; row++) {
    const n = norms[from + row];
    const [begin, end] = [row * width, (row + 1) * width];
    if (n === 0) piece.fill(0, begin, end);
    else if (tensor === "wDec") for (let at = begin; at < end; at++) piece[at] /= n;
    else for (let at = begin; at < end; at++) piece[at] *= n;
  }
}

function foldScale(tensor: WeightTensor, piece: Float32Array, s: number): void {
  if (tensor === "bEnc") return;
  if (tensor === "wEnc") for (let at = 0; at < piece.length; at++) piece[at] *= s;
  else for (let at = 0; at < piece.length; at++) piece[at] /= s;
}

/** Copies, each changed as a piece that begins at row 0. */
function changed(weights: Weights, change: (tensor: WeightTensor, piece: Float32Array) => void): Weights {
  const { dIn, dSae, extra } = weights;
  const copy = (tensor: WeightTensor) => {
    const values = weights[tensor].slice();
    change(tensor, values);
    return values;
  };
  const plain = { wEnc: copy("wEnc"), wDec: copy("wDec"), bEnc: copy("bEnc"), bDec: copy("bDec") };
  return { dIn, dSae, ...plain, ...(extra && { extra }) };
}
