/** SHA-256 of files and values, as lower-case hexadecimal. */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { fileError } from "./file-error.ts";
import { canonicalJson } from "./json.ts";

/** Hash of a file's bytes, read as a stream. @throws {ResourceError} it cannot be read */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await addToHash(hash, path);
  return hash.digest("hex");
}

/** Adds a file's bytes, or the first `bytes` of them, to a hash that goes on. @throws {ResourceError} it cannot be read */
export async function addToHash(hash: Hash, path: string, bytes = Number.POSITIVE_INFINITY): Promise<void> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, end: bytes - 1 }))
      hash.update(chunk as Buffer);
  } catch (error) {
    throw fileError(error, path);
  }
}

export function hashBytes(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Hash of a JSON value, independent of key order. */
export function hashValue(value: unknown): string {
  return hashBytes(canonicalJson(value));
}

/** Files up to this size are hashed whole by `fileIdentity`. */
const WHOLE_BYTES = 256 * 1024 * 1024;
const SAMPLE_BYTES = 4 * 1024 * 1024;

/**
 * What tells a file's content apart from another's, quickly: the hash of all bytes up to 256 MB; beyond that, of its
 * size and its first and last 4 MB. To notice a changed input, not to prove integrity.
 */
export async function fileIdentity(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size <= WHOLE_BYTES) return hashFile(path);
  const hash = createHash("sha256").update(String(size));
  const file = await open(path, "r");
  try {
    const sample = Buffer.alloc(SAMPLE_BYTES);
    for (const position of [0, size - SAMPLE_BYTES]) {
      await file.read(sample, 0, SAMPLE_BYTES, position);
      hash.update(sample);
    }
  } finally {
    await file.close();
  }
  return `sampled-${hash.digest("hex")}`;
}
