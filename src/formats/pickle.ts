/**
 * Pickles of tensors, read without executing anything. A pickle is a program for a small stack machine; this machine
 * knows the instructions that dicts, lists, tuples, numbers and strings need, and instead of calling what a pickle names
 * it asks its rules, which know a handful of names and refuse all others.
 * Source: CPython's pickletools.py (protocols 0 to 5, of which torch.save writes 2).
 */
import { FormatError } from "../errors.ts";

/** What a pickle comes to. Tuples are arrays; what the rules return stands as it is. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleValue[]
  | Map<PickleKey, PickleValue>
  | PickleObject;
export type PickleKey = string | number | bigint | boolean | null;

/** Something that a pickle names, or that the rules made of a call. */
export class PickleObject {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** What is done with names and references; all throw for what they do not know. `at`: byte, for messages */
export interface PickleRules {
  /** `name(*args)`, such as "torch._utils._rebuild_tensor_v2" */
  call(name: string, args: readonly PickleValue[], at: number): PickleValue;
  /** a name by itself, such as "torch.FloatStorage" */
  name(name: string, at: number): PickleValue;
  /** a persistent id */
  reference(id: PickleValue, at: number): PickleValue;
}

/** A pickle of a state dict is small: tensors' data lie elsewhere. */
const MAX_DEPTH = 64;
const MARK = Symbol("mark");
type Item = PickleValue | typeof MARK;

/**
 * Runs the pickle in `bytes`.
 * @throws {FormatError} an instruction, name or value that tensors' pickles do not hold; names the byte
 */
export function readPickle(file: string, bytes: Uint8Array, rules: PickleRules): PickleValue {
  return new Machine(file, bytes, rules).run();
}

class Machine {
  readonly #file: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #rules: PickleRules;
  readonly #stack: Item[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #at = 0;
  #marks = 0;

  constructor(file: string, bytes: Uint8Array, rules: PickleRules) {
    this.#file = file;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#rules = rules;
  }

  run(): PickleValue {
    for (;;) {
      const start = this.#at;
      const opcode = this.#uint(1);
      if (opcode === STOP) {
        const value = this.#pop();
        if (this.#stack.length > 0) throw this.#error("values are left over at its end", start);
        return value;
      }
      const instruction = INSTRUCTIONS[opcode];
      if (instruction === undefined)
        throw this.#error(
          `instruction 0x${opcode.toString(16).padStart(2, "0")}, which tensors' pickles do not use`,
          start,
        );
      instruction(this);
    }
  }

  // What instructions are made of.

  #error(message: string, offset = this.#at): FormatError {
    return new FormatError(this.#file, message, { offset });
  }

