/** A source's documents with their tokens, in order, tokenised a few batches ahead of whoever takes them. */
import type { SourceDocument } from "./document.ts";
import type { EncodedDocument } from "./document-encoder.ts";
import type { TokenizerPool } from "./tokenizer-pool.ts";

/** A batch is closed at so many characters or documents: about a quarter of a second of work. */
const BATCH_CHARACTERS = 64 * 1024;
const BATCH_DOCUMENTS = 256;

/** Where a packed document came from, without its text. */
export interface TokenizedDocument extends EncodedDocument {
  readonly index: number;
  readonly file: number;
  readonly indexInFile: number;
  readonly endOffset: number | null;
}

/** At most `pool.workers` batches are in the making, so little is tokenised that is not used. */
export async function* encodedDocuments(
  documents: AsyncIterable<SourceDocument>,
  pool: TokenizerPool,
): AsyncGenerator<TokenizedDocument> {
  const underWay: { batch: SourceDocument[]; encoded: Promise<EncodedDocument[]> }[] = [];
  const start = (batch: SourceDocument[]) => {
    const encoded = pool.encode(batch);
    encoded.catch(() => undefined); // reported when awaited; a consumer may also stop before
    underWay.push({ batch, encoded });
  };
  const finish = async () => {
    const { batch, encoded } = underWay.shift()!;
    const tokens = await encoded;
    return batch.map(({ index, file, indexInFile, endOffset }, i) => ({
      index,
      file,
      indexInFile,
      endOffset,
      ...tokens[i],
    }));
  };
  for await (const batch of batches(documents)) {
    start(batch);
    if (underWay.length >= pool.workers) yield* await finish();
  }
  while (underWay.length > 0) yield* await finish();
}

async function* batches(documents: AsyncIterable<SourceDocument>): AsyncGenerator<SourceDocument[]> {
  let batch: SourceDocument[] = [];
  let characters = 0;
  for await (const document of documents) {
    batch.push(document);
    characters +=
      document.messages === undefined
        ? document.text.length
        : document.messages.reduce((sum, message) => sum + message.content.length, 0);
    if (characters < BATCH_CHARACTERS && batch.length < BATCH_DOCUMENTS) continue;
    yield batch;
    batch = [];
    characters = 0;
  }
  if (batch.length > 0) yield batch;
}
