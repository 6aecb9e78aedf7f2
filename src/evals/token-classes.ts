/**
 * What kind of token a token is: the beginning of a word, the rest of one, a number, … A class follows from the token's
 * own bytes, not from its neighbours: a store knows which tokens were kept, not what stood before each.
 */
import type { TokenizerFacts } from "../corpus/tokenizer-folder.ts";
import type { Vocabulary } from "../corpus/vocabulary.ts";

/** Classes of tokens, in the order in which reports show them. */
export const TOKEN_CLASSES = [
  "word start",
  "continuation",
  "digit",
  "punctuation",
  "whitespace",
  "other script",
  "special",
] as const;
export type TokenClass = (typeof TOKEN_CLASSES)[number];

/** What the classes mean; a mixed token belongs to the first that fits, in the order of this text. */
export const TOKEN_CLASSES_DEFINITION =
  "Tokens by their own bytes; the first that fits. special: a special token, or one that stands for no bytes. " +
  "other script: holds a letter that is not Latin, or a piece of a UTF-8 character. " +
  "word start: holds a Latin letter, and before the first of them whitespace or punctuation that is no apostrophe. " +
  "continuation: holds a Latin letter; so also a word right after a newline or a bracket that is a token of its own. " +
  "digit: holds a digit. whitespace: holds whitespace alone. punctuation: all others, symbols included.";

/** The class of the tokens of one tokenizer. Each id is looked up once. */
export class TokenClasses {
  readonly #vocabulary: Pick<Vocabulary, "bytesOf">;
  readonly #special: ReadonlySet<number>;
  readonly #known = new Map<number, TokenClass>();

  constructor(
    vocabulary: Pick<Vocabulary, "bytesOf">,
    { specialTokenIds }: Pick<TokenizerFacts, "specialTokenIds">,
  ) {
    this.#vocabulary = vocabulary;
    this.#special = new Set(specialTokenIds);
  }

  of(tokenId: number): TokenClass {
    let found = this.#known.get(tokenId);
    if (found === undefined) {
      const bytes = this.#special.has(tokenId) ? null : this.#vocabulary.bytesOf(tokenId);
      found = bytes === null || bytes.length === 0 ? "special" : classOfBytes(bytes);
      this.#known.set(tokenId, found);
    }
    return found;
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const LETTER = /[\p{L}\p{M}]/u;
/** Letters and marks that Latin text is written with; `scx` names all scripts that use a character. */
const LATIN = /[\p{scx=Latin}\p{scx=Common}\p{scx=Inherited}]/u;
const DIGIT = /\p{N}/u;
const APOSTROPHE = /['’]/u;

/** The class of an ordinary token of these bytes: `TOKEN_CLASSES_DEFINITION`. */
export function classOfBytes(bytes: Uint8Array): TokenClass {
  let characters: string[];
  try {
    characters = [...utf8.decode(bytes)];
  } catch {
    return "other script";
  }
  if (characters.some((c) => LETTER.test(c) && !LATIN.test(c))) return "other script";
  const letter = characters.findIndex((c) => LETTER.test(c));
  if (letter >= 0) return letter > 0 && opensWord(characters[letter - 1]) ? "word start" : "continuation";
  if (characters.some((c) => DIGIT.test(c))) return "digit";
  return characters.every((c) => /\s/u.test(c)) ? "whitespace" : "punctuation";
}

function opensWord(before: string): boolean {
  return !DIGIT.test(before) && !APOSTROPHE.test(before);
}
