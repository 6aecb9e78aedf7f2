/**
 * A corpus set on disk: token windows of one fixed size, ready to be harvested. One folder a set:
 * `windows-00000.safetensors …` and `manifest.json`, which names every file with size and hash.
 */

/** Roles of tokens. `text` for plain documents; the others follow the chat message a token was rendered from. */
export const ROLES = ["text", "user", "assistant", "system", "tool", "template"] as const;
/** Who speaks at a token: plain text, a role of the chat, or the template around it. */
export type Role = (typeof ROLES)[number];

/** n consecutive windows of a set. */
export interface WindowBatch {
  /** index of the first window in the set */
  readonly first: number;
  readonly nWindows: number;
  readonly contextSize: number;
  /** [nWindows, contextSize] u32, padded on the right with the pad (or BOS) id */
  readonly tokenIds: Uint32Array;
  /** [nWindows] real tokens in each window; the rest is padding */
  readonly lengths: Uint32Array;
  /** [nWindows, contextSize] 1 = the activation of this position is kept */
  readonly keep: Uint8Array;
  /** [nWindows, contextSize] index into ROLES */
  readonly role: Uint8Array;
  /**
   * [nWindows, contextSize] number of the document within the set, over all sources; `locateDocument` says which it is.
   * Unique, not dense.
   */
  readonly document: Uint32Array;
}

/** A source as a set used it. */
export interface WindowsSource {
  readonly name: string;
  readonly location: string;
  readonly kind: "text" | "chat";
  /** share of the kept tokens asked for, relative to the other sources */
  readonly weight: number;
  /** documents [from, to) of the source that this set used, by index within the source; half-open */
  readonly documents: readonly [number, number];
  /** how many of them are in the windows (empty ones are not) */
  readonly nDocuments: number;
  readonly nKept: number;
  /** sha-256 over the identities of the files that were used */
  readonly contentHash: string;
  /** data set configuration and split, for sources on the hub */
  readonly config?: string | null;
  readonly split?: string | null;
  /** the hub's commit that was read */
  readonly commit?: string | null;
  /** "text", "jsonl", "jsonl.zst" or "parquet" */
  readonly format?: string;
  readonly nWindows?: number;
  /** true: the source's documents ran out */
  readonly exhausted?: boolean;
  /** documents used, file by file: what `checkDisjoint` compares */
  readonly files?: readonly WindowsSourceFile[];
}

export interface WindowsSourceFile {
  readonly name: string;
  readonly bytes: number;
  /** `sha256:…` of the content (or `git:…`, a small hub file's blob): the same file anywhere has the same identity */
  readonly identity: string;
  /** documents [from, to) of this file that were used */
  readonly documents: readonly [number, number];
  /** byte of the (decompressed) file after the last document used; null where the format has no such thing */
  readonly endOffset: number | null;
}

/** What `manifest.json` of a set says. */
export interface WindowsManifest {
  readonly format: "lapidary-windows";
  readonly version: 1;
  readonly set: string;
  readonly contextSize: number;
  readonly nWindows: number;
  /** real tokens, padding not counted */
  readonly nTokens: number;
  readonly nKept: number;
  readonly packing: "saelens" | "document";
  readonly bosTokenId: number | null;
  readonly excludedTokenIds: readonly number[];
  /** sha-256 of the tokenizer files and of the chat template text (null without one) */
  readonly tokenizerHash: string;
  readonly chatTemplateHash: string | null;
  readonly sources: readonly WindowsSource[];
  readonly files: readonly {
    readonly name: string;
    readonly nWindows: number;
    readonly bytes: number;
    readonly sha256: string;
  }[];
  /** kept tokens asked for */
  readonly requestedTokens?: number;
  /** true: a source ran out of documents before `requestedTokens` were kept */
  readonly exhausted?: boolean;
  readonly prependBos?: boolean;
  readonly padTokenId?: number;
  /** hash of everything that decides the windows but the texts themselves; a finished build with the same is not redone */
  readonly inputsHash?: string;
}

/** Reads a set back. */
export interface WindowSet {
  readonly dir: string;
  readonly manifest: WindowsManifest;
  /** Windows [from, to), to ≤ nWindows. */
  read(from: number, to: number): Promise<WindowBatch>;
}

/** The number within a set of document `index` of its source number `source` (both counted from 0). */
export function documentNumber(
  sources: readonly { readonly documents: readonly [number, number] }[],
  source: number,
  index: number,
): number {
  return (index - sources[source].documents[0]) * sources.length + source;
}

/** Which document of which source a number of `WindowBatch.document` stands for: the inverse of `documentNumber`. */
export function locateDocument(
  sources: readonly { readonly documents: readonly [number, number] }[],
  document: number,
): { source: number; index: number } {
  const source = document % sources.length;
  return { source, index: Math.floor(document / sources.length) + sources[source].documents[0] };
}
