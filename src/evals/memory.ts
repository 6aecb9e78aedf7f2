/** What an evaluation holds beside the SAE and its engine, for plans. */
import { MAX_DOCUMENTS } from "./documents.ts";
import { AHEAD, DEFAULT_CHUNK_ROWS } from "./token-source.ts";

/** Squared error and norm as they come and sorted, and a mask. */
const BYTES_PER_TOKEN = 33;
/** Documents are taken to be no shorter on average. */
const DOCUMENT_TOKENS = 32;
/** Slices of all ways together: sources, roles, buckets of positions, classes, what cuts leave out. */
const SLICES = 64;

/** Bytes at most, of `nTokens` tokens at once. */
export function evaluationMemory(dIn: number, nTokens: number): number {
  const nChunks = 2 * (AHEAD + 1) + 1; // x and x̂ of those under way, and one being read
  const documents = Math.min(MAX_DOCUMENTS, Math.ceil(nTokens / DOCUMENT_TOKENS));
  return nChunks * DEFAULT_CHUNK_ROWS * dIn * 4 + nTokens * BYTES_PER_TOKEN + (documents + SLICES) * dIn * 8;
}
