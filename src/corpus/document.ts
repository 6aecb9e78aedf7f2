/**
 * A document as a source yields it: plain text, or a chat that is yet to be rendered. Checks what came out of a file
 * and says which line was wrong, what was got and what was expected.
 */
import { DataError } from "../errors.ts";
import { ROLES, type Role } from "./windows.ts";

/** One turn of a chat, as data sets spell it. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export type DocumentContent =
  | { readonly text: string; readonly messages?: undefined }
  | {
      readonly messages: readonly ChatMessage[];
      readonly text?: undefined;
      /** ends with the beginning of the assistant's answer, for the model to go on; no source's documents do */
      readonly generationPrompt?: boolean;
    };

export type SourceDocument = DocumentContent & {
  /** index of the document in its source, over all its files */
  readonly index: number;
  /** index of the file in its source */
  readonly file: number;
  readonly indexInFile: number;
  /** where it stands, for messages: `prose.jsonl:17` */
  readonly place: string;
  /** byte just after the document in its (decompressed) file; null where the format has no such thing */
  readonly endOffset: number | null;
};

/** Which columns of a row hold the document. */
export interface Columns {
  readonly kind: "text" | "chat";
  readonly textColumn: string;
  readonly messagesColumn: string;
}

const MAX_MESSAGES = 10_000;
/** Other names of roles found in data sets and templates. */
const ROLE_NAMES: Readonly<Record<string, Role>> = {
  user: "user",
  human: "user",
  assistant: "assistant",
  model: "assistant",
  system: "system",
  developer: "system",
  tool: "tool",
  function: "tool",
  ipython: "tool",
};

/** Index into ROLES of a message's role. @throws {DataError} an unknown role */
export function roleIndex(role: string): number {
  const known = Object.hasOwn(ROLE_NAMES, role) ? ROLE_NAMES[role] : undefined;
  if (known === undefined)
    throw new DataError(
      `role ${JSON.stringify(role.slice(0, 80))}, expected one of ${Object.keys(ROLE_NAMES).join(", ")}`,
    );
  return ROLES.indexOf(known);
}

/** The document in one row of JSONL or Parquet. @throws {DataError} the column is missing or of another type */
export function documentOfRow(row: unknown, columns: Columns, place: string): DocumentContent {
  if (row === null || typeof row !== "object" || Array.isArray(row))
    throw new DataError(`${place}: got ${typeName(row)}, expected an object with columns`);
  const column = columns.kind === "text" ? columns.textColumn : columns.messagesColumn;
  const value = Object.hasOwn(row, column) ? (row as Record<string, unknown>)[column] : undefined;
  if (value === undefined) {
    const names = Object.keys(row).slice(0, 20).join(", ");
    throw new DataError(`${place}: no column "${column}"; the row has: ${names || "nothing"}`, {
      hint: `set ${columns.kind === "text" ? "textColumn" : "messagesColumn"}, or kind: ${columns.kind === "text" ? "chat" : "text"}`,
    });
  }
  if (columns.kind === "chat") return { messages: messagesOf(value, column, place) };
  if (typeof value !== "string")
    throw new DataError(`${place}: got ${typeName(value)} in "${column}", expected a string`);
  return { text: value };
}

function messagesOf(value: unknown, column: string, place: string): ChatMessage[] {
  if (!Array.isArray(value))
    throw new DataError(`${place}: got ${typeName(value)} in "${column}", expected a list of messages`);
  if (value.length > MAX_MESSAGES)
    throw new DataError(
      `${place}: ${value.length} messages in "${column}", at most ${MAX_MESSAGES} are read`,
    );
  return value.map((message: unknown, i) => {
    const { role, content } = (message ?? {}) as Record<string, unknown>;
    if (typeof role !== "string" || typeof content !== "string")
      throw new DataError(
        `${place}: message ${i} of "${column}" has role ${typeName(role)} and content ${typeName(content)}, expected two strings`,
        { hint: "a message is {role, content}" },
      );
    return { role, content };
  });
}

function typeName(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}
