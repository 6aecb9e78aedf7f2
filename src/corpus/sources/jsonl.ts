/**
 * JSON lines, plain or compressed with zstd: one object a line, empty lines not counted. Read as a stream, so a file
 * may be larger than memory; lines before the first wanted document are passed over without being parsed.
 */
import { DataError } from "../../errors.ts";
import type { ByteFile } from "../../hub/byte-file.ts";
import { type Columns, documentOfRow } from "../document.ts";
import type { DocumentReader, FileDocument } from "./reader.ts";
import { decodeUtf8 } from "./text.ts";
import { decompressZstd } from "./zstd.ts";

/** Longest line that is read, in bytes. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;
const NEWLINE = 10;

export const jsonlReader: DocumentReader = {
  format: "jsonl",
  documents: (file, from, columns) => rows(file, file.stream(), from, columns),
  count: async () => null,
};

export const jsonlZstdReader: DocumentReader = {
  format: "jsonl.zst",
  documents: (file, from, columns) => rows(file, decompressZstd(file.stream(), file.name), from, columns),
  count: async () => null,
};

async function* rows(
  file: ByteFile,
  bytes: AsyncIterable<Uint8Array>,
  from: number,
  columns: Columns,
): AsyncGenerator<FileDocument, number> {
  let index = 0;
  for await (const line of lines(bytes, file.name)) {
    if (isBlank(line.bytes)) continue;
    if (index >= from) {
      const place = `${file.name}:${line.number}`;
      const row = parseRow(decodeUtf8(line.bytes, place), place);
      yield { index, place, endOffset: line.end, ...documentOfRow(row, columns, place) };
    }
    index += 1;
  }
  return index;
}

interface Line {
  readonly bytes: Uint8Array;
  /** counted from 1 */
  readonly number: number;
  /** byte after the newline */
  readonly end: number;
}

/** Cuts a stream of bytes at newlines. @throws {DataError} a line longer than the limit */
async function* lines(stream: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Line> {
  let number = 1;
  let consumed = 0;
  let open: Uint8Array[] = [];
  let openBytes = 0;
  const close = (last: Uint8Array): Uint8Array => {
    if (openBytes === 0) return last;
    const line = Buffer.concat([...open, last]);
    open = [];
    openBytes = 0;
    return line;
  };
  for await (const chunk of stream) {
    let start = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, start)) {
      const line = close(chunk.subarray(start, at));
      yield { bytes: line, number, end: consumed + at + 1 };
      number += 1;
      start = at + 1;
    }
    consumed += chunk.length;
    if (start < chunk.length) {
      open.push(chunk.slice(start));
      openBytes += chunk.length - start;
    }
    if (openBytes > MAX_LINE_BYTES)
      throw new DataError(`${name}:${number}: a line of more than ${MAX_LINE_BYTES} bytes`, {
        hint: "is this JSON lines? one document a line is expected",
      });
  }
  if (openBytes > 0) yield { bytes: close(new Uint8Array(0)), number, end: consumed };
}

function isBlank(line: Uint8Array): boolean {
  return line.length < 64 && line.every((c) => c === 32 || c === 9 || c === 13);
}

function parseRow(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const start = text.slice(0, 40);
    throw new DataError(`${place}: not JSON, it starts with ${JSON.stringify(start)}`, {
      cause,
      hint: /^\s*\[/.test(text)
        ? "this looks like one JSON array: write one object a line (JSON lines)"
        : "each line must be one JSON object",
    });
  }
}
