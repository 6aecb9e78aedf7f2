/**
 * What is known of every indexed token: its id, document, classes, and where it stands in the text. Filled while the rows
 * stream by, 23 bytes a token; the texts of their windows, 8 bytes a token of those, are read afterwards.
 */
import type { ActivationRows } from "../../activations/activations.ts";
import { ROLES } from "../../corpus/windows.ts";
import { DataError, FormatError } from "../../errors.ts";
import { bucketOf, POSITION_BUCKETS } from "../../evals/slices.ts";
import { type IndexedTokens, NO_TOKEN } from "../labels/labels.ts";
import type { IndexManifest, TokenClass } from "../manifest.ts";
import type { IndexedSet } from "./indexed-set.ts";

/** Bytes of a token here, and of one of its window's. */
export const TOKEN_BYTES = 23;
export const TEXT_BYTES = 8;

/** Stands in `rowAt` for a place of the text that was not indexed. */
export const NOT_INDEXED = 0xffffffff;

/** Windows read at a time. */
const WINDOWS_AT_ONCE = 256;
const UNKNOWN = "unknown";

export class TokenTable {
  readonly nTokens: number;
  /** [nTokens] */
  readonly tokenIds: Uint32Array;
  /** [nTokens] documents counted from 0 over all sets, in the order in which they are met */
  readonly document: Uint32Array;
  /** [nTokens] position in its window */
  readonly position: Uint32Array;
  /** [nTokens] classes, as the manifest's splits count them */
  readonly role: Uint8Array;
  readonly source: Uint8Array;
  readonly bucket: Uint8Array;
  /** [nTokens] windows counted from 0 over all sets, in the order in which they are met */
  readonly window: Uint32Array;
  /** [nTokens] where it stands in `text` */
  readonly place: Uint32Array;
  readonly #sets: readonly IndexedSet[];
  /** numbers within their set */
  readonly #documentNumbers: number[] = [];
  readonly #windowNumbers: number[] = [];
  /** the window of each set that comes first; then the number of windows */
  readonly #firstWindow: number[] = [];
  readonly #classes = {
    role: new Classes(ROLES),
    source: new Classes([]),
    position: new Classes(POSITION_BUCKETS),
  };
  /** of each document */
  readonly #sources: number[] = [];
  #documents = new Map<number, number>();
  #filled = 0;
  #set = -1;
  /** tokens of all windows, one window after the other */
  #text = new Uint32Array(0);
  #rowAt = new Uint32Array(0);
  #windowStarts = new Uint32Array(1);

  constructor(sets: readonly IndexedSet[]) {
    this.#sets = sets;
    this.nTokens = sets.reduce((sum, { tokens }) => sum + tokens.total, 0);
    const numbers = () => new Uint32Array(this.nTokens);
    const classes = () => new Uint8Array(this.nTokens);
    this.tokenIds = numbers();
    this.document = numbers();
    this.position = numbers();
    this.role = classes();
    this.source = classes();
    this.bucket = classes();
    this.window = numbers();
    this.place = numbers();
  }

  get nDocuments(): number {
    return this.#documentNumbers.length;
  }

  /** Takes in the next rows, of set number `set`; sets come one after the other. */
  add(set: number, rows: ActivationRows): void {
    const { known } = this.#sets[set].tokens;
    if (set !== this.#set) {
      this.#set = set;
      this.#documents = new Map();
      this.#firstWindow.push(this.#windowNumbers.length);
    }
    for (let row = 0; row < rows.nRows; row++) {
      const at = this.#filled++;
      this.tokenIds[at] = known.tokenIds ? rows.tokenIds[row] : NO_TOKEN;
      this.window[at] = this.#windowOf(rows.window[row], known.position);
      this.position[at] = known.position ? rows.position[row] : 0;
      // what is not known to belong together is taken to be apart, so that one text does not fill all examples
      const number = known.document ? rows.document[row] : this.window[at];
      this.document[at] = this.#documentOf(number);
      this.source[at] = this.#sources[this.document[at]];
      this.role[at] = this.#classes.role.of(known.role ? ROLES[rows.role[row]] : undefined);
      this.bucket[at] = this.#classes.position.of(
        known.position ? POSITION_BUCKETS[bucketOf(rows.position[row])] : undefined,
      );
    }
  }

  /** Once all rows are in: reads the windows' tokens. @throws {FormatError} a row is of no window, or of another token */
  async readTexts(): Promise<void> {
    if (this.#filled !== this.nTokens)
      throw new DataError(`${this.#filled} rows came where ${this.nTokens} were announced`);
    this.#classes.role.settle(this.role);
    this.#classes.source.settle(this.source);
    this.#classes.position.settle(this.bucket);
    this.#firstWindow.push(this.#windowNumbers.length);
    const text = new Growing();
    const starts: number[] = [0];
    let row = 0;
    for (const [set, { windows }] of this.#sets.entries()) {
      const [from, to] = [this.#firstWindow[set], this.#firstWindow[set + 1]];
      for (let window = from; window < to; ) {
        if (windows === null) {
          for (; row < this.nTokens && this.window[row] === window; row++)
            this.place[row] = text.add(this.tokenIds[row]);
          starts.push(text.length);
          window++;
          continue;
        }
        const numbers = consecutive(this.#windowNumbers, window, Math.min(to, window + WINDOWS_AT_ONCE));
        const batch = await windows.read(numbers[0], numbers[1]);
        for (let w = 0; w < batch.nWindows; w++, window++) {
          const begin = w * batch.contextSize;
          const first = text.length;
          text.addAll(batch.tokenIds.subarray(begin, begin + batch.lengths[w]));
          for (; row < this.nTokens && this.window[row] === window; row++) {
            const position = this.position[row];
            if (position >= batch.lengths[w] || batch.tokenIds[begin + position] !== this.tokenIds[row])
              throw new FormatError(
                this.#sets[set].tokens.set,
                `position ${position} of window ${numbers[0] + w} is not the token that the activations were made of`,
                { hint: "the store and the corpus set beside it do not belong together" },
              );
            this.place[row] = first + position;
          }
          starts.push(text.length);
        }
      }
    }
    this.#text = text.take();
    this.#windowStarts = Uint32Array.from(starts);
    this.#rowAt = new Uint32Array(this.#text.length).fill(NOT_INDEXED);
    for (let at = 0; at < this.nTokens; at++) this.#rowAt[this.place[at]] = at;
  }

  /** Number of a row's document within its set. */
  documentNumber(row: number): number {
    return this.#documentNumbers[this.document[row]];
  }

  /** Number of a row's window within its set. */
  windowNumber(row: number): number {
    return this.#windowNumbers[this.window[row]];
  }

  /** The tokens of a row's window from `before` before it to `after` after it, and the row of each (or NOT_INDEXED). */
  around(
    row: number,
    before: number,
    after: number,
  ): { at: number; tokenIds: Uint32Array; rows: Uint32Array } {
    const place = this.place[row];
    const from = Math.max(this.#windowStarts[this.window[row]], place - before);
    const to = Math.min(this.#windowStarts[this.window[row] + 1], place + after + 1);
    return {
      at: place - from,
      tokenIds: this.#text.subarray(from, to),
      rows: this.#rowAt.subarray(from, to),
    };
  }

  /** Classes with their names and numbers of tokens. */
  get splits(): IndexManifest["splits"] {
    const { role, source, position } = this.#classes;
    return { role: role.list, source: source.list, position: position.list };
  }

  /** What labels are made from. */
  forLabels(): IndexedTokens {
    const [previous, previous2] = [1, 2].map((back) =>
      this.place.map((place, row) =>
        place - back >= this.#windowStarts[this.window[row]] ? this.#text[place - back] : NO_TOKEN,
      ),
    );
    return { nTokens: this.nTokens, tokenIds: this.tokenIds, previous, previous2 };
  }

  #windowOf(number: number, isKnown: boolean): number {
    const last = this.#windowNumbers.length - 1;
    if (isKnown && last >= this.#firstWindow[this.#set] && this.#windowNumbers[last] === number) return last;
    this.#windowNumbers.push(number);
    return last + 1;
  }

  #documentOf(number: number): number {
    let found = this.#documents.get(number);
    if (found === undefined) {
      found = this.#documentNumbers.push(number) - 1;
      this.#documents.set(number, found);
      this.#sources.push(this.#classes.source.of(this.#sourceName(this.#set, number)));
    }
    return found;
  }

  /** Of one set the source's name; of several "set" or "set/source". */
  #sourceName(set: number, document: number): string {
    const { tokens, sourceOf } = this.#sets[set];
    const name = sourceOf?.(document) ?? null;
    if (this.#sets.length === 1) return name ?? UNKNOWN;
    return name === null || name === tokens.set ? tokens.set : `${tokens.set}/${name}`;
  }
}

/** Names of tokens: those of `order` in that order, others after them as they are met. Classes without tokens are left out. */
class Classes {
  readonly #numbers: Map<string, number>;
  /** of those that have tokens, once settled */
  list: TokenClass[] = [];

  constructor(order: readonly string[]) {
    this.#numbers = new Map(order.map((name, i) => [name, i]));
  }

  /** @throws {DataError} more classes than a byte can number */
  of(name: string = UNKNOWN): number {
    let found = this.#numbers.get(name);
    if (found === undefined) {
      found = this.#numbers.size;
      if (found > 255)
        throw new DataError("the tokens are of more than 256 sources", { hint: "index fewer sets at once" });
      this.#numbers.set(name, found);
    }
    return found;
  }

  /** Numbers the classes of all tokens anew, leaving out those that none has. */
  settle(labels: Uint8Array): void {
    const counts = new Uint32Array(this.#numbers.size);
    for (const label of labels) counts[label] += 1;
    const names = [...this.#numbers.keys()];
    const present = [...counts.keys()].filter((i) => counts[i] > 0);
    this.list = present.map((i) => ({ name: names[i], nTokens: counts[i] }));
    const renumbered = Uint8Array.from(counts, (_, i) => Math.max(0, present.indexOf(i)));
    for (let row = 0; row < labels.length; row++) labels[row] = renumbered[labels[row]];
  }
}

/** A list of numbers, in an array that doubles. */
class Growing {
  #values = new Uint32Array(1 << 16);
  length = 0;

  /** Returns where it stands. */
  add(value: number): number {
    this.#reserve(1);
    this.#values[this.length] = value;
    return this.length++;
  }

  addAll(values: Uint32Array): void {
    this.#reserve(values.length);
    this.#values.set(values, this.length);
    this.length += values.length;
  }

  take(): Uint32Array<ArrayBuffer> {
    return this.#values.slice(0, this.length);
  }

  #reserve(n: number): void {
    if (this.length + n <= this.#values.length) return;
    const larger = new Uint32Array(Math.max(2 * this.#values.length, this.length + n));
    larger.set(this.#values.subarray(0, this.length));
    this.#values = larger;
  }
}

/** Of ascending numbers at [from, to): the longest run without gaps that begins at `from`, as a range. */
function consecutive(numbers: readonly number[], from: number, to: number): [number, number] {
  let end = from + 1;
  while (end < to && numbers[end] === numbers[end - 1] + 1) end++;
  return [numbers[from], numbers[from] + end - from];
}
