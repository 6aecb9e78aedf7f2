/**
 * The bytes that each token of a tokenizer stands for, read off tokenizer.json's vocabulary alone: no expression of the
 * repository is run, so this may be used in any thread.
 */
import { FormatError } from "../errors.ts";
import type { TokenizerFolder } from "./tokenizer-folder.ts";

export class Vocabulary {
  readonly #tokens: ReadonlyMap<number, string>;
  readonly #added: ReadonlyMap<number, string>;
  readonly #byteLevel: boolean;
  readonly #bytes = new Map<number, Uint8Array | null>();

  /** @throws {FormatError} tokenizer.json holds no vocabulary of a known shape */
  constructor({ dir, tokenizer }: Pick<TokenizerFolder, "dir" | "tokenizer">) {
    const model = tokenizer["model"] as { readonly vocab?: unknown };
    this.#tokens = tokensById(model.vocab, `${dir}/tokenizer.json`);
    const added = tokenizer["added_tokens"] as readonly { id: number; content: string }[] | undefined;
    this.#added = new Map((added ?? []).map(({ id, content }) => [id, content]));
    const pipeline = JSON.stringify([tokenizer["pre_tokenizer"], tokenizer["decoder"]]);
    this.#byteLevel = pipeline.includes('"ByteLevel"');
  }

  /** The text's bytes that a token stands for; null where that depends on its neighbours, or there is no such token. */
  bytesOf(id: number): Uint8Array | null {
    let bytes = this.#bytes.get(id);
    if (bytes === undefined) {
      bytes = this.#lookUp(id);
      this.#bytes.set(id, bytes);
    }
    return bytes;
  }

  #lookUp(id: number): Uint8Array | null {
    const added = this.#added.get(id);
    if (added !== undefined) return utf8.encode(added);
    const token = this.#tokens.get(id);
    if (token === undefined) return null;
    if (this.#byteLevel) {
      const bytes = Array.from(token, (c) => BYTE_OF_CHARACTER.get(c));
      return bytes.includes(undefined) ? null : Uint8Array.from(bytes as number[]);
    }
    const fallback = /^<0x([0-9A-F]{2})>$/.exec(token);
    if (fallback !== null) return Uint8Array.of(Number.parseInt(fallback[1], 16));
    return utf8.encode(token.replaceAll("▁", " "));
  }
}

/** BPE, WordPiece and WordLevel list `token → id`; Unigram lists `[token, score]`, the id being the place. */
function tokensById(vocab: unknown, path: string): Map<number, string> {
  if (Array.isArray(vocab))
    return new Map(vocab.map((entry: unknown, id) => [id, String((entry as unknown[])[0])]));
  if (vocab !== null && typeof vocab === "object")
    return new Map(Object.entries(vocab).map(([token, id]) => [Number(id), token]));
  throw new FormatError(path, 'expected "model.vocab", an object or a list');
}

const utf8 = new TextEncoder();

/** The byte-level alphabet (GPT-2): printable Latin-1 bytes stand for themselves, the others follow from U+0100 on. */
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = (() => {
  const map = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    map.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return map;
})();
