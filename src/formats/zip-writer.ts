/**
 * Writing zip archives as NumPy does: entries stored one after the other, no compression, zip64 where sizes or places need
 * it. Dates are those of nothing (1980), so that equal data give equal bytes. Source: APPNOTE.TXT 6.3.10 (PKWARE).
 */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { ShapeError } from "../errors.ts";
import { writeAtomically } from "../storage/atomic.ts";
import { append } from "./append.ts";

/** A file to be put into an archive. */
export interface ZipInput {
  readonly name: string;
  /** of all pieces together */
  readonly bytes: number;
  /** The data in pieces, the same each time: it is asked for twice, as the checksum stands before them. */
  pieces(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
/** 1980-01-01, the first day there is. */
const DATE = 0x21;
/** Sizes and places from here on are written with 64 bits. */
const LARGE_FROM = 0xffffffff;

/**
 * Writes an archive atomically, entries in the order given. Returns its size and sha-256. `largeFrom` is for tests: sizes
 * and places from which zip64 is used.
 */
export async function writeZip(
  path: string,
  inputs: readonly ZipInput[],
  { largeFrom = LARGE_FROM } = {},
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  let position = 0;
  await writeAtomically(path, async (file) => {
    const entries: Entry[] = [];
    for (const input of inputs) {
      const { name, bytes } = input;
      const entry = { name: new TextEncoder().encode(name), bytes, crc: await checksum(input), at: position };
      entries.push(entry);
      position = await append(file, hash, localHeader(entry, largeFrom), position);
      for await (const piece of input.pieces()) position = await append(file, hash, piece, position);
    }
    const start = position;
    for (const entry of entries)
      position = await append(file, hash, centralHeader(entry, largeFrom), position);
    position = await append(file, hash, endOf(entries.length, start, position, largeFrom), position);
  });
  return { bytes: position, sha256: hash.digest("hex") };
}

interface Entry {
  readonly name: Uint8Array;
  readonly bytes: number;
  readonly crc: number;
  /** where its local header begins */
  readonly at: number;
}

/** @throws {ShapeError} the pieces are not as long together as was said */
async function checksum(input: ZipInput): Promise<number> {
  let [crc, bytes] = [0, 0];
  for await (const piece of input.pieces()) {
    crc = crc32(piece, crc);
    bytes += piece.length;
  }
  if (bytes !== input.bytes) throw new ShapeError(`bytes of "${input.name}"`, bytes, input.bytes);
  return crc;
}

function localHeader({ name, bytes, crc }: Entry, largeFrom: number): Uint8Array {
  const extra = largeSizes(bytes >= largeFrom ? [bytes, bytes] : []);
  const header = new Uint8Array(LOCAL_BYTES + name.length + extra.length);
  const view = new DataView(header.buffer);
  view.setUint32(0, 0x04034b50, true);
  writeCommon(view, 4, { name, extra, crc, bytes, largeFrom });
  header.set(name, LOCAL_BYTES);
  header.set(extra, LOCAL_BYTES + name.length);
  return header;
}

function centralHeader({ name, bytes, crc, at }: Entry, largeFrom: number): Uint8Array {
  const isFar = at >= largeFrom;
  const extra = largeSizes([...(bytes >= largeFrom ? [bytes, bytes] : []), ...(isFar ? [at] : [])]);
  const header = new Uint8Array(CENTRAL_BYTES + name.length + extra.length);
  const view = new DataView(header.buffer);
  view.setUint32(0, 0x02014b50, true);
  view.setUint16(4, versionFor(extra), true);
  writeCommon(view, 6, { name, extra, crc, bytes, largeFrom });
  view.setUint32(42, isFar ? LARGE_FROM : at, true);
  header.set(name, CENTRAL_BYTES);
  header.set(extra, CENTRAL_BYTES + name.length);
  return header;
}

/** From the version that is needed to the length of the extra field: alike in both headers. */
function writeCommon(
  view: DataView,
  at: number,
  of: { name: Uint8Array; extra: Uint8Array; crc: number; bytes: number; largeFrom: number },
): void {
  const size = of.bytes >= of.largeFrom ? LARGE_FROM : of.bytes;
  view.setUint16(at, versionFor(of.extra), true);
  view.setUint16(at + 8, DATE, true);
  view.setUint32(at + 10, of.crc, true);
  view.setUint32(at + 14, size, true);
  view.setUint32(at + 18, size, true);
  view.setUint16(at + 22, of.name.length, true);
  view.setUint16(at + 24, of.extra.length, true);
}

function versionFor(extra: Uint8Array): number {
  return extra.length === 0 ? 20 : 45;
}

/** Extra field 1, which holds what 32 bits do not; nothing at all for no numbers. */
function largeSizes(numbers: readonly number[]): Uint8Array {
  if (numbers.length === 0) return new Uint8Array(0);
  const extra = new Uint8Array(4 + 8 * numbers.length);
  const view = new DataView(extra.buffer);
  view.setUint16(0, 1, true);
  view.setUint16(2, 8 * numbers.length, true);
  numbers.forEach((value, i) => {
    view.setBigUint64(4 + 8 * i, BigInt(value), true);
  });
  return extra;
}

/** The records after the directory, which lies from `start` to `end`. */
function endOf(nEntries: number, start: number, end: number, largeFrom: number): Uint8Array {
  const isLarge = start >= largeFrom || nEntries >= 0xffff;
  const records = new Uint8Array((isLarge ? 76 : 0) + 22);
  const view = new DataView(records.buffer);
  let at = 0;
  if (isLarge) {
    view.setUint32(0, 0x06064b50, true);
    view.setBigUint64(4, 44n, true);
    view.setUint16(12, 45, true);
    view.setUint16(14, 45, true);
    for (const [offset, value] of [
      [24, nEntries],
      [32, nEntries],
      [40, end - start],
      [48, start],
    ])
      view.setBigUint64(offset, BigInt(value), true);
    view.setUint32(56, 0x07064b50, true);
    view.setBigUint64(64, BigInt(end), true);
    view.setUint32(72, 1, true);
    at = 76;
  }
  view.setUint32(at, 0x06054b50, true);
  view.setUint16(at + 8, isLarge ? 0xffff : nEntries, true);
  view.setUint16(at + 10, isLarge ? 0xffff : nEntries, true);
  view.setUint32(at + 12, isLarge ? LARGE_FROM : end - start, true);
  view.setUint32(at + 16, isLarge ? LARGE_FROM : start, true);
  return records;
}
