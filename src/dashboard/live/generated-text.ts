/** Text of tokens as they come, for people: a character whose bytes are spread over tokens shows with the last of them. */
import type { Vocabulary } from "../../corpus/vocabulary.ts";
import { textOf } from "../../evals/token-texts.ts";

/** The longest character has four bytes. */
const MOST_WAITING = 3;

export class GeneratedText {
  readonly #vocabulary: Pick<Vocabulary, "bytesOf">;
  /** tokens whose text has not been given out: their bytes end within a character */
  #waiting: number[] = [];

  constructor(vocabulary: Pick<Vocabulary, "bytesOf">) {
    this.#vocabulary = vocabulary;
  }

  /** What shows now that this token has come; "" while a character is not whole. */
  add(id: number): string {
    this.#waiting.push(id);
    const bytes = this.#waiting.flatMap((each) => Array.from(this.#vocabulary.bytesOf(each) ?? []));
    if (this.#vocabulary.bytesOf(id) !== null && endsWithinCharacter(bytes)) return "";
    return this.end();
  }

  /** What is left, spelled out where it is no whole character. */
  end(): string {
    return textOf(this.#waiting.splice(0), this.#vocabulary);
  }
}

function endsWithinCharacter(bytes: readonly number[]): boolean {
  for (let back = 1; back <= Math.min(MOST_WAITING, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte < 0x80) return false;
    if (byte >= 0xc0) return back < (byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4);
  }
  return false;
}
