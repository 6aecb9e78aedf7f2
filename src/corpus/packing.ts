/**
 * Documents to windows of one fixed size, keeping track of which document and role each token has. Two ways:
 * SAELens' `concat_and_batch_sequences`, token for token, and one document a window.
 */
import { ShapeError } from "../errors.ts";
import type { EncodedDocument } from "./document-encoder.ts";
import { ROLES } from "./windows.ts";

/** A document to pack; `index` is its number in its source. */
export interface PackableDocument extends EncodedDocument {
  readonly index: number;
}

/** One window. Arrays have `contextSize` entries, of which the first `length` are real. */
export interface PackedWindow<D extends PackableDocument> {
  readonly length: number;
  readonly tokenIds: Uint32Array;
  /** index into ROLES; tokens that packing inserts have the role `template` */
  readonly role: Uint8Array;
  /** index in the source of the document a token is of; inserted tokens count to the document that follows */
  readonly document: Uint32Array;
  /** the documents in it, in order */
  readonly documents: readonly D[];
}

export interface Packer<D extends PackableDocument> {
  /** Takes the next document; yields the windows that it fills. */
  add(document: D): Iterable<PackedWindow<D>>;
}

export interface ConcatOptions {
  readonly contextSize: number;
  /** starts every window; default none */
  readonly beginBatchTokenId?: number | null;
  /** starts every document; default none */
  readonly beginSequenceTokenId?: number | null;
  /** stands between two documents in a window; default none */
  readonly sequenceSeparatorTokenId?: number | null;
  /** one document a window: the documents' beginnings, those that are too short left out */
  readonly disableConcatSequences?: boolean;
}

/**
 * SAELens' packing. A new window begins with `beginBatch`. Within a window a new document is preceded by the separator
 * and `beginSequence`; a document that goes on from the window before is not. Each of these tokens is left out where the
 * token after it is the same already. Where the separator fills the last place, the document goes on in the next window
 * as if it had begun. Only full windows come out: what is left at the end is dropped.
 *
 * Source: SAELens 6.18 `tokenization_and_batching.py`, by its behaviour (golden cases).
 */
export class ConcatPacker<D extends PackableDocument> implements Packer<D> {
  readonly #options: ConcatOptions;
  #window: OpenWindow<D> | null = null;

  constructor(options: ConcatOptions) {
    checkContextSize(options.contextSize);
    this.#options = options;
  }

  *add(document: D): Generator<PackedWindow<D>> {
    if (this.#options.disableConcatSequences) {
      yield* this.#alone(document);
      return;
    }
    const { tokenIds } = document;
    let startsDocument = true;
    for (let offset = 0; offset < tokenIds.length; startsDocument = false) {
      const prefix = this.#prefix(tokenIds[offset], startsDocument);
      this.#window ??= new OpenWindow<D>(this.#options.contextSize);
      this.#window.insert(prefix, document);
      offset += this.#window.append(document, offset);
      if (!this.#window.isFull) return;
      yield this.#window.close();
      this.#window = null;
    }
  }

  /** The window begun last, padded, or null: for whoever wants what is left at the end. */
  rest(padTokenId: number): PackedWindow<D> | null {
    const window = this.#window?.close(padTokenId) ?? null;
    this.#window = null;
    return window;
  }

  /** The tokens to insert before `next`. */
  #prefix(next: number, startsDocument: boolean): number[] {
    const { beginBatchTokenId, beginSequenceTokenId, sequenceSeparatorTokenId } = this.#options;
    const prefix: number[] = [];
    let first = next;
    const before = (id: number | null | undefined) => {
      if (id === null || id === undefined || id === first) return;
      prefix.unshift(id);
      first = id;
    };
    if (startsDocument) before(beginSequenceTokenId);
    if (this.#window === null) before(beginBatchTokenId);
    else if (startsDocument) before(sequenceSeparatorTokenId);
    return prefix;
  }

  *#alone(document: D): Generator<PackedWindow<D>> {
    const { contextSize, beginSequenceTokenId: begin } = this.#options;
    const { tokenIds } = document;
    const prefix = begin === null || begin === undefined || tokenIds[0] === begin ? [] : [begin];
    if (tokenIds.length + prefix.length < contextSize) return;
    const window = new OpenWindow<D>(contextSize);
    window.insert(prefix, document);
    window.append(document, 0);
    yield window.close();
  }
}

/**
 * One document a window: BOS first (unless the document has it), cut at `contextSize`, padded on the right. The rest of
 * a long document is not used; documents that make fewer than two tokens are left out.
 */
export class DocumentPacker<D extends PackableDocument> implements Packer<D> {
  readonly #contextSize: number;
  readonly #bosTokenId: number | null;
  readonly #padTokenId: number;

  constructor(options: { contextSize: number; bosTokenId: number | null; padTokenId: number }) {
    checkContextSize(options.contextSize);
    this.#contextSize = options.contextSize;
    this.#bosTokenId = options.bosTokenId;
    this.#padTokenId = options.padTokenId;
  }

  *add(document: D): Generator<PackedWindow<D>> {
    const bos = this.#bosTokenId;
    const prefix = bos === null || document.tokenIds[0] === bos ? [] : [bos];
    if (document.tokenIds.length + prefix.length < 2) return;
    const window = new OpenWindow<D>(this.#contextSize);
    window.insert(prefix, document);
    window.append(document, 0);
    yield window.close(this.#padTokenId);
  }
}

const TEMPLATE = ROLES.indexOf("template");

class OpenWindow<D extends PackableDocument> {
  readonly #tokenIds: Uint32Array;
  readonly #role: Uint8Array;
  readonly #document: Uint32Array;
  readonly #documents: D[] = [];
  #length = 0;

  constructor(contextSize: number) {
    this.#tokenIds = new Uint32Array(contextSize);
    this.#role = new Uint8Array(contextSize);
    this.#document = new Uint32Array(contextSize);
  }

  get isFull(): boolean {
    return this.#length === this.#tokenIds.length;
  }

  /** Adds tokens that belong to no document, as far as there is room. */
  insert(ids: readonly number[], next: D): void {
    for (const id of ids) {
      if (this.isFull) return;
      this.#tokenIds[this.#length] = id;
      this.#role[this.#length] = TEMPLATE;
      this.#document[this.#length] = next.index;
      this.#length += 1;
    }
  }

  /** Adds the document's tokens from `offset`, as far as there is room. Returns how many. */
  append(document: D, offset: number): number {
    const { tokenIds, roles, index } = document;
    const count = Math.min(tokenIds.length - offset, this.#tokenIds.length - this.#length);
    for (let i = 0; i < count; i++) this.#tokenIds[this.#length + i] = tokenIds[offset + i];
    this.#role.set(roles.subarray(offset, offset + count), this.#length);
    this.#document.fill(index, this.#length, this.#length + count);
    this.#length += count;
    if (count > 0) this.#documents.push(document);
    return count;
  }

  close(padTokenId = 0): PackedWindow<D> {
    const length = this.#length;
    this.#tokenIds.fill(padTokenId, length);
    this.#role.fill(TEMPLATE, length);
    this.#document.fill(length === 0 ? 0 : this.#document[length - 1], length);
    return {
      length,
      tokenIds: this.#tokenIds,
      role: this.#role,
      document: this.#document,
      documents: this.#documents,
    };
  }
}

function checkContextSize(contextSize: number): void {
  if (!Number.isInteger(contextSize) || contextSize < 2 || contextSize > 1 << 20)
    throw new ShapeError("contextSize", contextSize, "a whole number of tokens from 2 to 1048576");
}
