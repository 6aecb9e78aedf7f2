/** HTTP's `Range`, one range of bytes: RFC 9110 §14. */

/** Bytes [from, to], both included. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/**
 * What of `size` bytes is asked for. Null: all of them: no range, several, or another unit, which a server may ignore.
 * "unsatisfiable": none of them are in the file.
 */
export function byteRange(header: string | undefined, size: number): ByteRange | "unsatisfiable" | null {
  const match = /^bytes=[ \t]*(\d{0,15})-(\d{0,15})[ \t]*$/.exec(header ?? "");
  if (match === null || (match[1] === "" && match[2] === "")) return null;
  if (match[1] === "") {
    const last = Math.min(size, Number(match[2]));
    return last === 0 ? "unsatisfiable" : { from: size - last, to: size - 1 };
  }
  const from = Number(match[1]);
  const to = match[2] === "" ? Number.POSITIVE_INFINITY : Number(match[2]);
  if (to < from) return null; // not a range
  return from >= size ? "unsatisfiable" : { from, to: Math.min(to, size - 1) };
}
