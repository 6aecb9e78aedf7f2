/** Writing bytes one after the other into an open file, and into the hash of all of them. */
import type { Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";

/** One write call moves at most this much. */
const CHUNK_BYTES = 1 << 26;

/** Writes `bytes` at `position` and gives where they end. */
export async function append(
  file: FileHandle,
  hash: Hash,
  bytes: Uint8Array,
  position: number,
): Promise<number> {
  for (let done = 0; done < bytes.length; ) {
    const piece = bytes.subarray(done, Math.min(done + CHUNK_BYTES, bytes.length));
    const { bytesWritten } = await file.write(piece, 0, piece.length, position + done);
    hash.update(piece.subarray(0, bytesWritten));
    done += bytesWritten;
  }
  return position + bytes.length;
}
