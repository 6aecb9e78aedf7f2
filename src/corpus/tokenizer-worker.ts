/**
 * The thread that tokenises: untrusted regular expressions and templates run here, where they can be stopped. It notes
 * in shared memory which document it is at, so that the other side can see it stand still.
 */
import { parentPort, workerData } from "node:worker_threads";
import { LapidaryError } from "../errors.ts";
import type { DocumentContent } from "./document.ts";
import { DocumentEncoder, type EncodedDocument } from "./document-encoder.ts";
import { readTokenizerFolder } from "./tokenizer-folder.ts";

export interface WorkerStart {
  readonly dir: string;
  /** [0] = documents begun, over all batches */
  readonly progress: Int32Array<SharedArrayBuffer>;
}

export interface EncodeRequest {
  readonly documents: readonly DocumentContent[];
}

/**
 * Tokens of a request's documents, one after the other; document i ends before `ends[i]`. If a document cannot be
 * encoded, those before it are here, and the error.
 */
export interface EncodeAnswer {
  readonly tokenIds: Uint32Array;
  readonly roles: Uint8Array;
  readonly ends: Uint32Array;
  readonly error: EncodeError | null;
}

export interface EncodeError {
  readonly message: string;
  readonly hint: string | undefined;
}

export type WorkerMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "answer"; readonly answer: EncodeAnswer }
  | { readonly kind: "unusable"; readonly error: EncodeError };

const port = parentPort;
if (port !== null) {
  const { dir, progress } = workerData as WorkerStart;
  const send = (message: WorkerMessage, transfer: ArrayBufferLike[] = []) =>
    port.postMessage(message, transfer as ArrayBuffer[]);
  readTokenizerFolder(dir)
    .then((folder) => new DocumentEncoder(folder))
    .then((encoder) => {
      port.on("message", ({ documents }: EncodeRequest) => {
        const answer = answerTo(documents, encoder, progress);
        send({ kind: "answer", answer }, [answer.tokenIds.buffer, answer.roles.buffer, answer.ends.buffer]);
      });
      send({ kind: "ready" });
    })
    .catch((error: unknown) => send({ kind: "unusable", error: plain(error) }));
}

function answerTo(
  documents: readonly DocumentContent[],
  encoder: DocumentEncoder,
  progress: Int32Array<SharedArrayBuffer>,
): EncodeAnswer {
  const encoded: EncodedDocument[] = [];
  try {
    for (const document of documents) {
      Atomics.add(progress, 0, 1);
      encoded.push(encoder.encode(document));
    }
    return { ...joined(encoded), error: null };
  } catch (error) {
    return { ...joined(encoded), error: plain(error) };
  }
}

function joined(documents: readonly EncodedDocument[]): Omit<EncodeAnswer, "error"> {
  const total = documents.reduce((sum, document) => sum + document.tokenIds.length, 0);
  const tokenIds = new Uint32Array(total);
  const roles = new Uint8Array(total);
  const ends = new Uint32Array(documents.length);
  let end = 0;
  for (const [i, document] of documents.entries()) {
    tokenIds.set(document.tokenIds, end);
    roles.set(document.roles, end);
    end += document.tokenIds.length;
    ends[i] = end;
  }
  return { tokenIds, roles, ends };
}

function plain(error: unknown): EncodeError {
  return {
    message: (error as Error).message,
    hint: error instanceof LapidaryError ? error.hint : undefined,
  };
}
