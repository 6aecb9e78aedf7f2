/**
 * `index.json`, the manifest of a latent index: what was indexed, how, and every file with its hash. A folder is an index
 * once this file is there. Types only, safe in a browser.
 */
import type { TableName } from "./tables.ts";

/** `index.json`. */
export interface IndexManifest {
  readonly format: "lapidary-index";
  readonly version: 1;
  readonly sae: {
    /** folder name or hub address, for people */
    readonly name: string;
    /** content hash, as evaluation results record it */
    readonly hash: string;
    readonly architecture: string;
    readonly dIn: number;
    readonly dSae: number;
    /** matryoshka widths, the last is dSae */
    readonly widths: readonly number[];
    readonly hookName: string | null;
  };
  readonly data: {
    readonly model: string | null;
    /** names of the sets, in order */
    readonly sets: readonly string[];
    /** rows (kept tokens) indexed */
    readonly nTokens: number;
    readonly nDocuments: number;
    /** sha-256 over what decided the rows: the stores' shards, and how many rows were taken */
    readonly hash: string;
  };
  /** classes of tokens, in the order `splits.class` and `examples.role`, `.source` count them */
  readonly splits: {
    readonly role: readonly TokenClass[];
    readonly source: readonly TokenClass[];
    readonly position: readonly TokenClass[];
  };
  /** null: no model was given, so there are no logits */
  readonly logits: { readonly vocabSize: number; readonly finalNorm: boolean } | null;
  /** the SAE that drift is measured from; null: none */
  readonly base: { readonly name: string; readonly hash: string; readonly index: string | null } | null;
  readonly options: {
    readonly topExamples: number;
    readonly examplesPerInterval: number;
    /** tokens shown before and after an example's token, at most */
    readonly tokensBefore: number;
    readonly tokensAfter: number;
    readonly seed: number;
  };
  readonly software: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<TableName, IndexedFile>>;
}

export interface TokenClass {
  readonly name: string;
  /** indexed tokens of this class */
  readonly nTokens: number;
}

export interface IndexedFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly nRows: number;
}
