/** A set of tokens to be indexed: its activations, and what is known of its texts. Types only. */
import type { WindowBatch } from "../../corpus/windows.ts";
import type { TokenSource } from "../../evals/token-source.ts";

export interface IndexedSet {
  /** the rows that are indexed, with their labels */
  readonly tokens: TokenSource;
  /** the corpus windows that the rows come from, kept tokens or not; null: the rows are all that is known */
  readonly windows: { read(from: number, to: number): Promise<WindowBatch> } | null;
  /** name of the source of a document; null: not known */
  readonly sourceOf: ((document: number) => string | null) | null;
}
