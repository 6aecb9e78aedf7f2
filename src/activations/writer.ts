/**
 * Writes an activation store shard by shard. The caller decides where shards begin (a harvest: a fixed range of
 * windows), so that a store stopped at any byte goes on at the first shard its manifest does not name.
 */
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { DataError, ShapeError, StateError } from "../errors.ts";
import { type TensorToWrite, writeSafetensors } from "../formats/safetensors.ts";
import { sweep, writeJson } from "../storage/atomic.ts";
import { describeDifferences, jsonDifferences } from "../storage/differences.ts";
import { statIfPresent } from "../storage/file-error.ts";
import type { ActivationRows, StoreIdentity, StoreManifest } from "./activations.ts";
import { identityOf, isStoreFile, MANIFEST_NAME, readManifest, shardName } from "./manifest.ts";
import { PackedRows } from "./packed-rows.ts";

/** What a writer puts up with. */
export interface WriterOptions {
  /** largest share of non-finite rows a finished store may have had; default 0.001 */
  readonly maxNonFiniteShare?: number;
}

/** Corpus windows a shard covers. */
export interface ShardWindows {
  readonly firstWindow: number;
  readonly nWindows: number;
}

/**
 * Creates the store folder `dir`, or reopens it to go on after its last whole shard. What a killed run left half-written
 * is swept away.
 * @throws {StateError} the folder holds a store of another identity, other files, or lost a shard
 */
export async function openWriter(
  dir: string,
  identity: StoreIdentity,
  options: WriterOptions = {},
): Promise<ActivationWriter> {
  await mkdir(dir, { recursive: true });
  const names = await readdir(dir);
  let manifest: StoreManifest;
  if (names.includes(MANIFEST_NAME)) {
    manifest = await readManifest(dir);
    refuseOtherIdentity(dir, manifest, identity);
    await refuseLostShards(dir, manifest);
  } else {
    const foreign = names.find((name) => !isStoreFile(name));
    if (foreign !== undefined) {
      throw new StateError(
        `${dir} is no activation store and not empty (it holds ${foreign})`,
        "give an empty or new folder",
      );
    }
    manifest = newManifest(identity);
    await writeJson(join(dir, MANIFEST_NAME), manifest);
  }
  const named = new Set([MANIFEST_NAME, ...manifest.shards.map((shard) => shard.name)]);
  await sweep(dir, (name) => named.has(name) || !isStoreFile(name));
  return new ActivationWriter(dir, manifest, options.maxNonFiniteShare ?? 0.001);
}

/** An open store that grows. Made by `openWriter`; one call at a time. */
export class ActivationWriter {
  readonly dir: string;
  readonly #maxNonFiniteShare: number;
  #manifest: StoreManifest;

  constructor(dir: string, manifest: StoreManifest, maxNonFiniteShare: number) {
    this.dir = dir;
    this.#manifest = manifest;
    this.#maxNonFiniteShare = maxNonFiniteShare;
  }

  /** What is on disk now. */
  get manifest(): StoreManifest {
    return this.#manifest;
  }

  get shards(): StoreManifest["shards"] {
    return this.#manifest.shards;
  }

  /** Index of the first shard still to be written. */
  get nextShard(): number {
    return this.#manifest.shards.length;
  }

  get complete(): boolean {
    return this.#manifest.complete;
  }

  /**
   * Writes shard `index`, then names it in the manifest. Rows with a NaN or infinite entry (in a bf16 store also one
   * that would round to infinity) are left out and counted. A shard may be empty.
   * @throws {StateError} `index` is not `nextShard`, the store is complete, or packed rows are of another kind
   * @throws {ShapeError} an array's length does not fit nRows
   */
  async writeShard(index: number, rows: ActivationRows | PackedRows, windows?: ShardWindows): Promise<void> {
    if (this.complete) throw new StateError(`${this.dir} is complete; shard ${index} cannot be added`);
    if (index !== this.nextShard)
      throw new StateError(`${this.dir}: shard ${index} was given, expected shard ${this.nextShard}`);
    const { dIn, dtype } = this.#manifest;
    if (rows instanceof PackedRows) checkPacked(rows, this.#manifest);
    else checkLengths(rows, dIn);
    const packed = rows instanceof PackedRows ? rows : await PackedRows.from(rows, dIn, dtype);
    const name = shardName(index);
    const written = await writeSafetensors(join(this.dir, name), shardTensors(packed));
    const shard = {
      name,
      nRows: packed.nRows - packed.nUnfit,
      ...written,
      nNonFinite: packed.nUnfit,
      ...(windows === undefined ? {} : { firstWindow: windows.firstWindow, nWindows: windows.nWindows }),
    };
    await this.#commit({
      ...this.#manifest,
      nRows: this.#manifest.nRows + shard.nRows,
      nNonFinite: this.#manifest.nNonFinite + shard.nNonFinite,
      shards: [...this.#manifest.shards, shard],
    });
  }

