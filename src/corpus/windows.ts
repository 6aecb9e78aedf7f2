/**
 * A corpus set on disk: token windows of one fixed size, ready to be harvested. One folder a set:
 * `windows-00000.safetensors …` and `manifest.json`, which names every file with size and hash.
 */

/** Roles of tokens. `text` for plain documents; the others follow the chat message a token was rendered from. */
export const ROLES = ["text", "user", "assistant", "system", "tool", "template"] as const;
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
  /** [nWindows, contextSize] index of the document within the set, counted over all sources */
  readonly document: Uint32Array;
}

/** What `manifest.json` of a set says. */
export interface WindowsManifest {
  readonly format: "lapidary-windows";
  readonly version: 1;
  readonly set: string;
  readonly contextSize: number;
  readonly nWindows: number;
  readonly nTokens: number;
  readonly nKept: number;
  readonly packing: "saelens" | "document";
  readonly bosTokenId: number | null;
  readonly excludedTokenIds: readonly number[];
  /** sha-256 of the tokenizer files and of the chat template text (null without one) */
  readonly tokenizerHash: string;
  readonly chatTemplateHash: string | null;
  readonly sources: readonly {
    readonly name: string;
    readonly location: string;
    readonly kind: "text" | "chat";
    readonly weight: number;
    /** documents [from, to) of the source that this set used, by index within the source; half-open */
    readonly documents: readonly [number, number];
    readonly nDocuments: number;
    readonly nKept: number;
    /** index of this source's first document in the set-wide `document` numbering, for every document: see sources order */
    readonly contentHash: string;
  }[];
  readonly files: readonly {
    readonly name: string;
    readonly nWindows: number;
    readonly bytes: number;
    readonly sha256: string;
  }[];
}

/** Reads a set back. */
export interface WindowSet {
  readonly dir: string;
  readonly manifest: WindowsManifest;
  /** Windows [from, to), to ≤ nWindows. */
  read(from: number, to: number): Promise<WindowBatch>;
}
