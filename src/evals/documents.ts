/**
 * Sums of tokens by document: tokens of one document resemble each other, so documents are what a bootstrap draws. Memory is
 * dIn doubles a document; beyond MAX_DOCUMENTS several share a block, drawn by the document's number, so that neither
 * order nor batch size matters.
 */
import { DataError } from "../errors.ts";
import { Philox } from "../random/philox.ts";
import { TokenSums } from "./token-sums.ts";

/** Documents that are kept apart: at most. Powers of two, so that blocks of blocks are blocks. */
export const MAX_DOCUMENTS = 8192;
/** Blocks that a bootstrap draws from, and that are stored: at most. */
export const MAX_BLOCKS = 1024;

const BLOCK_SEED = 0;

/** Sums of tokens by document, or by block of documents; merges in any order. */
export class DocumentSums {
  /** μ₀ of all parts, [dIn] */
  readonly origin: Float64Array;
  readonly #parts = new Map<number, TokenSums>();
  readonly #documents = new Set<number>();
  readonly #draw = new Philox(BLOCK_SEED, "evals/blocks");
  /** null: each document has a part of its own */
  #nBlocks: number | null = null;

  constructor(origin: Float64Array) {
    this.origin = origin;
  }

  get nDocuments(): number {
    return this.#documents.size;
  }

  /** Whether several documents share a part. */
  get areShared(): boolean {
    return this.#nBlocks !== null;
  }

  /** Parts by their number, ascending: a document's, or a block's where they are shared. */
  get parts(): readonly (readonly [number, TokenSums])[] {
    return [...this.#parts].sort(([a], [b]) => a - b);
  }

  /** The sums that tokens of `document` go to. */
  of(document: number): TokenSums {
    this.#documents.add(document);
    if (this.#nBlocks === null && this.#documents.size > MAX_DOCUMENTS) this.#share(MAX_DOCUMENTS);
    return this.#part(this.#nBlocks === null ? document : this.#blockOf(document, this.#nBlocks));
  }

  /** At most MAX_BLOCKS parts for the bootstrap: the documents, or blocks of them. */
  blocks(): readonly (readonly [number, TokenSums])[] {
    if (this.#parts.size <= MAX_BLOCKS) return this.parts;
    const coarse = new DocumentSums(this.origin);
    for (const [key, part] of this.#parts)
      coarse.#part(this.#nBlocks === null ? this.#blockOf(key, MAX_BLOCKS) : key % MAX_BLOCKS).merge(part);
    return coarse.parts;
  }

  #share(nBlocks: number): void {
    const apart = [...this.#parts];
    this.#parts.clear();
    this.#nBlocks = nBlocks;
    for (const [document, part] of apart) this.#part(this.#blockOf(document, nBlocks)).merge(part);
  }

  #part(key: number): TokenSums {
    let part = this.#parts.get(key);
    if (part === undefined) {
      part = new TokenSums(this.origin);
      this.#parts.set(key, part);
    }
    return part;
  }

  #blockOf(document: number, nBlocks: number): number {
    return this.#draw.u32(document) % nBlocks;
  }
}

/** @throws {DataError} the two are not of the same documents */
export function checkSameDocuments(
  a: readonly (readonly [number, TokenSums])[],
  b: readonly (readonly [number, TokenSums])[],
): void {
  const isSame = a.length === b.length && a.every(([key, { n }], i) => key === b[i][0] && n === b[i][1].n);
  if (!isSame)
    throw new DataError("the two evaluations are not of the same tokens of the same documents", {
      hint: "compare SAEs on one store, with the same limit",
    });
}