  /**
   * Marks the store complete. Finishing twice changes nothing.
   * @throws {DataError} more rows than the allowed share were not finite
   */
  async finish(): Promise<StoreManifest> {
    if (this.complete) return this.#manifest;
    const { nRows, nNonFinite } = this.#manifest;
    const share = nNonFinite / Math.max(1, nRows + nNonFinite);
    if (share > this.#maxNonFiniteShare) {
      throw new DataError(
        `${this.dir}: ${nNonFinite} of ${nRows + nNonFinite} activation rows are NaN or infinite, ` +
          `at most ${this.#maxNonFiniteShare * 100} % may be`,
        { hint: "run the model in float32 or bfloat16 (float16 overflows), or look at the texts concerned" },
      );
    }
    await this.#commit({ ...this.#manifest, complete: true });
    return this.#manifest;
  }

  async #commit(manifest: StoreManifest): Promise<void> {
    await writeJson(join(this.dir, MANIFEST_NAME), manifest);
    this.#manifest = manifest;
  }
}

function newManifest(identity: StoreIdentity): StoreManifest {
  return {
    format: "lapidary-activations",
    version: 1,
    ...identityOf(identity),
    nRows: 0,
    nNonFinite: 0,
    complete: false,
    shards: [],
  };
}

function checkLengths(rows: ActivationRows, dIn: number): void {
  const { nRows } = rows;
  if (rows.activations.length !== nRows * dIn)
    throw new ShapeError("activations of a shard", rows.activations.length, `${nRows} × ${dIn}`);
  for (const label of ["tokenIds", "window", "position", "document", "role"] as const) {
    if (rows[label].length !== nRows) throw new ShapeError(`${label} of a shard`, rows[label].length, nRows);
  }
}

function checkPacked(rows: PackedRows, { dIn, dtype }: StoreManifest): void {
  if (rows.dIn !== dIn || rows.dtype !== dtype)
    throw new StateError(`rows of ${rows.dIn} × ${rows.dtype} were given, the store holds ${dIn} × ${dtype}`);
}

function shardTensors(rows: PackedRows): TensorToWrite[] {
  const labels = rows.fitLabels();
  const { nRows } = labels;
  return [
    {
      name: "activations",
      dtype: rows.dtype === "bf16" ? "BF16" : "F32",
      shape: [nRows, rows.dIn],
      data: async function* () {
        yield* rows.fitPieces();
      },
    },
    { name: "token_ids", dtype: "U32", shape: [nRows], data: labels.tokenIds },
    { name: "window", dtype: "U32", shape: [nRows], data: labels.window },
    { name: "position", dtype: "U32", shape: [nRows], data: labels.position },
    { name: "document", dtype: "U32", shape: [nRows], data: labels.document },
    { name: "role", dtype: "U8", shape: [nRows], data: labels.role },
  ];
}

async function refuseLostShards(dir: string, manifest: StoreManifest): Promise<void> {
  for (const shard of manifest.shards) {
    const info = await statIfPresent(join(dir, shard.name));
    if (info?.size !== shard.bytes) {
      throw new StateError(
        `${join(dir, shard.name)} ${info === null ? "is missing" : `has ${info.size} bytes`}, the manifest says ${shard.bytes}`,
        "restore the file, or delete the store's folder to write it anew",
      );
    }
  }
}

function refuseOtherIdentity(dir: string, stored: StoreIdentity, asked: StoreIdentity): void {
  const found = jsonDifferences(identityOf(stored), identityOf(asked));
  if (found.length === 0) return;
  throw new StateError(
    `${dir} holds a store of something else: ${describeDifferences(found)}`,
    "give another folder, or delete this one to write it anew",
  );
}
