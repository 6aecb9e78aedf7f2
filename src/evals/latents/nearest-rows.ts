/**
 * The nearest rows by cosine of each row of a matrix, without a matrix of all pairs. Unit rows serve as an engine's
 * encoder and, a chunk at a time, as its tokens: the largest pre-activation is the largest cosine, and the engine's
 * search finds it without computing most of the others (docs/decisions/005-screening.md).
 *
 * Numerics  The nearest is the largest fp32 product of unit rows: cosines closer than about 1e-6 may change places;
 *           equal rows tie exactly, and the lowest index wins. The cosine returned is computed in fp64.
 * Memory    An engine that holds `among` as its encoder, and one chunk; the rows are the caller's.
 */
import { ShapeError } from "../../errors.ts";
import type { Engine, EngineConfig, EngineFactory, SparseActs } from "../../kernels/kernels.ts";

/** Who computes, and who is told. */
export interface NearestOptions {
  readonly createEngine: EngineFactory;
  readonly threads?: number;
  /** rows a chunk; default 2048 */
  readonly chunkRows?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { done: number; total: number }) => void;
}

/** For each row the nearest one of the others, or the k nearest, nearest first. */
export interface NearestRows {
  /** [n, k] their indices; −1 where there is none: for a row of zeros, or with nothing but zeros to choose from */
  readonly index: Int32Array;
  /** [n, k] their cosines; NaN where there is none */
  readonly cosine: Float64Array;
}

/** Cosines nearer than this are equal: the search's rounding. */
export const EQUALLY_NEAR = 1e-6;

const DEFAULT_CHUNK_ROWS = 2048;
/** Values of the encoder written at a time: 8 MB. */
const PIECE_VALUES = 1 << 21;
/** Added to cosines, makes all of them activations, at the price of two bits. */
const ABOVE_ALL_COSINES = 2;

/** The row of `among` [m, dIn] nearest to each row of `of` [n, dIn]. Rows of zeros have no direction and are left out. */
export async function nearestRows(
  of: Float32Array,
  among: Float32Array,
  dIn: number,
  options: NearestOptions,
): Promise<NearestRows> {
  return search(of, among, dIn, { k: 1, skipOwn: false }, options);
}

/** The k other rows of `rows` [n, dIn] nearest to each; an equal row counts as another, the row itself does not. */
export async function nearestOthers(
  rows: Float32Array,
  dIn: number,
  options: NearestOptions,
  k = 1,
): Promise<NearestRows> {
  return search(rows, rows, dIn, { k, skipOwn: true }, options);
}

/** How many are looked for, and whether a row may find itself. */
interface Wanted {
  readonly k: number;
  readonly skipOwn: boolean;
}

async function search(
  of: Float32Array,
  among: Float32Array,
  dIn: number,
  wanted: Wanted,
  options: NearestOptions,
): Promise<NearestRows> {
  const { chunkRows = DEFAULT_CHUNK_ROWS } = options;
  if (!(Number.isInteger(chunkRows) && chunkRows > 0))
    throw new ShapeError("rows of a chunk", chunkRows, "a positive integer");
  const { k, skipOwn } = wanted;
  if (!(Number.isInteger(k) && k > 0)) throw new ShapeError("nearest rows wanted", k, "a positive integer");
  const from = directions(of, dIn);
  const to = skipOwn ? from : directions(among, dIn);
  const nearest = {
    index: new Int32Array((of.length / dIn) * k).fill(-1),
    cosine: new Float64Array((of.length / dIn) * k).fill(Number.NaN),
  };
  if (to.present.length < (skipOwn ? 2 : 1) || from.present.length === 0) return nearest;
  const engine = await options.createEngine(configOf(to.present.length, dIn, options.threads), null);
  try {
    await writeEncoder(engine, to);
    const left = await pass(engine, from, to, wanted, nearest, options);
    if (left.length > 0) {
      await engine.write("bEnc", 0, new Float32Array(to.present.length).fill(ABOVE_ALL_COSINES));
      await pass(engine, { ...from, present: left }, to, wanted, nearest, options);
    }
  } finally {
    await engine.dispose();
  }
  return nearest;
}

