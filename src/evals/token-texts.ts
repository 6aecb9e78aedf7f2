/** The text around a token of a window set, for people to read. */
import type { Vocabulary } from "../corpus/vocabulary.ts";
import type { WindowSet } from "../corpus/windows.ts";
import { ShapeError } from "../errors.ts";

/** A token and what the model saw on either side of it, as safe to print as plain text can be. */
export interface TokenText {
  readonly before: string;
  readonly token: string;
  readonly after: string;
}

/** Shows tokens of one window set. */
export class TokenTexts {
  readonly #windows: Pick<WindowSet, "read">;
  readonly #vocabulary: Pick<Vocabulary, "bytesOf">;
  readonly #each: number;

  /** `tokensEachSide`: how many tokens are shown before and after; default 12 */
  constructor(
    windows: Pick<WindowSet, "read">,
    vocabulary: Pick<Vocabulary, "bytesOf">,
    { tokensEachSide = 12 }: { readonly tokensEachSide?: number } = {},
  ) {
    this.#windows = windows;
    this.#vocabulary = vocabulary;
    this.#each = tokensEachSide;
  }

  /**
   * The token at `position` of window `window`, with its neighbours in the window, padding left out.
   * @throws {ShapeError} there is no such window, or no such token in it
   */
  async around(window: number, position: number): Promise<TokenText> {
    const { tokenIds, lengths } = await this.#windows.read(window, window + 1);
    const length = lengths[0];
    if (!(Number.isInteger(position) && position >= 0 && position < length))
      throw new ShapeError(`position in window ${window}`, position, `within its ${length} tokens`);
    const text = (from: number, to: number) => textOf(tokenIds.subarray(from, to), this.#vocabulary);
    return {
      before: text(Math.max(0, position - this.#each), position),
      token: text(position, position + 1),
      after: text(position + 1, Math.min(length, position + 1 + this.#each)),
    };
  }
}

/**
 * The text of tokens. What would not show is spelled out: bytes that are no whole character as `\xE2`, control
 * characters and those that turn the direction of writing as `\u{1B}`, an id without bytes as `[token 7]`. Newlines
 * and tabs stay.
 */
export function textOf(tokenIds: Iterable<number>, vocabulary: Pick<Vocabulary, "bytesOf">): string {
  let text = "";
  let bytes: number[] = [];
  for (const id of tokenIds) {
    const own = vocabulary.bytesOf(id);
    if (own !== null) bytes.push(...own);
    else {
      text += `${textOfBytes(Uint8Array.from(bytes))}[token ${id}]`;
      bytes = [];
    }
  }
  return text + textOfBytes(Uint8Array.from(bytes));
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const UNSEEN = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu;

function textOfBytes(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const length = characterAt(bytes, at);
    if (length === 0) text += `\\x${hex(bytes[at++]).padStart(2, "0")}`;
    else {
      text += utf8.decode(bytes.subarray(at, at + length));
      at += length;
    }
  }
  return text.replace(UNSEEN, (c) => (c === "\n" || c === "\t" ? c : `\\u{${hex(c.codePointAt(0)!)}}`));
}

/** Bytes of the whole character that begins at `at`; 0: none does. */
function characterAt(bytes: Uint8Array, at: number): number {
  const lead = bytes[at];
  const length = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (at + length > bytes.length) return 0;
  try {
    utf8.decode(bytes.subarray(at, at + length));
    return length;
  } catch {
    return 0;
  }
}

function hex(n: number): string {
  return n.toString(16).toUpperCase();
}
