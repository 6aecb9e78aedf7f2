/**
 * Thrift's compact protocol as Parquet uses it: structs of numbers, byte strings, lists and structs. Lengths are held
 * against the bytes that are there, which the Parquet library does not do. What runs past the end throws RangeError, which
 * the caller turns into an error that names the file. Source: thrift-compact-protocol.md
 */

export type ThriftValue = boolean | number | bigint | Uint8Array | readonly ThriftValue[] | ThriftStruct;
/** fields by their number */
export type ThriftStruct = ReadonlyMap<number, ThriftValue>;

const MAX_DEPTH = 32;

/** Reads from the start of `bytes` on; `at` is the next byte. */
export class ThriftReader {
  readonly #bytes: Uint8Array;
  #depth = 0;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  struct(): ThriftStruct {
    const fields = new Map<number, ThriftValue>();
    if (++this.#depth > MAX_DEPTH) throw new RangeError(`structs nested more than ${MAX_DEPTH} deep`);
    for (let id = 0; ; ) {
      const byte = this.#byte();
      if ((byte & 15) === 0) break;
      id = byte >> 4 === 0 ? zigzag32(this.varint()) : id + (byte >> 4);
      fields.set(id, this.#value(byte & 15));
    }
    this.#depth -= 1;
    return fields;
  }

  /** An unsigned number of at most 32 bits. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80 && value < 2 ** 32) return value;
    }
    throw new RangeError("a number of more than 32 bits");
  }

  #value(type: number): ThriftValue {
    switch (type) {
      case 1:
      case 2:
        return type === 1;
      case 3:
        return (this.#byte() << 24) >> 24;
      case 4:
      case 5:
        return zigzag32(this.varint());
      case 6:
        return this.#long();
      case 7:
        return new DataView(this.#take(8).slice().buffer).getFloat64(0, true);
      case 8:
        return this.#take(this.varint());
      case 9:
        return this.#list();
      case 12:
        return this.struct();
      default:
        throw new RangeError(`a value of kind ${type}`);
    }
  }

  #list(): ThriftValue[] {
    const byte = this.#byte();
    const type = byte & 15;
    const length = byte >> 4 === 15 ? this.varint() : byte >> 4;
    if (length > this.#bytes.length - this.at)
      throw new RangeError(`a list of ${length} entries passes the end`);
    if (++this.#depth > MAX_DEPTH) throw new RangeError(`lists nested more than ${MAX_DEPTH} deep`);
    const isFlags = type === 1 || type === 2; // one byte each in a list
    const values = Array.from({ length }, () => (isFlags ? this.#byte() === 1 : this.#value(type)));
    this.#depth -= 1;
    return values;
  }

  #long(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return (value >> 1n) ^ -(value & 1n);
    }
    throw new RangeError("a number of more than 64 bits");
  }

  #byte(): number {
    if (this.at >= this.#bytes.length) throw new RangeError("it ends too early");
    return this.#bytes[this.at++];
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.at) throw new RangeError(`${length} bytes pass the end`);
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }
}

function zigzag32(value: number): number {
  return (value >>> 1) ^ -(value & 1);
}
