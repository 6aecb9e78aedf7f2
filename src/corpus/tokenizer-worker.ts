/**
 * The thread that tokenises: untrusted regular expressions and templates run here, where they can be stopped. It notes
 * in shared memory which document it is at, so that the other side can see it stand still.
 */
import { parentPort, workerData } from "node:worker_threads";
import { LapidaryError } from "../errors.ts";
import type { DocumentContent } from "./document.ts";
import { DocumentEncoder } from "./document-encoder.ts";
import { readTokenizerFolder } from "./tokenizer-folder.ts";

export interface WorkerStart {
  readonly dir: string;
  /** [0] = documents begun, over all batches */
  readonly progress: Int32Array<SharedArrayBuffer>;
}

export interface EncodeRequest {
  readonly documents: readonly DocumentContent[];
}

/** Tokens of all documents of a request, one after the other; document i ends before `ends[i]`. */
export interface EncodeAnswer {
  readonly tokenIds: Uint32Array;
  readonly roles: Uint8Array;
  readonly ends: Uint32Array;
}

export type WorkerMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "answer"; readonly answer: EncodeAnswer }
  /** `document` is the number within the request, -1 when the tokenizer itself could not be loaded */
  | {
      readonly kind: "error";
      readonly document: number;
      readonly message: string;
      readonly hint: string | undefined;
    };

const port = parentPort;
if (port !== null) {
  const { dir, progress } = workerData as WorkerStart;
  const send = (message: WorkerMessage, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);
  const fail = (document: number, error: unknown) => {
    const hint = error instanceof LapidaryError ? error.hint : undefined;
    send({ kind: "error", document, message: (error as Error).message, hint });
  };
  readTokenizerFolder(dir)
    .then((folder) => new DocumentEncoder(folder))
    .then((encoder) => {
      port.on("message", ({ documents }: EncodeRequest) => {
        let at = 0;
        try {
          const encoded = documents.map((document, i) => {
            at = i;
            Atomics.add(progress, 0, 1);
            return encoder.encode(document);
          });
          const answer = joined(encoded);
          send({ kind: "answer", answer }, [
            answer.tokenIds.buffer as ArrayBuffer,
            answer.roles.buffer as ArrayBuffer,
            answer.ends.buffer as ArrayBuffer,
          ]);
        } catch (error) {
          fail(at, error);
        }
      });
      send({ kind: "ready" });
    })
    .catch((error: unknown) => fail(-1, error));
}

function joined(documents: readonly { tokenIds: ArrayLike<number>; roles: Uint8Array }[]): EncodeAnswer {
  const total = documents.reduce((sum, document) => sum + document.tokenIds.length, 0);
  const answer = {
    tokenIds: new Uint32Array(total),
    roles: new Uint8Array(total),
    ends: new Uint32Array(documents.length),
  };
  let end = 0;
  for (const [i, document] of documents.entries()) {
    answer.tokenIds.set(document.tokenIds, end);
    answer.roles.set(document.roles, end);
    end += document.tokenIds.length;
    answer.ends[i] = end;
  }
  return answer;
}
