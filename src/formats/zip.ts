/**
 * Zip archives, as far as npz files and torch checkpoints use them: entries stored or deflated, zip64, no encryption.
 * The central directory is believed only where it agrees with the file's size, and every entry's data is checked against
 * its CRC-32. Source: APPNOTE.TXT 6.3.10 (PKWARE).
 */
import { type FileHandle, open } from "node:fs/promises";
import { promisify } from "node:util";
import { crc32, inflateRaw } from "node:zlib";
import { FormatError } from "../errors.ts";
import { fileError, isAbsent } from "../storage/file-error.ts";
import { readExactly } from "./read-exactly.ts";

const inflate = promisify(inflateRaw);

/** A file inside an archive. */
export interface ZipEntry {
  readonly name: string;
  readonly isDeflated: boolean;
  /** of the data, uncompressed */
  readonly bytes: number;
  readonly compressedBytes: number;
  readonly crc32: number;
  /** where its local header begins */
  readonly headerOffset: number;
}

const END = 0x06054b50;
const END_64 = 0x06064b50;
const END_64_LOCATOR = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const END_BYTES = 22;
const MAX_COMMENT = 0xffff;
const MAX_DIRECTORY_BYTES = 64 * 1024 * 1024;
const MAX_ENTRIES = 100_000;
/** Deflated data larger than this may not expand by more than MAX_EXPANSION: real weights hardly compress. */
const FREE_EXPANSION_BYTES = 16 * 1024 * 1024;
const MAX_EXPANSION = 64;
const CHECK_CHUNK = 1 << 24;

export class ZipFile {
  readonly path: string;
  readonly entries: ReadonlyMap<string, ZipEntry>;
  readonly #file: FileHandle;
  readonly #size: number;

  private constructor(path: string, file: FileHandle, size: number, entries: Map<string, ZipEntry>) {
    this.path = path;
    this.#file = file;
    this.#size = size;
    this.entries = entries;
  }

