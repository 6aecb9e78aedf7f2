/** Where evaluated tokens come from: a store, or rows in memory. They can be gone through more than once. */
import type { ActivationRows, ActivationStore } from "../activations/activations.ts";
import { ShapeError } from "../errors.ts";
import type { SparseActs } from "../kernels/kernels.ts";
import type { Sae } from "../sae/sae.ts";
import { hashValue } from "../storage/hash.ts";
import type { EvalResult } from "./result.ts";
import type { KnownLabels } from "./slices.ts";

/** The part of an `InferenceSae` that evaluation needs. */
export interface Reconstructor {
  readonly sae: Sae;
  /** x [n, dIn] → its sparse activations and x̂ [n, dIn] */
  reconstruct(x: Float32Array): Promise<{ acts: SparseActs; recon: Float32Array }>;
}

/** Activations in memory and what they are of. Labels that are left out are not known. */
export interface RowsToEvaluate extends Partial<Omit<ActivationRows, "activations" | "nRows">> {
  /** [n, dIn] */
  readonly activations: Float32Array;
  readonly dIn: number;
  readonly set: string;
  readonly hookName: string;
}

/** Tokens in chunks, in their own order, as often as one likes. */
export interface TokenSource {
  readonly set: string;
  readonly hookName: string;
  readonly dIn: number;
  /** tokens in all chunks */
  readonly total: number;
  readonly store: EvalResult["store"];
  readonly known: KnownLabels;
  /** A chunk's arrays may be written over once AHEAD + 1 further ones are asked for. */
  chunks(): AsyncIterable<ActivationRows> | Iterable<ActivationRows>;
}

/** How much is evaluated, in which pieces. */
export interface ChunkOptions {
  /** evaluate the first `limit` tokens only; default: all */
  readonly limit?: number;
  /** tokens a chunk; default 2048 */
  readonly chunkRows?: number;
}

export const DEFAULT_CHUNK_ROWS = 2048;

export function storeSource(store: ActivationStore, options: ChunkOptions): TokenSource {
  const { manifest, nRows } = store;
  const total = Math.min(options.limit ?? nRows, nRows);
  return {
    set: manifest.set,
    hookName: manifest.hookName,
    dIn: manifest.dIn,
    total,
    store: { hash: hashValue(manifest), nRows },
    known: knownOf(manifest.provenance.absentLabels),
    chunks: () => store.stream(options.chunkRows ?? DEFAULT_CHUNK_ROWS, total, { reuse: AHEAD + 1 }),
  };
}

/** Imported stores say which labels their source did not have. */
function knownOf(absentLabels: unknown): KnownLabels {
  const absent: readonly unknown[] = Array.isArray(absentLabels) ? absentLabels : [];
  return {
    tokenIds: !absent.includes("tokenIds"),
    position: !absent.includes("position"),
    document: !absent.includes("document"),
    role: !absent.includes("role"),
  };
}

/** @throws {ShapeError} the activations are no whole rows, or a label is not of as many */
export function rowsSource(rows: RowsToEvaluate, options: ChunkOptions): TokenSource {
  const { activations, dIn, set, hookName } = rows;
  if (activations.length % dIn !== 0)
    throw new ShapeError("activations to evaluate", activations.length, `a multiple of dIn ${dIn}`);
  const nRows = activations.length / dIn;
  for (const label of ["tokenIds", "window", "position", "document", "role"] as const)
    if (rows[label] !== undefined && rows[label].length !== nRows)
      throw new ShapeError(`${label} of the rows to evaluate`, rows[label].length, nRows);
  const total = Math.min(options.limit ?? nRows, nRows);
  const chunkRows = options.chunkRows ?? DEFAULT_CHUNK_ROWS;
  const numbers = (label: Uint32Array | undefined, from: number, to: number) =>
    label?.subarray(from, to) ?? new Uint32Array(to - from);
  function* chunks() {
    for (let from = 0; from < total; from += chunkRows) {
      const to = Math.min(total, from + chunkRows);
      yield {
        nRows: to - from,
        activations: activations.slice(from * dIn, to * dIn),
        tokenIds: numbers(rows.tokenIds, from, to),
        window: numbers(rows.window, from, to),
        position: numbers(rows.position, from, to),
        document: numbers(rows.document, from, to),
        role: rows.role?.subarray(from, to) ?? new Uint8Array(to - from),
      };
    }
  }
  const known = {
    tokenIds: rows.tokenIds !== undefined,
    position: rows.position !== undefined,
    document: rows.document !== undefined,
    role: rows.role !== undefined,
  };
  return { set, hookName, dIn, total, store: null, known, chunks };
}

/** Calls under way while the receiver looks at a result: one is an encode, of which there must always be one more. */
export const AHEAD = 2;

/**
 * The chunks, in their order, with what `work` makes of their activations; the next calls are under way while the receiver
 * looks at a result, so an engine off this thread does not wait for it.
 */
export async function* ahead<Result>(
  chunks: ReturnType<TokenSource["chunks"]>,
  work: (x: Float32Array) => Promise<Result>,
): AsyncGenerator<{ rows: ActivationRows; made: Result }> {
  const underWay: { rows: ActivationRows; making: Promise<Result> }[] = [];
  const next = async () => {
    const { rows, making } = underWay.splice(0, 1)[0];
    return { rows, made: await making };
  };
  try {
    for await (const rows of chunks) {
      const making = work(rows.activations);
      making.catch(() => {}); // told when its turn comes
      underWay.push({ rows, making });
      if (underWay.length > AHEAD) yield await next();
    }
    while (underWay.length > 0) yield await next();
  } finally {
    await Promise.allSettled(underWay.map(({ making }) => making));
  }
}
