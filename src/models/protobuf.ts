/**
 * The protobuf wire format, as far as ONNX files need it: walking a message's fields without decoding their payloads,
 * and writing fields. It knows nothing of ONNX. Source: https://protobuf.dev/programming-guides/encoding
 */
import { FormatError } from "../errors.ts";

/** Bytes of one file; every position below is an offset into them, so errors can name it. */
export interface WireFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** One field of a message: `[start, end)` with its tag, `[from, to)` the payload alone. */
export interface WireField {
  readonly number: number;
  /** 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes */
  readonly wireType: number;
  readonly start: number;
  readonly end: number;
  readonly from: number;
  readonly to: number;
  /** the varint, if it is one; beyond 2^53 only approximately */
  readonly value: number;
}

const MAX_TEXT_BYTES = 1 << 20;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/**
 * The fields of the message at `[from, to)`, in order.
 * @throws {FormatError} a field runs past the end, or its wire type is not one of 0, 1, 2, 5
 */
export function* wireFields(file: WireFile, from = 0, to = file.bytes.length): Generator<WireField> {
  let at = from;
  while (at < to) {
    const start = at;
    const tag = readVarint(file, at, to);
    at = tag.next;
    const wireType = tag.value % 8;
    const number = Math.floor(tag.value / 8);
    if (number === 0) throw new FormatError(file.name, "not protobuf: field number 0", { offset: start });
    let payload = at;
    let value = 0;
    if (wireType === 0) {
      const varint = readVarint(file, at, to);
      value = varint.value;
      at = varint.next;
    } else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const length = readVarint(file, at, to);
      payload = length.next;
      at = payload + length.value;
    } else
      throw new FormatError(file.name, `not protobuf: wire type ${wireType} of field ${number}`, {
        offset: start,
      });
    if (at > to)
      throw new FormatError(file.name, `field ${number} needs ${at - to} bytes more than there are`, {
        offset: start,
        hint: "The file is cut short or damaged: download it again.",
      });
    yield { number, wireType, start, end: at, from: payload, to: at, value };
  }
}

/** A varint of at most ten bytes. @throws {FormatError} it does not end before `to` */
function readVarint(file: WireFile, at: number, to: number): { value: number; next: number } {
  let value = 0;
  let scale = 1;
  for (let i = at; i < at + 10; i++) {
    if (i >= to)
      throw new FormatError(file.name, "the message ends within a number", {
        offset: at,
        hint: "The file is cut short or damaged: download it again.",
      });
    const byte = file.bytes[i];
    value += (byte & 127) * scale;
    if (byte < 128) return { value, next: i + 1 };
    scale *= 128;
  }
  throw new FormatError(file.name, "a number of more than ten bytes", { offset: at });
}

/** A text field. @throws {FormatError} the field is not length-delimited, or longer than 1 MiB */
export function fieldText(file: WireFile, field: WireField): string {
  expectMessage(file, field);
  if (field.to - field.from > MAX_TEXT_BYTES)
    throw new FormatError(file.name, `a name of ${field.to - field.from} bytes`, { offset: field.start });
  return decoder.decode(file.bytes.subarray(field.from, field.to));
}

/** The field's number. @throws {FormatError} it is not a varint of at most 2^53 */
export function fieldCount(file: WireFile, field: WireField): number {
  if (field.wireType !== 0 || !Number.isSafeInteger(field.value))
    throw new FormatError(file.name, `field ${field.number} is no number up to 2^53`, {
      offset: field.start,
    });
  return field.value;
}

/** A repeated integer field: one value, or several packed together. */
export function fieldCounts(file: WireFile, field: WireField): number[] {
  if (field.wireType === 0) return [fieldCount(file, field)];
  expectMessage(file, field);
  const values: number[] = [];
  for (let at = field.from; at < field.to; ) {
    const { value, next } = readVarint(file, at, field.to);
    if (!Number.isSafeInteger(value)) throw new FormatError(file.name, "a size beyond 2^53", { offset: at });
    if (values.length === 64)
      throw new FormatError(file.name, "a tensor of more than 64 dimensions", { offset: field.start });
    values.push(value);
    at = next;
  }
  return values;
}

/** The fields of the message in `field`. */
export function* messageFields(file: WireFile, field: WireField): Generator<WireField> {
  expectMessage(file, field);
  yield* wireFields(file, field.from, field.to);
}

function expectMessage(file: WireFile, field: WireField): void {
  if (field.wireType !== 2)
    throw new FormatError(
      file.name,
      `field ${field.number} has wire type ${field.wireType}, expected 2 (bytes)`,
      { offset: field.start },
    );
}

/** One array of all parts, in order. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** An integer field; a negative value takes ten bytes, as protobuf's int64 does. */
export function intField(number: number, value: number | bigint): Uint8Array {
  return concatBytes([varint(number * 8), varint(value)]);
}

export function textField(number: number, text: string): Uint8Array {
  return bytesField(number, [encoder.encode(text)]);
}

/** A length-delimited field: bytes, or a message given as its fields. */
export function bytesField(number: number, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return concatBytes(bytesFieldParts(number, parts));
}

/** As `bytesField`, not yet put together: for large payloads. */
export function bytesFieldParts(number: number, parts: readonly Uint8Array[]): Uint8Array[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return [varint(number * 8 + 2), varint(length), ...parts];
}

/** A float field (four bytes). */
export function floatField(number: number, value: number): Uint8Array {
  const payload = new Uint8Array(4);
  new DataView(payload.buffer).setFloat32(0, value, true);
  return concatBytes([varint(number * 8 + 5), payload]);
}

function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 128 : low);
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}
