/** Do two models mean the same by a token id? Windows are made with one tokenizer; another model may only be run on them if so. */
import { join } from "node:path";
import { hashFile } from "../storage/hash.ts";
import { readTokenizerFolder, type TokenizerFolder } from "./tokenizer-folder.ts";

/** A token id and what it stands for in each tokenizer. */
export interface TokenDifference {
  readonly id: number;
  readonly a: string;
  readonly b: string;
}

/**
 * The first id, by number, that both tokenizers have and that stands for different texts; null where there is none.
 * Merges, normalisation and templates do not count: they decide how text becomes ids, not what ids mean.
 * @throws {DataError | FormatError} a folder holds no tokenizer, or one that cannot be read
 */
export async function differentToken(dirA: string, dirB: string): Promise<TokenDifference | null> {
  const folders = await Promise.all([dirA, dirB].map(readTokenizerFolder));
  const [hashA, hashB] = await Promise.all([dirA, dirB].map((dir) => hashFile(join(dir, "tokenizer.json"))));
  if (hashA === hashB) return null;
  const [a, b] = folders.map(tokensById);
  for (const [id, text] of [...a].sort(([x], [y]) => x - y)) {
    const other = b.get(id);
    if (other !== undefined && other !== text) return { id, a: text, b: other };
  }
  return null;
}

function tokensById({ tokenizer }: TokenizerFolder): Map<number, string> {
  const byId = new Map<number, string>();
  const { vocab } = tokenizer["model"] as { vocab?: unknown };
  if (Array.isArray(vocab))
    for (const [id, entry] of (vocab as unknown[][]).entries()) byId.set(id, String(entry[0]));
  else for (const [text, id] of Object.entries(vocab ?? {})) byId.set(id as number, text);
  for (const { id, content } of (tokenizer["added_tokens"] ?? []) as { id: number; content: string }[])
    byId.set(id, content);
  return byId;
}
