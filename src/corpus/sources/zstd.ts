/** Zstandard, decoded as a stream: memory is one window and one slice of input, however long the file. */
import { Decompress, decompress } from "fzstd";
import { DataError } from "../../errors.ts";

/** Compressed bytes decoded at a time; bounds what one step can blow up to. */
const SLICE_BYTES = 1 << 14;
/** Largest window a frame may ask for; the zstd tool's own limit is 128 MiB. */
const MAX_WINDOW_BYTES = 256 * 1024 * 1024;
const FRAME_MAGIC = 0xfd2fb528;

/** Decompressed bytes of a .zst file of one or many frames. @throws {DataError} damaged, cut off, or too large a window */
export async function* decompressZstd(
  stream: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  let ready: Uint8Array[] = [];
  let read = 0;
  // The decoder hands out views of memory that it goes on using: copy them.
  const decoder = new Decompress((bytes) => {
    if (bytes.length > 0) ready.push(bytes.slice());
  });
  const push = (slice: Uint8Array, final: boolean) => {
    try {
      decoder.push(slice, final);
    } catch (cause) {
      const reason = final ? "cut off" : "damaged";
      throw new DataError(`${name}: ${reason} zstd data near byte ${read} (${(cause as Error).message})`, {
        cause,
        hint: "fetch the file again",
      });
    }
  };
  let head: Uint8Array | null = new Uint8Array(0);
  for await (const incoming of stream) {
    let chunk = incoming;
    if (head !== null) {
      chunk = Buffer.concat([head, chunk]);
      head = chunk.length < 18 ? chunk : null;
      if (head !== null) continue;
      checkFirstFrame(chunk, name);
    }
    for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
      const slice = chunk.subarray(at, at + SLICE_BYTES);
      read += slice.length;
      push(slice, false);
      yield* ready;
      ready = [];
    }
  }
  if (head !== null && head.length > 0) push(head, false);
  push(new Uint8Array(0), true);
  yield* ready;
}

/** One frame of a known length. @throws {Error} damaged, or of another length */
export function decompressZstdBlock(compressed: Uint8Array, bytes: number): Uint8Array {
  const stated = contentBytes(compressed);
  if (stated !== null && stated !== bytes)
    throw new RangeError(`a zstd frame of ${stated} bytes, ${bytes} were expected`);
  return decompress(compressed, new Uint8Array(bytes));
}

/** Bytes that a frame says it holds; null if it does not (RFC 8878, 3.1.1.1). */
function contentBytes(frame: Uint8Array): number | null {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getUint32(0, true) !== FRAME_MAGIC) throw new RangeError("no zstd frame");
  const flags = frame[4];
  const isSingle = ((flags >> 5) & 1) === 1;
  const at = 5 + (isSingle ? 0 : 1) + [0, 1, 2, 4][flags & 3];
  switch (flags >> 6) {
    case 0:
      return isSingle ? view.getUint8(at) : null;
    case 1:
      return view.getUint16(at, true) + 256;
    case 2:
      return view.getUint32(at, true);
    default:
      return Number(view.getBigUint64(at, true));
  }
}

/** Refuses what is not zstd, and windows that would take too much memory (RFC 8878, 3.1.1.1). */
function checkFirstFrame(bytes: Uint8Array, name: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(0, true);
  if ((magic & 0xfffffff0) >>> 0 === 0x184d2a50) return; // a skippable frame
  if (magic !== FRAME_MAGIC)
    throw new DataError(
      `${name}: starts with ${magic.toString(16).padStart(8, "0")}, expected zstd's fd2fb528`,
      { hint: "is the file compressed with zstd?" },
    );
  const singleSegment = (bytes[4] >> 5) & 1;
  if (singleSegment) return; // the decoder checks its size
  const base = 2 ** (10 + (bytes[5] >> 3));
  const window = base + (base / 8) * (bytes[5] & 7);
  if (window > MAX_WINDOW_BYTES)
    throw new DataError(
      `${name}: asks for a window of ${window} bytes, at most ${MAX_WINDOW_BYTES} are given`,
      {
        hint: "compress it again without --long",
      },
    );
}
