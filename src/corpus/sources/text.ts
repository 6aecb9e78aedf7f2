/** Plain text files: one file is one document, in UTF-8. */
import { DataError } from "../../errors.ts";
import type { DocumentReader } from "./reader.ts";

/** Longest text file that is read, in bytes. */
const MAX_BYTES = 64 * 1024 * 1024;

export const textReader: DocumentReader = {
  format: "text",
  async *documents(file, from, columns) {
    if (columns.kind !== "text")
      throw new DataError(`${file.name}: a text file holds no chats`, { hint: "set kind: text" });
    if (from > 0) return 1;
    if (file.size > MAX_BYTES)
      throw new DataError(`${file.name}: ${file.size} bytes, at most ${MAX_BYTES} are read as one document`, {
        hint: "split it, or make it JSONL with one document a line",
      });
    const text = decodeUtf8(await file.read(0, file.size), file.name);
    yield { index: 0, place: file.name, endOffset: file.size, text };
    return 1;
  },
  count: async () => 1,
};

/** @throws {DataError} the bytes are not UTF-8 */
export function decodeUtf8(bytes: Uint8Array, place: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DataError(`${place}: not UTF-8`, { cause, hint: "convert the file to UTF-8" });
  }
}
