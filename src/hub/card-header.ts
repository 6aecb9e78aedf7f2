/** The header of a repository's card: the YAML between the first two lines of dashes in its README.md. */
import { parse } from "yaml";

/** Longer cards are not read. */
export const MAX_CARD_BYTES = 4 * 1024 * 1024;

/** What a card's header says; empty where there is none, or none that can be read. */
export function cardHeader(text: string): Readonly<Record<string, unknown>> {
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text)?.[1];
  if (front === undefined) return {};
  try {
    const header: unknown = parse(front, { maxAliasCount: 20 });
    return header !== null && typeof header === "object" && !Array.isArray(header) ? { ...header } : {};
  } catch {
    return {};
  }
}
