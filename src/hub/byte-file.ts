/**
 * A file of known size that can be read in ranges or streamed from any byte, wherever it lies: on this disk (here) or
 * on the hub (`remote-file.ts`). What its bytes mean is the reader's business.
 */
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { DataError } from "../errors.ts";
import { hashFile } from "../storage/hash.ts";

export interface ByteFile {
  /** name to show in messages: a path relative to the source, with `/` */
  readonly name: string;
  /** bytes */
  readonly size: number;
  /** Bytes [from, to), to ≤ size. */
  read(from: number, to: number): Promise<Uint8Array>;
  /** Bytes from `from` to the end, in pieces of any size. */
  stream(from?: number): AsyncIterable<Uint8Array>;
  /** What the content is, wherever it lies: `sha256:…`, or `git:…` for small files on the hub. */
  identity(): Promise<string>;
}

/** A file on this machine. @throws {DataError} there is none */
export async function openLocalFile(path: string, name: string): Promise<ByteFile> {
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile()) throw new DataError(`${path}: no such file`);
  const size = info.size;
  let identity: Promise<string> | undefined;
  return {
    name,
    size,
    async read(from, to) {
      const bytes = new Uint8Array(to - from);
      const file = await open(path, "r");
      try {
        for (let done = 0; done < bytes.length; ) {
          const { bytesRead } = await file.read(bytes, done, bytes.length - done, from + done);
          if (bytesRead === 0)
            throw new DataError(
              `${path}: ends at byte ${from + done}, expected ${size} bytes; it changed while being read`,
            );
          done += bytesRead;
        }
      } finally {
        await file.close();
      }
      return bytes;
    },
    stream: (from = 0) =>
      createReadStream(path, { start: from, highWaterMark: 1 << 18 }) as AsyncIterable<Uint8Array>,
    identity() {
      identity ??= hashFile(path).then((hash) => `sha256:${hash}`);
      return identity;
    },
  };
}
