/**
 * Values of an Arrow column as JavaScript has them: texts, and lists and structs of texts, by ranges of rows. For corpora;
 * columns of numbers are read as typed arrays by `arrow.ts`. What else a struct holds is left out.
 */
import { FormatError } from "../errors.ts";
import {
  type ArrowBatch,
  type ArrowField,
  type ArrowStream,
  footprint,
  locateColumn,
  type ReadRange,
} from "./arrow-stream.ts";

export type ArrowValue = string | null | undefined | readonly ArrowValue[] | { [name: string]: ArrowValue };

/** Longest text, and most bytes of texts read at once. */
const MAX_TEXT_BYTES = 2 ** 29;

/** Where a field's values are in a batch. */
interface Place {
  readonly field: ArrowField;
  readonly node: number;
  readonly buffer: number;
}

/**
 * Rows [from, to) of one batch. `undefined` stands for what is no text, list or struct; null for null.
 * @throws {FormatError} no such column, or lengths and offsets that its buffers do not bear out
 */
export async function readArrowValues(
  stream: ArrowStream,
  batch: ArrowBatch,
  column: string,
  [from, to]: readonly [number, number],
  read: ReadRange,
): Promise<ArrowValue[]> {
  const place = locateColumn(stream.fields, column);
  const wrong = (what: string, offset?: number) =>
    new FormatError(stream.path, `column "${column}": ${what}`, offset === undefined ? {} : { offset });
  if (place === null) throw wrong("absent from this file");

  // What is read takes at least a byte an entry, so counts beyond the batch's bytes are damage.
  const mostEntries = to - from + batch.buffers.reduce((sum, { begin, end }) => sum + end - begin, 0);

  /** entries [first, last) of `width` bytes of a buffer */
  const range = async (index: number, first: number, last: number, width: number) => {
    const buffer = batch.buffers[index];
    if (buffer === undefined || buffer.begin + last * width > buffer.end)
      throw wrong(`a buffer is shorter than ${last} entries of ${width} bytes`, buffer?.begin);
    return read(buffer.begin + first * width, buffer.begin + last * width);
  };

  /** [last − first + 1] ascending */
  const offsets = async (index: number, first: number, last: number, bits: 32 | 64) => {
    const bytes = await range(index, first, last + 1, bits / 8);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const values = Float64Array.from({ length: last - first + 1 }, (_, i) =>
      bits === 32 ? view.getInt32(4 * i, true) : Number(view.getBigInt64(8 * i, true)),
    );
    if (!values.every((value, i) => value >= (i === 0 ? 0 : values[i - 1]) && Number.isSafeInteger(value)))
      throw wrong("offsets that do not ascend", batch.buffers[index].begin);
    return values;
  };

  /** which of entries [first, last) are not null; null: all */
  const valid = async ({ node, buffer }: Place, first: number, last: number) => {
    if (batch.nodes[node].nNull === 0) return null;
    const firstByte = first >> 3;
    const bits = await range(buffer, firstByte, (last + 7) >> 3, 1);
    return (i: number) => ((bits[((first + i) >> 3) - firstByte] >> ((first + i) & 7)) & 1) === 1;
  };

  const values = async (at: Place, first: number, last: number): Promise<ArrowValue[]> => {
    const { type, children } = at.field;
    if (last - first > mostEntries)
      throw wrong(`${last - first} entries, the batch has room for ${mostEntries}`);
    const counts = batch.nodes[at.node];
    if (counts === undefined || counts.length < last)
      throw wrong(`holds ${counts?.length ?? 0} entries, ${last} were expected`);
    if (type.kind === "other" || type.kind === "int" || type.kind === "float")
      return new Array<ArrowValue>(last - first).fill(undefined);
    if (first === last) return [];
    const isValid = await valid(at, first, last);
    const inner = await entries();
    return isValid === null ? inner : inner.map((value, i) => (isValid(i) ? value : null));

    async function entries(): Promise<ArrowValue[]> {
      if (type.kind === "text") {
        const ends = await offsets(at.buffer + 1, first, last, type.offsetBits);
        return texts(ends, await textBytes(at.buffer + 2, ends));
      }
      if (type.kind === "struct") return structs();
      const element = {
        field: children[0],
        node: at.node + 1,
        buffer: at.buffer + (type.kind === "list" ? 2 : 1),
      };
      if (children.length !== 1) throw wrong(`a list of ${children.length} columns`);
      if (type.kind === "list") {
        const ends = await offsets(at.buffer + 1, first, last, type.offsetBits);
        const all = await values(element, ends[0], ends[ends.length - 1]);
        return Array.from({ length: last - first }, (_, i) =>
          all.slice(ends[i] - ends[0], ends[i + 1] - ends[0]),
        );
      }
      const { size } = type as { size: number };
      if (!(size >= 0)) throw wrong(`lists of ${size}`);
      const all = await values(element, first * size, last * size);
      return Array.from({ length: last - first }, (_, i) => all.slice(i * size, (i + 1) * size));
    }

    async function structs(): Promise<ArrowValue[]> {
      const rows = Array.from({ length: last - first }, (): { [name: string]: ArrowValue } => ({}));
      let [node, buffer] = [at.node + 1, at.buffer + 1];
      for (const field of children) {
        const column = await values({ field, node, buffer }, first, last);
        for (const [i, row] of rows.entries())
          Object.defineProperty(row, field.name, {
            value: column[i],
            enumerable: true,
            configurable: true,
            writable: true,
          });
        const size = footprint(field);
        [node, buffer] = [node + size.nodes, buffer + size.buffers];
      }
      return rows;
    }
  };

  const textBytes = async (index: number, ends: Float64Array) => {
    const [begin, end] = [ends[0], ends[ends.length - 1]];
    if (end - begin > MAX_TEXT_BYTES)
      throw wrong(
        `texts of ${end - begin} bytes in ${ends.length - 1} rows, at most ${MAX_TEXT_BYTES} are read`,
      );
    return range(index, begin, end, 1);
  };

  const texts = (ends: Float64Array, bytes: Uint8Array): string[] => {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return Array.from({ length: ends.length - 1 }, (_, i) => {
      try {
        return decoder.decode(bytes.subarray(ends[i] - ends[0], ends[i + 1] - ends[0]));
      } catch (cause) {
        throw new FormatError(stream.path, `column "${column}": a text that is not UTF-8`, { cause });
      }
    });
  };

  return values(place, from, to);
}
