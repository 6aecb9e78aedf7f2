/** Reading a stretch of a file by position, whole or not at all. */
import type { FileHandle } from "node:fs/promises";
import { FormatError } from "../errors.ts";
import { fileError } from "../storage/file-error.ts";

/** One read call moves at most this much. */
const CHUNK_BYTES = 1 << 26;

/** Fills `into` from byte `position` on. @throws {FormatError} the file ends before */
export async function readExactly(
  path: string,
  file: FileHandle,
  into: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const length = Math.min(CHUNK_BYTES, into.length - done);
    const { bytesRead } = await file.read(into, done, length, position + done).catch((error: unknown) => {
      throw fileError(error, path);
    });
    if (bytesRead === 0) {
      throw new FormatError(
        path,
        `ends after ${position + done} bytes, ${into.length - done} more were expected`,
        { offset: position + done },
      );
    }
    done += bytesRead;
  }
}
