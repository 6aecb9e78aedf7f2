/** Asks the reader's worker, and hands back promises. */
import type { ColumnValues, FileAddress, Row } from "./parquet.ts";
import type { Answer, Question } from "./reader-worker.ts";

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

const waiting = new Map<number, Waiting>();
let worker: Worker | undefined;
let nAsked = 0;

function ask<T>(question: Question): Promise<T> {
  worker ??= startWorker();
  const id = nAsked++;
  worker.postMessage({ id, question });
  return new Promise<T>((resolve, reject) => {
    waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
  });
}

function startWorker(): Worker {
  const started = new Worker(new URL("./reader-worker.ts", import.meta.url), { type: "module" });
  started.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
    const asked = waiting.get(data.id);
    waiting.delete(data.id);
    if ("error" in data) asked?.reject(new Error(data.error));
    else asked?.resolve(data.value);
  });
  started.addEventListener("error", ({ message }) => {
    for (const { reject } of waiting.values())
      reject(new Error(message || "the reader could not be started"));
    waiting.clear();
    worker = undefined;
  });
  return started;
}

export const readRows = (file: FileAddress, latent: number): Promise<readonly Row[]> =>
  ask({ kind: "rows", file, latent });

export const readColumns = (
  file: FileAddress,
  columns?: readonly string[],
): Promise<{ nRows: number; columns: Record<string, ColumnValues> }> =>
  ask({ kind: "columns", file, columns });

export const findPromoters = (file: FileAddress, text: string): Promise<Uint32Array> =>
  ask({ kind: "promoters", file, text });
