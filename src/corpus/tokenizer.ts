/**
 * Text to token ids and back to bytes, with Hugging Face's own tokenizer. A repository's regular expressions are not to
 * be trusted with our thread: except in tests, this runs inside `tokenizer-worker.ts`, under a time limit.
 */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { DataError, FormatError } from "../errors.ts";
import type { TokenizerFolder } from "./tokenizer-folder.ts";

/** A tokenizer in this thread. Not for texts and folders of strangers: `TokenizerPool` puts a time limit on those. */
export class Tokenizer {
  readonly #library: HuggingFaceTokenizer;
  readonly #added: ReadonlyMap<number, string>;
  readonly #byteLevel: boolean;
  readonly #bytes = new Map<number, Uint8Array | null>();

  /** @throws {FormatError} tokenizer.json describes something the library does not know */
  constructor(folder: TokenizerFolder) {
    try {
      this.#library = new HuggingFaceTokenizer(folder.tokenizer, folder.config);
    } catch (cause) {
      throw new FormatError(`${folder.dir}/tokenizer.json`, `cannot be used (${(cause as Error).message})`, {
        cause,
      });
    }
    const added = folder.tokenizer["added_tokens"] as readonly { id: number; content: string }[] | undefined;
    this.#added = new Map((added ?? []).map(({ id, content }) => [id, content]));
    const pipeline = JSON.stringify([folder.tokenizer["pre_tokenizer"], folder.tokenizer["decoder"]]);
    this.#byteLevel = pipeline.includes('"ByteLevel"');
  }

  /** Token ids of `text`, without special tokens added. Special tokens spelled out in the text become their ids. */
  encode(text: string): number[] {
    if (text === "") return [];
    const ids: (number | undefined)[] = this.#library.encode(text, { add_special_tokens: false }).ids;
    if (ids.includes(undefined))
      throw new DataError("the tokenizer has no token for a part of the text, and no unknown token");
    return ids as number[];
  }

  /** The text's bytes that a token stands for; null where that depends on its neighbours. */
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
    const token: string | undefined = this.#library.id_to_token(id);
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
