/**
 * Text to token ids and back to bytes, with Hugging Face's own tokenizer. A repository's regular expressions are not to
 * be trusted with our thread: except in tests, this runs inside `tokenizer-worker.ts`, under a time limit.
 */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { DataError, FormatError } from "../errors.ts";
import type { TokenizerFolder } from "./tokenizer-folder.ts";
import { Vocabulary } from "./vocabulary.ts";

/** A tokenizer in this thread. Not for texts and folders of strangers: `TokenizerPool` puts a time limit on those. */
export class Tokenizer {
  readonly #library: HuggingFaceTokenizer;
  readonly #vocabulary: Vocabulary;

  /** @throws {FormatError} tokenizer.json describes something the library does not know */
  constructor(folder: TokenizerFolder) {
    try {
      this.#library = new HuggingFaceTokenizer(folder.tokenizer, folder.config);
    } catch (cause) {
      throw new FormatError(`${folder.dir}/tokenizer.json`, `cannot be used (${(cause as Error).message})`, {
        cause,
      });
    }
    this.#vocabulary = new Vocabulary(folder);
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
    return this.#vocabulary.bytesOf(id);
  }
}
