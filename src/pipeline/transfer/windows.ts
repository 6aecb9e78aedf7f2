/** A text to token windows in memory, under one of two protocols, until enough tokens are kept. */
import type { SourceDocument } from "../../corpus/document.ts";
import { encodedDocuments, type TokenizedDocument } from "../../corpus/encoded-documents.ts";
import { ConcatPacker, DocumentPacker, type PackedWindow } from "../../corpus/packing.ts";
import type { TokenizerPool } from "../../corpus/tokenizer-pool.ts";
import { keepMask, WindowBuffer } from "../../corpus/window-buffer.ts";
import type { WindowBatch } from "../../corpus/windows.ts";
import { DataError } from "../../errors.ts";
import type { TransferText } from "./texts.ts";

/** Longest window of the short protocol, in tokens. */
export const SHORT_TOKENS = 64;
const SHORT_CHARACTERS = 64 * SHORT_TOKENS;

/** How a text becomes windows. */
export interface TransferWindowsOptions {
  readonly protocol: "short" | "full";
  /** of full windows */
  readonly contextSize: number;
  /** kept tokens to gather; the last window is taken whole */
  readonly tokens: number;
  readonly prependBos: boolean;
}

/**
 * short: the first SHORT_TOKENS tokens of each piece of the text, one a window. full: its documents packed as SAELens
 * packs them, into windows of the context size; the last one is padded rather than dropped. Special tokens are not kept.
 * @throws {DataError} no token is kept, or the text cannot be tokenised
 */
export async function transferWindows(
  text: TransferText,
  pool: TokenizerPool,
  { protocol, contextSize, tokens, prependBos }: TransferWindowsOptions,
): Promise<WindowBatch> {
  const { facts } = pool;
  const bos = prependBos ? facts.bosTokenId : null;
  const size = protocol === "short" ? Math.min(SHORT_TOKENS, contextSize) : contextSize;
  const packer =
    protocol === "short"
      ? new DocumentPacker<TokenizedDocument>({
          contextSize: size,
          bosTokenId: bos,
          padTokenId: facts.padTokenId,
        })
      : new ConcatPacker<TokenizedDocument>({
          contextSize: size,
          beginBatchTokenId: bos,
          sequenceSeparatorTokenId: facts.bosTokenId,
        });
  const gathered = new Gathered(new Set(facts.specialTokenIds));
  const documents = protocol === "short" ? beginnings(text.pieces()) : text.documents();
  for await (const document of encodedDocuments(documents, pool)) {
    if (document.tokenIds.length === 0) continue;
    for (const window of packer.add(document)) if (gathered.nKept < tokens) gathered.add(window);
    if (gathered.nKept >= tokens) break;
  }
  if (packer instanceof ConcatPacker && gathered.nKept < tokens) {
    const rest = packer.rest(facts.padTokenId);
    if (rest !== null && rest.length >= 2) gathered.add(rest);
  }
  if (gathered.nKept === 0)
    throw new DataError(`${text.name}: the text has no token to keep`, { hint: "give more text" });
  return gathered.batch(size);
}

/** Of a long text far more than SHORT_TOKENS tokens, but not all of it, has to be tokenised. Chats stay whole. */
async function* beginnings(documents: AsyncIterable<SourceDocument>): AsyncIterable<SourceDocument> {
  for await (const document of documents)
    yield document.text === undefined
      ? document
      : { ...document, text: document.text.slice(0, SHORT_CHARACTERS).replace(/[\uD800-\uDBFF]$/, "") };
}

class Gathered {
  nKept = 0;
  readonly #windows: { window: PackedWindow<TokenizedDocument>; keep: Uint8Array }[] = [];
  readonly #excluded: ReadonlySet<number>;

  constructor(excluded: ReadonlySet<number>) {
    this.#excluded = excluded;
  }

  add(window: PackedWindow<TokenizedDocument>): void {
    const keep = keepMask(window, this.#excluded);
    const nKept = keep.reduce((sum, kept) => sum + kept, 0);
    if (nKept === 0) return;
    this.#windows.push({ window, keep });
    this.nKept += nKept;
  }

  batch(contextSize: number): WindowBatch {
    const buffer = new WindowBuffer(contextSize, this.#windows.length);
    for (const { window, keep } of this.#windows) buffer.add(window, keep);
    return buffer.take();
  }
}