  /** @throws {FormatError} no zip archive, or one that contradicts itself: names the byte */
  static async open(path: string): Promise<ZipFile> {
    const file = await open(path, "r").catch((cause: unknown) => {
      throw isAbsent(cause) ? new FormatError(path, "no such file", { cause }) : fileError(cause, path);
    });
    try {
      const { size } = await file.stat();
      const directory = await findDirectory(path, file, size);
      const bytes = new Uint8Array(directory.bytes);
      await readExactly(path, file, bytes, directory.offset);
      return new ZipFile(path, file, size, parseDirectory(path, bytes, directory, size));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * The data of an entry, its CRC-32 checked.
   * @throws {FormatError} absent, longer than `maxBytes`, a bomb, or damaged
   */
  async read(name: string, options: { maxBytes: number }): Promise<Uint8Array<ArrayBuffer>> {
    const entry = this.entry(name);
    if (entry.bytes > options.maxBytes)
      throw new FormatError(
        this.path,
        `"${name}" has ${entry.bytes} bytes, at most ${options.maxBytes} were expected`,
      );
    const begin = await this.#dataOffset(entry);
    const stored = new Uint8Array(entry.compressedBytes);
    await readExactly(this.path, this.#file, stored, begin);
    const data = entry.isDeflated ? await this.#inflated(entry, stored, begin) : stored;
    if (data.length !== entry.bytes || crc32(data) !== entry.crc32)
      throw new FormatError(this.path, `"${name}" is damaged: its CRC-32 does not fit`, { offset: begin });
    return data;
  }

  /**
   * Reads a stored entry's bytes [from, from + into.length) into `into`; for tensors too large to be held twice. Its CRC-32 is
   * checked by `check`.
   */
  async readInto(name: string, into: Uint8Array, from: number): Promise<void> {
    const entry = this.entry(name);
    if (entry.isDeflated || from + into.length > entry.bytes)
      throw new FormatError(
        this.path,
        `bytes ${from} to ${from + into.length} of "${name}", which has ${entry.bytes}`,
      );
    await readExactly(this.path, this.#file, into, (await this.#dataOffset(entry)) + from);
  }

  /** @throws {FormatError} a stored entry's CRC-32 does not fit */
  async check(name: string): Promise<void> {
    const entry = this.entry(name);
    const begin = await this.#dataOffset(entry);
    const chunk = new Uint8Array(Math.min(CHECK_CHUNK, entry.bytes));
    let sum = 0;
    for (let at = 0; at < entry.bytes; at += chunk.length) {
      const piece = chunk.subarray(0, Math.min(chunk.length, entry.bytes - at));
      await readExactly(this.path, this.#file, piece, begin + at);
      sum = crc32(piece, sum);
    }
    if (sum !== entry.crc32)
      throw new FormatError(this.path, `"${name}" is damaged: its CRC-32 does not fit`, { offset: begin });
  }

  /** @throws {FormatError} there is no such entry */
  entry(name: string): ZipEntry {
    const entry = this.entries.get(name);
    if (entry === undefined) {
      const known = [...this.entries.keys()].slice(0, 12).join(", ");
      throw new FormatError(this.path, `no entry "${name}"; it holds ${known || "none"}`);
    }
    return entry;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #dataOffset(entry: ZipEntry): Promise<number> {
    const header = new Uint8Array(30);
    await readExactly(this.path, this.#file, header, entry.headerOffset);
    const view = viewOf(header);
    if (view.getUint32(0, true) !== LOCAL)
      throw new FormatError(this.path, `no local header of "${entry.name}" here`, {
        offset: entry.headerOffset,
      });
    const begin = entry.headerOffset + 30 + view.getUint16(26, true) + view.getUint16(28, true);
    if (begin + entry.compressedBytes > this.#size)
      throw new FormatError(this.path, `"${entry.name}" goes past the end of the file`, { offset: begin });
    return begin;
  }

  async #inflated(entry: ZipEntry, stored: Uint8Array, offset: number): Promise<Uint8Array<ArrayBuffer>> {
    if (entry.bytes > FREE_EXPANSION_BYTES && entry.bytes > MAX_EXPANSION * entry.compressedBytes)
      throw new FormatError(
        this.path,
        `"${entry.name}" would expand ${Math.round(entry.bytes / entry.compressedBytes)}-fold to ${entry.bytes} bytes, at most ${MAX_EXPANSION}-fold is accepted`,
        { offset },
      );
    const inflated = await inflate(stored, { maxOutputLength: Math.max(1, entry.bytes) }).catch(
      (cause: unknown) => {
        throw new FormatError(this.path, `"${entry.name}" cannot be inflated to ${entry.bytes} bytes`, {
          offset,
          cause,
        });
      },
    );
    return new Uint8Array(inflated.buffer as ArrayBuffer, inflated.byteOffset, inflated.length);
  }
}

interface Directory {
  readonly offset: number;
  readonly bytes: number;
  readonly nEntries: number;
}

/** The end record lies at the end, before a comment of at most 64 KiB; large archives say more in a second record. */
async function findDirectory(path: string, file: FileHandle, size: number): Promise<Directory> {
  const tail = new Uint8Array(Math.min(size, END_BYTES + MAX_COMMENT));
  await readExactly(path, file, tail, size - tail.length);
  const view = viewOf(tail);
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    if (view.getUint32(at, true) !== END || view.getUint16(at + 20, true) !== tail.length - at - END_BYTES)
      continue;
    const endOffset = size - tail.length + at;
    const isLarge = at >= 20 && view.getUint32(at - 20, true) === END_64_LOCATOR;
    const found = isLarge
      ? await largeDirectory(path, file, size, Number(view.getBigUint64(at - 12, true)))
      : {
          nEntries: view.getUint16(at + 10, true),
          bytes: view.getUint32(at + 12, true),
          offset: view.getUint32(at + 16, true),
        };
    if (found.bytes > MAX_DIRECTORY_BYTES || found.nEntries > MAX_ENTRIES)
      throw new FormatError(
        path,
        `a directory of ${found.nEntries} entries in ${found.bytes} bytes, at most ${MAX_ENTRIES} in ${MAX_DIRECTORY_BYTES} are read`,
        { offset: endOffset },
      );
    if (found.offset + found.bytes > endOffset)
      throw new FormatError(
        path,
        `a directory of ${found.bytes} bytes at ${found.offset}, the archive ends at ${endOffset}`,
        { offset: endOffset },
      );
    return found;
  }
  throw new FormatError(path, "no end of a zip archive in it", {
    offset: Math.max(0, size - END_BYTES),
    hint: "the file is cut short or is no zip archive; fetch it again",
  });
}

async function largeDirectory(
  path: string,
  file: FileHandle,
  size: number,
  offset: number,
): Promise<Directory> {
  if (!(offset + 56 <= size)) throw new FormatError(path, `a zip64 end record at ${offset}, past the end`);
  const record = new Uint8Array(56);
  await readExactly(path, file, record, offset);
  const view = viewOf(record);
  if (view.getUint32(0, true) !== END_64) throw new FormatError(path, "no zip64 end record here", { offset });
  const number = (at: number) => Number(view.getBigUint64(at, true));
  return { nEntries: number(32), bytes: number(40), offset: number(48) };
}

function parseDirectory(
  path: string,
  bytes: Uint8Array,
  directory: Directory,
  size: number,
): Map<string, ZipEntry> {
  const view = viewOf(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let n = 0; n < directory.nEntries; n++) {
    const offset = directory.offset + at;
    if (at + 46 > bytes.length || view.getUint32(at, true) !== CENTRAL)
      throw new FormatError(path, `entry ${n} of ${directory.nEntries} is not there`, { offset });
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) =>
      view.getUint16(at + field, true),
    );
    const end = at + 46 + nameBytes + extraBytes + commentBytes;
    if (end > bytes.length)
      throw new FormatError(path, `entry ${n} goes past the directory's end`, { offset });
    const entry = parseEntry(path, bytes.subarray(at, end), offset);
    if (entries.has(entry.name)) throw new FormatError(path, `two entries named "${entry.name}"`, { offset });
    if (entry.headerOffset + 30 + entry.compressedBytes > size)
      throw new FormatError(path, `"${entry.name}" goes past the end of the file`, { offset });
    entries.set(entry.name, entry);
    at = end;
  }
  if (at !== bytes.length)
    throw new FormatError(path, `${bytes.length - at} bytes after the last entry of the directory`, {
      offset: directory.offset + at,
    });
  return entries;
}

function parseEntry(path: string, bytes: Uint8Array, offset: number): ZipEntry {
  const view = viewOf(bytes);
  const [flags, method, nameBytes, extraBytes] = [8, 10, 28, 30].map((field) => view.getUint16(field, true));
  const name = new TextDecoder().decode(bytes.subarray(46, 46 + nameBytes));
  if ((flags & 1) !== 0) throw new FormatError(path, `"${name}" is encrypted`, { offset });
  if (method !== 0 && method !== 8)
    throw new FormatError(
      path,
      `"${name}" is compressed by method ${method}, expected 0 (stored) or 8 (deflate)`,
      { offset, hint: "write it again with np.savez, np.savez_compressed or torch.save" },
    );
  const sizes = {
    bytes: view.getUint32(24, true),
    compressedBytes: view.getUint32(20, true),
    headerOffset: view.getUint32(42, true),
  };
  readLargeSizes(viewOf(bytes.subarray(46 + nameBytes, 46 + nameBytes + extraBytes)), sizes);
  if (Object.values(sizes).some((n) => !Number.isSafeInteger(n)))
    throw new FormatError(path, `"${name}" has a size that no file has`, { offset });
  if (method === 0 && sizes.bytes !== sizes.compressedBytes)
    throw new FormatError(
      path,
      `"${name}" is stored, yet has ${sizes.bytes} bytes in ${sizes.compressedBytes}`,
      { offset },
    );
  return { name, isDeflated: method === 8, crc32: view.getUint32(16, true), ...sizes };
}

/** Extra field 1 holds, in this order, those of the sizes that do not fit 32 bits. */
function readLargeSizes(
  extra: DataView,
  sizes: { bytes: number; compressedBytes: number; headerOffset: number },
): void {
  for (let at = 0; at + 4 <= extra.byteLength; ) {
    const length = extra.getUint16(at + 2, true);
    if (extra.getUint16(at, true) === 1) {
      let field = at + 4;
      const end = Math.min(extra.byteLength, field + length);
      for (const key of ["bytes", "compressedBytes", "headerOffset"] as const) {
        if (sizes[key] !== 0xffffffff || field + 8 > end) continue;
        sizes[key] = Number(extra.getBigUint64(field, true));
        field += 8;
      }
    }
    at += 4 + length;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
