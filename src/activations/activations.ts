/**
 * The activation store: residual-stream activations of kept tokens on disk, written once, read many times.
 * One folder a (model, set, hook point): `shard-00000.safetensors …` and `manifest.json`. Types only.
 */

/** Rows of a store, in store order. All arrays have one entry (or dIn entries) a row. */
export interface ActivationRows {
  readonly nRows: number;
  /** [nRows, dIn] f32 (bf16 stores are widened on reading) */
  readonly activations: Float32Array;
  readonly tokenIds: Uint32Array;
  /** index of the window in its corpus set */
  readonly window: Uint32Array;
  /** position in the window, 0 = BOS */
  readonly position: Uint32Array;
  readonly document: Uint32Array;
  /** index into corpus ROLES */
  readonly role: Uint8Array;
}

/** What a store is about; written into its manifest, compared on resume. */
export interface StoreIdentity {
  /** "bf16" halves the disk; "f32" keeps every bit */
  readonly dtype: "bf16" | "f32";
  readonly dIn: number;
  /** canonical hook point, e.g. "blocks.4.hook_resid_post" */
  readonly hookName: string;
  readonly set: string;
  /** anything that decides the content: model identity, corpus hash, batching, … */
  readonly provenance: Readonly<Record<string, unknown>>;
}

/** `manifest.json` of a store: its identity, and its shards with sizes and hashes. */
export interface StoreManifest extends StoreIdentity {
  readonly format: "lapidary-activations";
  readonly version: 1;
  readonly nRows: number;
  /** rows left out because an entry was NaN or infinite */
  readonly nNonFinite: number;
  /** false while the harvest is still going on */
  readonly complete: boolean;
  readonly shards: readonly {
    readonly name: string;
    readonly nRows: number;
    readonly bytes: number;
    readonly sha256: string;
    /** rows of this shard left out because an entry was NaN or infinite */
    readonly nNonFinite: number;
    /** corpus windows [firstWindow, firstWindow + nWindows) this shard covers; absent when its rows are not windows of ours */
    readonly firstWindow?: number;
    readonly nWindows?: number;
  }[];
}

/** Seeded, seekable shuffle of a store: batch i is a pure function of (manifest, seed, epoch, i). */
export interface BatchReader {
  readonly batchTokens: number;
  /** full batches in an epoch: max(1, ⌊nRows / batchTokens⌋) */
  readonly nBatches: number;
  /**
   * [rows, dIn] f32; rows = batchTokens (or nRows if the store is smaller). A fresh array, or `into`, written over, where
   * that has the length.
   */
  batch(epoch: number, i: number, into?: Float32Array): Promise<Float32Array>;
}

/** How the chunks of a stream live. */
export interface StreamOptions {
  /** A chunk's arrays are written over once so many further chunks are asked for; default: never. Fresh memory is slow. */
  readonly reuse?: number;
}

/** An open store: rows in store order, and seeded batches for training. */
export interface ActivationStore {
  readonly dir: string;
  readonly manifest: StoreManifest;
  readonly nRows: number;
  readonly dIn: number;
  /** Rows [from, to) in store order. Checksums are verified when a shard is first read. @throws {FormatError} naming the file */
  rows(from: number, to: number): Promise<ActivationRows>;
  /** Consecutive chunks of at most `chunkRows` rows of [0, limit). */
  stream(chunkRows: number, limit?: number, options?: StreamOptions): AsyncIterable<ActivationRows>;
  batches(options: { batchTokens: number; seed: number }): BatchReader;
  close(): Promise<void>;
}
