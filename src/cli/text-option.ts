/** What `--text [name=]place` names: a plain text file, or documents and chats in files of their own formats. */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { TransferText } from "../pipeline/transfer/texts.ts";
import { readText } from "./text-file.ts";

/** "name=place", or a place alone. */
export function named(text: string): { name: string | null; place: string } {
  const match = /^([^=/\\:]+)=(.+)$/.exec(text);
  return match === null ? { name: null, place: text } : { name: match[1], place: match[2] };
}

/** @throws {DataError} nothing is there, or it is no text */
export async function openText(option: string): Promise<TransferText> {
  const { dataText, plainText } = await import("../pipeline/transfer/texts.ts");
  const { name, place } = named(option);
  const title = name ?? nameOf(place);
  return (await holdsData(place)) ? dataText(title, place) : plainText(title, await readText(place));
}

/** Files with a format of their own, folders of them, data sets of the hub. */
async function holdsData(path: string): Promise<boolean> {
  if (/\.(jsonl|ndjson|json|parquet|zst)$/i.test(path) || path.startsWith("hf:")) return true;
  return (await stat(path).catch(() => null))?.isDirectory() ?? false;
}

function nameOf(path: string): string {
  return path.startsWith("hf:") ? path.slice("hf:".length) : basename(path);
}
