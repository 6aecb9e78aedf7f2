/** Texts to look at an SAE with: plain text, documents and chats of data files, and the embedded held-out sets. */
import { fileURLToPath } from "node:url";
import type { SourceDocument } from "../../corpus/document.ts";
import { type CorpusSourceOptions, openCorpusSource } from "../../corpus/sources/source.ts";
import { DataError, RecipeError } from "../../errors.ts";

/** A text as a list of documents, and as a list of pieces. */
export interface TransferText {
  readonly name: string;
  /** chats are rendered by a model's template */
  readonly kind: "text" | "chat";
  /** whole documents */
  documents(): AsyncIterable<SourceDocument>;
  /** pieces that stand for themselves, of which the short protocol takes the beginnings */
  pieces(): AsyncIterable<SourceDocument>;
}

/** One text; its paragraphs are its pieces. */
export function plainText(name: string, text: string): TransferText {
  const document = (index: number, text: string): SourceDocument => ({
    index,
    file: 0,
    indexInFile: index,
    place: name,
    endOffset: null,
    text,
  });
  const paragraphs = text.split(/\n[^\S\n]*\n/).filter((paragraph) => paragraph.trim() !== "");
  return {
    name,
    kind: "text",
    async *documents() {
      yield document(0, text);
    },
    async *pieces() {
      for (const [index, paragraph] of paragraphs.entries()) yield document(index, paragraph.trim());
    },
  };
}

/**
 * Documents of .jsonl, .jsonl.zst, .parquet or .arrow files, of a folder that `datasets` saved, or of the hub: in a column "text", or chats in a column
 * "messages", whichever the first row has.
 * @throws {DataError} nothing is there, or the first row has neither column
 */
export async function dataText(name: string, location: string): Promise<TransferText> {
  const open = (kind: CorpusSourceOptions["kind"]) => openCorpusSource({ name, location, kind, weight: 1 });
  const kind = (await isReadable(await open("text"))) ? "text" : "chat";
  const source = await open(kind);
  for await (const _ of source.documents(0, 1)) break; // says now what is wrong with the first row
  const documents = () => source.documents(0, Number.POSITIVE_INFINITY);
  return { name, kind, documents, pieces: documents };
}

async function isReadable(source: Awaited<ReturnType<typeof openCorpusSource>>): Promise<boolean> {
  try {
    for await (const _ of source.documents(0, 1)) break;
    return true;
  } catch (error) {
    if (error instanceof DataError) return false;
    throw error;
  }
}

/** The embedded held-out sets, by name. */
export const EMBEDDED_TEXTS = {
  prose: "heldout_prose.jsonl",
  chat: "chat_heldout.jsonl",
  code: "domain_code.jsonl",
  multilingual: "domain_multilingual.jsonl",
  long: "domain_long.jsonl",
} as const;

/** @throws {RecipeError} there is no such set */
export async function embeddedText(name: string): Promise<TransferText> {
  if (!Object.hasOwn(EMBEDDED_TEXTS, name))
    throw new RecipeError(
      `no embedded text "${name}"`,
      `there are ${Object.keys(EMBEDDED_TEXTS).join(", ")}`,
    );
  const file = EMBEDDED_TEXTS[name as keyof typeof EMBEDDED_TEXTS];
  return dataText(name, fileURLToPath(new URL(`../../../assets/tiny-gemma/data/${file}`, import.meta.url)));
}