  #need(n: number): number {
    const at = this.#at;
    if (!(n >= 0 && at + n <= this.#bytes.length))
      throw this.#error(`needs ${n} bytes here, ${this.#bytes.length - at} are left`);
    this.#at = at + n;
    return at;
  }

  #uint(size: 1 | 2 | 4): number {
    const at = this.#need(size);
    if (size === 1) return this.#bytes[at];
    return size === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  skip(n: number): void {
    this.#need(n);
  }

  push(value: PickleValue): void {
    this.#stack.push(value);
  }

  pushMark(): void {
    this.#stack.push(MARK);
    this.#marks += 1;
    if (this.#marks > MAX_DEPTH) throw this.#error(`nested more than ${MAX_DEPTH} deep`);
  }

  pushUint(size: 1 | 2 | 4): void {
    this.push(this.#uint(size));
  }

  pushInt32(): void {
    this.push(this.#view.getInt32(this.#need(4), true));
  }

  pushFloat(): void {
    this.push(this.#view.getFloat64(this.#need(8), false));
  }

  /** A whole number of up to 8 bytes, two's complement. */
  pushLong(): void {
    const size = this.#uint(1);
    if (size > 8) throw this.#error(`a whole number of ${size} bytes, at most 8 are read`);
    const at = this.#need(size);
    let value = 0n;
    for (let i = 0; i < size; i++) value |= BigInt(this.#bytes[at + i]) << BigInt(8 * i);
    const signed = BigInt.asIntN(8 * size, value);
    const number = Number(signed);
    this.push(Number.isSafeInteger(number) ? number : signed);
  }

  pushText(lengthBytes: 1 | 4): void {
    const length = this.#uint(lengthBytes);
    const at = this.#need(length);
    try {
      this.push(utf8.decode(this.#bytes.subarray(at, at + length)));
    } catch {
      throw this.#error("a string that is not UTF-8", at);
    }
  }

  /** `module\nname\n` */
  pushName(): void {
    const module = this.#line();
    this.push(this.#rules.name(`${module}.${this.#line()}`, this.#at));
  }

  pushNameFromStack(): void {
    const name = this.#pop();
    const module = this.#pop();
    if (typeof name !== "string" || typeof module !== "string") throw this.#error("a name that is no text");
    this.push(this.#rules.name(`${module}.${name}`, this.#at));
  }

  pushReference(): void {
    this.push(this.#rules.reference(this.#pop(), this.#at));
  }

  call(): void {
    const args = this.#pop();
    const callee = this.#pop();
    if (!(callee instanceof PickleObject) || !Array.isArray(args))
      throw this.#error("a call of something that cannot be called");
    this.push(this.#rules.call(callee.name, args, this.#at));
  }

  /** State given to an object after it was made: `OrderedDict._metadata` and the like; not needed. */
  build(): void {
    this.#pop();
    if (this.#stack.length === 0) throw this.#error("state for nothing");
  }

  put(size: 1 | 4): void {
    this.#memo.set(this.#uint(size), this.#top());
  }

  memoize(): void {
    this.#memo.set(this.#memo.size, this.#top());
  }

  get(size: 1 | 4): void {
    const value = this.#memo.get(this.#uint(size));
    if (value === undefined) throw this.#error("a reference to nothing");
    this.push(value);
  }

  pushTuple(n: number): void {
    const items: PickleValue[] = [];
    for (let i = 0; i < n; i++) items.unshift(this.#pop());
    this.push(items);
  }

  pushTupleFromMark(): void {
    this.push(this.#popToMark());
  }

  append(items: readonly PickleValue[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) throw this.#error("items for something that is no list");
    for (const item of items) list.push(item);
  }

  appendOne(): void {
    this.append([this.#pop()]);
  }

  appendFromMark(): void {
    this.append(this.#popToMark());
  }

  setItems(items: readonly PickleValue[]): void {
    const dict = this.#top();
    if (!(dict instanceof Map) || items.length % 2 !== 0)
      throw this.#error("items for something that is no dict");
    for (let i = 0; i < items.length; i += 2) dict.set(this.#key(items[i]), items[i + 1]);
  }

  setOne(): void {
    const value = this.#pop();
    this.setItems([this.#pop(), value]);
  }

  setFromMark(): void {
    this.setItems(this.#popToMark());
  }

  #key(value: PickleValue): PickleKey {
    if (typeof value === "object" && value !== null)
      throw this.#error("a dict key that is no text or number");
    return value;
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.#error("takes a value where there is none");
    return value;
  }

  #top(): PickleValue {
    const value = this.#stack.at(-1);
    if (value === undefined || value === MARK) throw this.#error("takes a value where there is none");
    return value;
  }

  #popToMark(): PickleValue[] {
    const from = this.#stack.lastIndexOf(MARK);
    if (from < 0) throw this.#error("takes values from a mark where there is none");
    this.#marks -= 1;
    return this.#stack.splice(from).slice(1) as PickleValue[];
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0 || end - this.#at > 256) throw this.#error("a name that does not end");
    const text = Buffer.from(this.#bytes.subarray(this.#at, end)).toString("latin1");
    this.#at = end + 1;
    return text;
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });
const STOP = 0x2e;

/** By opcode; what is absent is refused. Their names are pickletools'. */
const INSTRUCTIONS: Readonly<Record<number, (machine: Machine) => void>> = {
  128: (m) => m.skip(1), // PROTO
  149: (m) => m.skip(8), // FRAME
  40: (m) => m.pushMark(), // MARK
  78: (m) => m.push(null), // NONE
  136: (m) => m.push(true), // NEWTRUE
  137: (m) => m.push(false), // NEWFALSE
  75: (m) => m.pushUint(1), // BININT1
  77: (m) => m.pushUint(2), // BININT2
  74: (m) => m.pushInt32(), // BININT
  138: (m) => m.pushLong(), // LONG1
  71: (m) => m.pushFloat(), // BINFLOAT
  88: (m) => m.pushText(4), // BINUNICODE
  140: (m) => m.pushText(1), // SHORT_BINUNICODE
  41: (m) => m.push([]), // EMPTY_TUPLE
  93: (m) => m.push([]), // EMPTY_LIST
  125: (m) => m.push(new Map()), // EMPTY_DICT
  133: (m) => m.pushTuple(1), // TUPLE1
  134: (m) => m.pushTuple(2), // TUPLE2
  135: (m) => m.pushTuple(3), // TUPLE3
  116: (m) => m.pushTupleFromMark(), // TUPLE
  97: (m) => m.appendOne(), // APPEND
  101: (m) => m.appendFromMark(), // APPENDS
  115: (m) => m.setOne(), // SETITEM
  117: (m) => m.setFromMark(), // SETITEMS
  113: (m) => m.put(1), // BINPUT
  114: (m) => m.put(4), // LONG_BINPUT
  148: (m) => m.memoize(), // MEMOIZE
  104: (m) => m.get(1), // BINGET
  106: (m) => m.get(4), // LONG_BINGET
  99: (m) => m.pushName(), // GLOBAL
  147: (m) => m.pushNameFromStack(), // STACK_GLOBAL
  81: (m) => m.pushReference(), // BINPERSID
  82: (m) => m.call(), // REDUCE
  98: (m) => m.build(), // BUILD
};
