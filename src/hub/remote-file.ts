/**
 * A file on the hub of which only the parts that are read get downloaded. It is cached in blocks of fixed size, each a
 * small file whose name holds its hash; a block is whole or absent, so reading goes on after any interruption. For
 * Parquet (footer and columns by range) and for long streams of which a corpus needs the beginning.
 */
import { createHash, type Hash } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { HubError } from "../errors.ts";
import { writeFileAtomically } from "../storage/atomic.ts";
import { hashBytes } from "../storage/hash.ts";
import type { ByteFile } from "./byte-file.ts";
import { rangeStream } from "./range-stream.ts";
import type { Repository, RepositoryFile } from "./repository.ts";

/** Bytes of a block. */
const BLOCK_BYTES = 4 * 1024 * 1024;
/** Most blocks fetched by one request. */
const MAX_RUN = 8;

/** Opens a file of a repository for reading in parts. Nothing is fetched yet. */
export async function openRemoteFile(
  repository: Repository,
  file: RepositoryFile,
  options: { signal?: AbortSignal; blockBytes?: number } = {},
): Promise<ByteFile> {
  const blockBytes = options.blockBytes ?? BLOCK_BYTES;
  const folder = join(repository.dir, "blocks", `${file.identity.replace(":", "-")}.${blockBytes}`);
  await mkdir(folder, { recursive: true });
  return new RemoteFile(repository, file, folder, blockBytes, await cachedBlocks(folder), options.signal);
}

class RemoteFile implements ByteFile {
  readonly name: string;
  readonly size: number;
  readonly #repository: Repository;
  readonly #file: RepositoryFile;
  readonly #folder: string;
  readonly #blockBytes: number;
  /** block → first 16 hex digits of its hash */
  readonly #cached: Map<number, string>;
  readonly #signal: AbortSignal | undefined;

  constructor(
    repository: Repository,
    file: RepositoryFile,
    folder: string,
    blockBytes: number,
    cached: Map<number, string>,
    signal: AbortSignal | undefined,
  ) {
    this.name = file.path;
    this.size = file.size;
    this.#repository = repository;
    this.#file = file;
    this.#folder = folder;
    this.#blockBytes = blockBytes;
    this.#cached = cached;
    this.#signal = signal;
  }

  async read(from: number, to: number): Promise<Uint8Array> {
    if (!(from >= 0 && from <= to && to <= this.size))
      throw new HubError(`${this.name}: asked for bytes [${from}, ${to}) of ${this.size}`);
    const out = new Uint8Array(to - from);
    const last = Math.ceil(to / this.#blockBytes);
    for (let block = Math.floor(from / this.#blockBytes); block < last; block++) {
      if (!this.#cached.has(block)) await this.#fetchRun(block, last);
      const bytes = await this.#block(block);
      const begin = block * this.#blockBytes;
      const piece = bytes.subarray(Math.max(0, from - begin), Math.min(bytes.length, to - begin));
      out.set(piece, Math.max(0, begin - from));
    }
    return out;
  }

  /** Read from its first byte to its last, the whole is checked against the hub's hash. */
  async *stream(from = 0): AsyncGenerator<Uint8Array> {
    const [kind, expected] = this.#file.identity.split(":");
    const hash: Hash | null = from === 0 && kind === "sha256" ? createHash("sha256") : null;
    for (let position = from; position < this.size; ) {
      const end = Math.min(this.size, (Math.floor(position / this.#blockBytes) + 1) * this.#blockBytes);
      const bytes = await this.read(position, end);
      hash?.update(bytes);
      yield bytes;
      position = end;
    }
    if (hash !== null && hash.digest("hex") !== expected) {
      await rm(this.#folder, { recursive: true, force: true });
      throw new HubError(`${this.#repository.name}/${this.name}: what arrived does not have the hub's hash`, {
        hint: "its cached blocks were removed; try again",
      });
    }
  }

  async identity(): Promise<string> {
    return this.#file.identity;
  }

  /** A block's bytes; one that the disk has damaged is fetched again. */
  async #block(block: number): Promise<Uint8Array> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const hash = this.#cached.get(block)!;
      const path = join(this.#folder, blockName(block, hash));
      const bytes = await readFile(path).catch(() => null);
      if (bytes !== null && bytes.length === this.#lengthOf(block) && shortHash(bytes) === hash) return bytes;
      await rm(path, { force: true });
      this.#cached.delete(block);
      await this.#fetchRun(block, block + 1);
    }
    throw new HubError(`${this.name}: cached block ${block} does not stay as it was written`, {
      hint: "check the disk of the cache folder",
    });
  }

  /** Fetches the missing blocks from `first` on, up to a cached one, `end` or the most for one request. */
  async #fetchRun(first: number, end: number): Promise<void> {
    let stop = first + 1;
    while (stop < end && stop - first < MAX_RUN && !this.#cached.has(stop)) stop++;
    const to = Math.min(this.size, stop * this.#blockBytes);
    let block = first;
    let filled = 0;
    let buffer = new Uint8Array(this.#lengthOf(block));
    const from = first * this.#blockBytes;
    for await (let bytes of rangeStream(this.#repository, this.#file, from, to, this.#signal)) {
      while (bytes.length > 0) {
        const piece = bytes.subarray(0, buffer.length - filled);
        buffer.set(piece, filled);
        filled += piece.length;
        bytes = bytes.subarray(piece.length);
        if (filled < buffer.length) continue;
        const hash = shortHash(buffer);
        await writeFileAtomically(join(this.#folder, blockName(block, hash)), buffer);
        this.#cached.set(block, hash);
        block += 1;
        filled = 0;
        if (block < stop) buffer = new Uint8Array(this.#lengthOf(block));
      }
    }
  }

  #lengthOf(block: number): number {
    return Math.min(this.#blockBytes, this.size - block * this.#blockBytes);
  }
}

async function cachedBlocks(folder: string): Promise<Map<number, string>> {
  const blocks = new Map<number, string>();
  for (const name of await readdir(folder)) {
    const [, block, hash] = /^(\d{7})-([0-9a-f]{16})$/.exec(name) ?? [];
    if (block !== undefined) blocks.set(Number(block), hash);
  }
  return blocks;
}

function blockName(block: number, hash: string): string {
  return `${String(block).padStart(7, "0")}-${hash}`;
}

function shortHash(bytes: Uint8Array): string {
  return hashBytes(bytes).slice(0, 16);
}
