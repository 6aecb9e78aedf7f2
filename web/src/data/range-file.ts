/**
 * A file on a server, read in ranges. Works on any file host: one that does not know ranges sends the whole file once.
 * Ranges are kept, the least recently used go first, so that walking from latent to latent does not fetch twice.
 */
import type { AsyncBuffer } from "hyparquet";

/** Bytes of ranges kept a file. */
const KEPT_BYTES = 32 * 2 ** 20;
/** What is read first: the end of the file, where Parquet keeps its footer. Of a file of unknown size this also tells the size. */
export const TAIL_BYTES = 64 * 2 ** 10;

/**
 * Opens `url`; `byteLength` undefined: asks the server.
 * @throws {Error} the server refuses, or says something else than a file
 */
export async function openRangeFile(url: string, byteLength?: number): Promise<AsyncBuffer> {
  const ranges = new Map<string, Promise<ArrayBuffer>>();
  let whole: ArrayBuffer | undefined;
  let kept = 0;

  const keep = (key: string, range: Promise<ArrayBuffer>): Promise<ArrayBuffer> => {
    ranges.delete(key);
    ranges.set(key, range);
    range.then(
      (bytes) => {
        kept += bytes.byteLength;
        for (const [oldest, old] of ranges) {
          if (kept <= KEPT_BYTES || oldest === key) break;
          ranges.delete(oldest);
          void old.then((gone) => {
            kept -= gone.byteLength;
          });
        }
      },
      () => ranges.delete(key),
    );
    return range;
  };

  const ask = async (range: string): Promise<{ bytes: ArrayBuffer; start: number; total: number }> => {
    const response = await fetch(url, { headers: { Range: `bytes=${range}` } });
    if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
    const bytes = await response.arrayBuffer();
    const place = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "");
    if (response.status === 206 && place !== null)
      return { bytes, start: Number(place[1]), total: Number(place[2]) };
    if (response.status === 206) throw new Error(`${url}: part of a file without saying which`);
    whole = bytes;
    return { bytes, start: 0, total: bytes.byteLength };
  };

  if (byteLength === undefined) {
    const { bytes, start, total } = await ask(`-${TAIL_BYTES}`);
    byteLength = total;
    if (whole === undefined) void keep(`${start}-${total}`, Promise.resolve(bytes));
  }
  const size = byteLength;

  return {
    byteLength: size,
    async slice(start, end = size) {
      if (whole !== undefined) return whole.slice(start, end);
      const key = `${start}-${end}`;
      const have = ranges.get(key);
      if (have !== undefined) {
        ranges.delete(key);
        ranges.set(key, have);
        return have;
      }
      const range = ask(`${start}-${end - 1}`).then((answer) => {
        const bytes = answer.start === start ? answer.bytes : answer.bytes.slice(start, end);
        if (bytes.byteLength !== end - start || answer.total !== size)
          throw new Error(
            `${url}: ${bytes.byteLength} bytes where ${end - start} were asked for; was it changed?`,
          );
        return bytes;
      });
      return keep(key, range);
    },
  };
}
