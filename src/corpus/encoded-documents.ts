/**
 * A source's documents with their tokens, in order, tokenised a few batches ahead of whoever takes them. An error in a
 * document shows when its turn has come, never before: what is not taken cannot fail.
 */
import type { SourceDocument } from "./document.ts";
import type { EncodedDocument } from "./document-encoder.ts";
import type { EncodedBatch, TokenizerPool } from "./tokenizer-pool.ts";

/** A batch is closed at so many characters or documents: a quarter of a second of work. The first ones are smaller. */
const BATCH_CHARACTERS = 64 * 1024;
const FIRST_BATCH_CHARACTERS = 4 * 1024;
const BATCH_DOCUMENTS = 256;

/** Where a packed document came from, without its text. */
export interface TokenizedDocument extends EncodedDocument {
  readonly index: number;
  readonly file: number;
  readonly indexInFile: number;
  readonly endOffset: number | null;
}

interface Batch {
  readonly documents: readonly SourceDocument[];
  /** what reading the document after these ended with */
  readonly failure: { readonly error: unknown } | null;
}

/** At most `pool.workers` batches are in the making, so little is tokenised that is not used. */
export async function* encodedDocuments(
  documents: AsyncIterable<SourceDocument>,
  pool: TokenizerPool,
): AsyncGenerator<TokenizedDocument> {
  const underWay: { batch: Batch; encoding: Promise<EncodedBatch> }[] = [];
  for await (const batch of batches(documents)) {
    const encoding = pool.encodeBatch(batch.documents);
    encoding.catch(() => undefined); // reported when awaited; a consumer may also stop before
    underWay.push({ batch, encoding });
    if (underWay.length >= pool.workers) yield* finished(underWay.shift()!);
  }
  for (const each of underWay) yield* finished(each);
}

async function* finished({
  batch,
  encoding,
}: {
  batch: Batch;
  encoding: Promise<EncodedBatch>;
}): AsyncGenerator<TokenizedDocument> {
  const { encoded, error } = await encoding;
  for (const [i, tokens] of encoded.entries()) {
    const { index, file, indexInFile, endOffset } = batch.documents[i];
    yield { index, file, indexInFile, endOffset, ...tokens };
  }
  if (error !== null) throw error;
  if (batch.failure !== null) throw batch.failure.error;
}

async function* batches(documents: AsyncIterable<SourceDocument>): AsyncGenerator<Batch> {
  let batch: SourceDocument[] = [];
  let characters = 0;
  let limit = FIRST_BATCH_CHARACTERS;
  try {
    for await (const document of documents) {
      batch.push(document);
      characters += charactersOf(document);
      if (characters < limit && batch.length < BATCH_DOCUMENTS) continue;
      yield { documents: batch, failure: null };
      batch = [];
      characters = 0;
      limit = Math.min(BATCH_CHARACTERS, 2 * limit);
    }
  } catch (error) {
    yield { documents: batch, failure: { error } };
    return;
  }
  if (batch.length > 0) yield { documents: batch, failure: null };
}

function charactersOf({ text, messages }: SourceDocument): number {
  return messages === undefined
    ? text.length
    : messages.reduce((sum, { content }) => sum + content.length, 0);
}
