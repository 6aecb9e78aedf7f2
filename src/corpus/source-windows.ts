/** One source's windows, taken one at a time, and the account of what was taken. */
import { hashValue } from "../storage/hash.ts";
import { encodedDocuments, type TokenizedDocument } from "./encoded-documents.ts";
import type { PackedWindow, Packer } from "./packing.ts";
import type { CorpusSource, CorpusSourceOptions } from "./sources/source.ts";
import type { TokenizerPool } from "./tokenizer-pool.ts";
import { keepMask } from "./window-buffer.ts";
import type { WindowsSource, WindowsSourceFile } from "./windows.ts";

export interface KeptWindow {
  readonly window: PackedWindow<TokenizedDocument>;
  /** [contextSize] 1 = kept */
  readonly keep: Uint8Array;
  /** ones in `keep` */
  readonly nKept: number;
}

export class SourceWindows {
  readonly options: CorpusSourceOptions;
  readonly fromDocument: number;
  nKept = 0;
  exhausted = false;
  readonly #source: CorpusSource;
  readonly #windows: AsyncGenerator<KeptWindow>;
  readonly #used = new Map<number, { from: number; to: number; endOffset: number | null }>();
  #lastDocument = -1;
  #nDocuments = 0;
  #nWindows = 0;

  constructor(
    options: CorpusSourceOptions,
    source: CorpusSource,
    pool: TokenizerPool,
    packer: Packer<TokenizedDocument>,
    excluded: ReadonlySet<number>,
  ) {
    this.options = options;
    this.fromDocument = options.fromDocument ?? 0;
    this.#source = source;
    const documents = source.documents(this.fromDocument, options.toDocument ?? Number.POSITIVE_INFINITY);
    this.#windows = keptWindows(encodedDocuments(documents, pool), packer, pool.facts.bosTokenId, excluded);
  }

  /** The next window with a kept token, counted as used; null at the end of the documents. */
  async next(): Promise<KeptWindow | null> {
    const { done, value } = await this.#windows.next();
    if (done) {
      this.exhausted = true;
      return null;
    }
    this.nKept += value.nKept;
    this.#nWindows += 1;
    for (const document of value.window.documents) this.#countDocument(document);
    return value;
  }

  async close(): Promise<void> {
    await this.#windows.return(undefined);
  }

  /** The account for the manifest. */
  async account(): Promise<WindowsSource> {
    const { name, location, label, kind, weight, config, split } = this.options;
    const files: WindowsSourceFile[] = [];
    for (const [file, { from, to, endOffset }] of this.#used) {
      const { name, size, identity } = this.#source.files[file];
      const id = await identity.call(this.#source.files[file]);
      files.push({ name, bytes: size, identity: id, documents: [from, to], endOffset });
    }
    return {
      name,
      location: label ?? location,
      kind,
      weight,
      config: config ?? null,
      split: split ?? null,
      commit: this.#source.commit,
      format: this.#source.format,
      documents: [this.fromDocument, Math.max(this.fromDocument, this.#lastDocument + 1)],
      nDocuments: this.#nDocuments,
      nWindows: this.#nWindows,
      nKept: this.nKept,
      exhausted: this.exhausted,
      contentHash: hashValue(files.map((file) => file.identity)),
      files,
    };
  }

  #countDocument(document: TokenizedDocument): void {
    if (document.index <= this.#lastDocument) return;
    this.#lastDocument = document.index;
    this.#nDocuments += 1;
    const { file, indexInFile, endOffset } = document;
    const from = this.#used.get(file)?.from ?? indexInFile;
    this.#used.set(file, { from, to: indexInFile + 1, endOffset });
  }
}

async function* keptWindows(
  documents: AsyncIterable<TokenizedDocument>,
  packer: Packer<TokenizedDocument>,
  bosTokenId: number | null,
  excluded: ReadonlySet<number>,
): AsyncGenerator<KeptWindow> {
  for await (const document of documents) {
    const { tokenIds } = document;
    if (tokenIds.length === 0 || (tokenIds.length === 1 && tokenIds[0] === bosTokenId)) continue;
    for (const window of packer.add(document)) {
      const keep = keepMask(window, excluded);
      const nKept = keep.reduce((sum, kept) => sum + kept, 0);
      if (nKept > 0) yield { window, keep, nKept };
    }
  }
}
