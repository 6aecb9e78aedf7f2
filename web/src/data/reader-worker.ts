/** The worker that reads Parquet, so that the page never waits: answers each {@link Question} with what it asks for. */
import { type ColumnValues, type FileAddress, readColumns, readRows } from "./parquet.ts";
import { promoters } from "./promoters.ts";

export type Question =
  | { readonly kind: "rows"; readonly file: FileAddress; readonly latent: number }
  | { readonly kind: "columns"; readonly file: FileAddress; readonly columns?: readonly string[] }
  /** latents among whose largest logits is a token that contains `text` */
  | { readonly kind: "promoters"; readonly file: FileAddress; readonly text: string };

export type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string };

addEventListener("message", async ({ data }: MessageEvent<{ id: number; question: Question }>) => {
  try {
    const value = await answer(data.question);
    postMessage({ id: data.id, value } satisfies Answer, { transfer: buffersOf(value) });
  } catch (error) {
    postMessage({
      id: data.id,
      error: error instanceof Error ? error.message : String(error),
    } satisfies Answer);
  }
});

function answer(question: Question): Promise<unknown> {
  if (question.kind === "rows") return readRows(question.file, question.latent);
  if (question.kind === "columns") return readColumns(question.file, question.columns);
  return promoters(question.file, question.text);
}

/** Columns go over without a copy. */
function buffersOf(value: unknown): ArrayBuffer[] {
  const columns = (value as { columns?: Record<string, ColumnValues> }).columns;
  if (columns === undefined || columns === null) return [];
  return Object.values(columns).flatMap((column) =>
    column instanceof Float64Array ? [column.buffer as ArrayBuffer] : [],
  );
}
