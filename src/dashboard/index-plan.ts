/**
 * What building an index will hold and write, before it begins, and how much of the machine's memory it may use for what it
 * can also keep on disk. Results never depend on it.
 */

import { AHEAD, DEFAULT_CHUNK_ROWS } from "../evals/token-source.ts";
import type { EngineConfig } from "../kernels/kernels.ts";
import { type MemoryPlan, memoryPlan, planOf } from "../kernels/memory.ts";
import { type EntriesBudget, entryBytes } from "./entries/entries.ts";
import { SORTED_BYTES } from "./entries/sorted-block.ts";
import { SUMS_BYTES } from "./neighbours/firing-together.ts";
import { TEXT_BYTES, TOKEN_BYTES } from "./tokens/token-table.ts";

/** How much may be held of what can also be worked through in pieces. */
export interface IndexBudget {
  readonly entries: EntriesBudget;
  /** activations sorted by latent at a time */
  readonly blockEntries: number;
  /** for sums of latents that fire together, where entries are on disk */
  readonly sumsBytes: number;
  /** DuckDB's own limit */
  readonly databaseBytes: number;
  /** of a table, before they are written as a part of its file */
  readonly partValues: number;
}

export interface IndexWork {
  readonly dIn: number;
  /** of the decoder's rows */
  readonly dOut: number;
  readonly dSae: number;
  readonly nTokens: number;
  /** activations a token, as far as is known */
  readonly l0: number;
  /** another SAE's weights are held for a while */
  readonly hasBase: boolean;
  /** examples a latent, at most, and tokens of each */
  readonly examples: number;
  readonly exampleTokens: number;
  readonly chunkRows?: number;
  readonly threads?: number;
}

export interface IndexPlan {
  readonly memory: MemoryPlan;
  readonly budget: IndexBudget;
  /** entries that do not fit into memory, tables, and the parts they are put together from */
  readonly diskBytes: number;
  /** thereof what stays: the tables */
  readonly indexBytes: number;
}

/** Windows hold tokens that are not indexed, too: so many for each that is. */
const TEXT_TOKENS = 1.5;
/** Parquet, of one example's token with its activation, and of everything else of a latent. Measured: docs/PERFORMANCE.md. */
const EXAMPLE_TOKEN_BYTES = 3;
const LATENT_BYTES = 2500;
const SEGMENT_ENTRIES = 1 << 23;
const BLOCK_ENTRIES = 1 << 26;
const DATABASE_BYTES = 768 * 2 ** 20;
const PART_VALUES = 1 << 23;
/** A counting sort of less makes too many rounds. */
const LEAST_BLOCK_ENTRIES = 1 << 20;

/** `freeBytes`: what this process may come to hold. */
export function planIndex(work: IndexWork, freeBytes: number): IndexPlan {
  const { dIn, dOut, dSae, nTokens, l0, hasBase, threads, chunkRows = DEFAULT_CHUNK_ROWS } = work;
  const config = (width: number): EngineConfig => ({
    dIn: width,
    dSae,
    widths: [dSae],
    applyBDecToInput: false,
    rescaleActsByDecoderNorm: false,
    training: false,
    ...(threads === undefined ? {} : { threads }),
  });
  const weights = 4 * dSae * (dIn + dOut + 2);
  // one after the other: the encoder, the base SAE beside this one, the search for neighbours
  const encoder = memoryPlan(config(dIn), { batchTokens: chunkRows, k: l0 }).total;
  const search = memoryPlan(config(dOut), { batchTokens: chunkRows, k: 11 }).total;
  const nEntries = nTokens * l0;
  const fixed = [
    { name: "SAE", bytes: weights },
    { name: "engine", bytes: Math.max(encoder, search, hasBase ? weights : 0) },
    { name: "activations read", bytes: (AHEAD + 2) * chunkRows * dIn * 4 },
    { name: "tokens", bytes: nTokens * (TOKEN_BYTES + TEXT_TOKENS * TEXT_BYTES) },
    { name: "sums", bytes: dSae * (4 + 5 * 8) + SUMS_BYTES * dSae },
    { name: "segment under way", bytes: 3 * entryBytes(dSae) * Math.min(nEntries, SEGMENT_ENTRIES) },
    { name: "database", bytes: DATABASE_BYTES },
  ];
  const left = Math.max(0, 0.8 * freeBytes - planOf(fixed).total);
  const blockEntries = Math.min(
    Math.ceil(nEntries),
    Math.max(LEAST_BLOCK_ENTRIES, Math.min(BLOCK_ENTRIES, Math.floor(left / 4 / SORTED_BYTES))),
  );
  const allEntries = Math.ceil(nEntries * entryBytes(dSae) + 4 * nTokens);
  const leftForEntries = Math.max(0, left - SORTED_BYTES * blockEntries);
  const isResident = allEntries <= leftForEntries;
  const residentBytes = isResident ? leftForEntries : leftForEntries / 2;
  const sumsBytes = isResident ? 0 : Math.max(SUMS_BYTES * dSae, leftForEntries / 2);
  const indexBytes = dSae * (work.examples * work.exampleTokens * EXAMPLE_TOKEN_BYTES + LATENT_BYTES);
  return {
    memory: planOf([
      ...fixed,
      { name: "entries", bytes: Math.min(allEntries, residentBytes) },
      { name: "sorted block", bytes: SORTED_BYTES * blockEntries },
      { name: "firing together", bytes: sumsBytes },
    ]),
    budget: {
      entries: { residentBytes, segmentEntries: SEGMENT_ENTRIES },
      blockEntries,
      sumsBytes,
      databaseBytes: DATABASE_BYTES,
      partValues: PART_VALUES,
    },
    diskBytes: 2 * indexBytes + Math.max(0, allEntries - residentBytes),
    indexBytes,
  };
}