/** Searches for `from.present`. Returns those that too few lie at less than a right angle to. */
async function pass(
  engine: Engine,
  from: Directions,
  to: Directions,
  { k, skipOwn }: Wanted,
  nearest: NearestRows,
  { chunkRows = DEFAULT_CHUNK_ROWS, signal, onProgress }: NearestOptions,
): Promise<Uint32Array> {
  const { dIn } = from;
  const left: number[] = [];
  const total = nearest.index.length / k;
  const sought = Math.min(skipOwn ? k + 1 : k, to.present.length);
  const findable = skipOwn ? sought - 1 : sought;
  const chunk = new Float32Array(Math.min(chunkRows, from.present.length) * dIn);
  for (let begin = 0; begin < from.present.length; begin += chunkRows) {
    signal?.throwIfAborted();
    const rows = from.present.subarray(begin, begin + chunkRows);
    for (const [t, row] of rows.entries()) unitRow(from, row, chunk, t * dIn);
    const acts = await engine.encode(chunk.subarray(0, rows.length * dIn), { kind: "topk", k: sought });
    for (const [t, row] of rows.entries()) {
      const found = largestEntries(acts, t, to.present, skipOwn ? row : -1, findable);
      if (found.length < findable) left.push(row);
      const cosines = found.map((other) => ({ other, cosine: cosine(from, row, to, other) }));
      if (k > 1) cosines.sort((a, b) => b.cosine - a.cosine || a.other - b.other);
      for (const [rank, each] of cosines.entries()) {
        nearest.index[row * k + rank] = each.other;
        nearest.cosine[row * k + rank] = each.cosine;
      }
    }
    onProgress?.({ done: Math.min(total, begin + rows.length), total });
  }
  return Uint32Array.from(left);
}

/** The rows of the n largest activations of a token, largest first (ties: the lowest row), `own` left out. */
function largestEntries(
  { offsets, latents, values }: SparseActs,
  token: number,
  rowOf: Uint32Array,
  own: number,
  n: number,
): number[] {
  const entries: number[] = [];
  for (let e = offsets[token]; e < offsets[token + 1]; e++)
    if (values[e] > 0 && rowOf[latents[e]] !== own) entries.push(e);
  entries.sort((a, b) => values[b] - values[a] || a - b);
  return entries.slice(0, n).map((e) => rowOf[latents[e]]);
}

/** Rows with their lengths, and which of them have one. */
interface Directions {
  readonly rows: Float32Array;
  readonly dIn: number;
  readonly norms: Float64Array;
  readonly present: Uint32Array;
}

function directions(rows: Float32Array, dIn: number): Directions {
  if (rows.length % dIn !== 0) throw new ShapeError("rows [n, dIn]", rows.length, `a multiple of dIn ${dIn}`);
  const norms = new Float64Array(rows.length / dIn);
  for (let row = 0; row < norms.length; row++) {
    let squares = 0;
    for (let i = row * dIn; i < (row + 1) * dIn; i++) squares += rows[i] * rows[i];
    norms[row] = Math.sqrt(squares);
  }
  return { rows, dIn, norms, present: Uint32Array.from(norms.keys()).filter((row) => norms[row] > 0) };
}

function unitRow({ rows, dIn, norms }: Directions, row: number, into: Float32Array, at: number): void {
  for (let j = 0; j < dIn; j++) into[at + j] = rows[row * dIn + j] / norms[row];
}

function cosine(a: Directions, i: number, b: Directions, j: number): number {
  let dot = 0;
  for (let d = 0; d < a.dIn; d++) dot += a.rows[i * a.dIn + d] * b.rows[j * a.dIn + d];
  return Math.max(-1, Math.min(1, dot / a.norms[i] / b.norms[j]));
}

async function writeEncoder(engine: Engine, to: Directions): Promise<void> {
  const step = Math.max(1, Math.floor(PIECE_VALUES / to.dIn));
  for (let from = 0; from < to.present.length; from += step) {
    const rows = to.present.subarray(from, from + step);
    const piece = new Float32Array(rows.length * to.dIn);
    for (const [i, row] of rows.entries()) unitRow(to, row, piece, i * to.dIn);
    await engine.write("wEnc", from, piece);
  }
}

/** An engine that only encodes; its decoder stays zero. */
function configOf(nRows: number, dIn: number, threads: number | undefined): EngineConfig {
  return {
    dIn,
    dSae: nRows,
    widths: [nRows],
    applyBDecToInput: false,
    rescaleActsByDecoderNorm: false,
    training: false,
    ...(threads === undefined ? {} : { threads }),
  };
}
