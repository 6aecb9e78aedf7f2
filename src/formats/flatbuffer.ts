/**
 * The part of the FlatBuffers wire format that reading Arrow metadata takes: tables, scalars, strings and vectors, by
 * field number. Nothing is copied or built; a read beyond the buffer throws RangeError, which the caller turns into a
 * FormatError. Source: FlatBuffers internals page ("Binary encoding").
 */

/** A table in a buffer. Fields that a writer left out read as the default. */
export class FlatTable {
  readonly #view: DataView;
  readonly #at: number;

  private constructor(view: DataView, at: number) {
    this.#view = view;
    this.#at = at;
  }

  /** The root table of `bytes`. */
  static root(bytes: Uint8Array): FlatTable {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new FlatTable(view, view.getUint32(0, true));
  }

  u8(field: number, otherwise = 0): number {
    const at = this.#field(field);
    return at === 0 ? otherwise : this.#view.getUint8(at);
  }

  i16(field: number, otherwise = 0): number {
    const at = this.#field(field);
    return at === 0 ? otherwise : this.#view.getInt16(at, true);
  }

  i32(field: number, otherwise = 0): number {
    const at = this.#field(field);
    return at === 0 ? otherwise : this.#view.getInt32(at, true);
  }

  i64(field: number, otherwise = 0): number {
    const at = this.#field(field);
    return at === 0 ? otherwise : this.#safe(at);
  }

  text(field: number): string {
    const at = this.#field(field);
    if (at === 0) return "";
    const [first, length] = this.#vector(at, 1);
    return new TextDecoder().decode(new Uint8Array(this.#view.buffer, this.#view.byteOffset + first, length));
  }

  table(field: number): FlatTable | null {
    const at = this.#field(field);
    return at === 0 ? null : this.#follow(at);
  }

  tables(field: number): FlatTable[] {
    const at = this.#field(field);
    if (at === 0) return [];
    const [first, length] = this.#vector(at, 4);
    return Array.from({ length }, (_, i) => this.#follow(first + 4 * i));
  }

  /** A vector of structs of two i64 each. */
  pairs(field: number): [number, number][] {
    const at = this.#field(field);
    if (at === 0) return [];
    const [first, length] = this.#vector(at, 16);
    return Array.from({ length }, (_, i) => [this.#safe(first + 16 * i), this.#safe(first + 16 * i + 8)]);
  }

  /** Position of a field's value, or 0 if it is absent. */
  #field(field: number): number {
    const vtable = this.#at - this.#view.getInt32(this.#at, true);
    const entry = 4 + 2 * field;
    if (entry >= this.#view.getUint16(vtable, true)) return 0;
    const offset = this.#view.getUint16(vtable + entry, true);
    return offset === 0 ? 0 : this.#at + offset;
  }

  #follow(at: number): FlatTable {
    return new FlatTable(this.#view, at + this.#view.getUint32(at, true));
  }

  /** First element's position and length of the vector that `at` points to; the length is checked against the buffer. */
  #vector(at: number, elementBytes: number): [first: number, length: number] {
    const start = at + this.#view.getUint32(at, true);
    const length = this.#view.getUint32(start, true);
    if (start + 4 + length * elementBytes > this.#view.byteLength)
      throw new RangeError(`a vector of ${length} elements passes the end of its buffer`);
    return [start + 4, length];
  }

  #safe(at: number): number {
    const value = Number(this.#view.getBigInt64(at, true));
    if (!Number.isSafeInteger(value)) throw new RangeError(`the integer ${value} is too large`);
    return value;
  }
}
