/** What every file format of a corpus offers: its documents, from any index on. */
import type { ByteFile } from "../../hub/byte-file.ts";
import type { Columns, DocumentContent } from "../document.ts";

/** A document of one file; `index` counts within the file. */
export type FileDocument = DocumentContent & {
  readonly index: number;
  readonly place: string;
  readonly endOffset: number | null;
};

export interface DocumentReader {
  /** "text", "jsonl", "jsonl.zst", "parquet" or "arrow" */
  readonly format: string;
  /** Documents of the file from number `from` on, in file order; returns how many the file holds. Skipped ones are not parsed. */
  documents(file: ByteFile, from: number, columns: Columns): AsyncGenerator<FileDocument, number>;
  /** Documents in the file, where that is known without reading it all; else null. */
  count(file: ByteFile): Promise<number | null>;
}
