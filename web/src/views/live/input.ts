/** What is typed, and how it stands in an address. */
import type { ChatMessage, LiveInput } from "../../../../src/dashboard/live.ts";

export const ROLES = ["system", "user", "assistant"] as const satisfies readonly ChatMessage["role"][];

/** null: the address holds none. */
export function readInput(search: URLSearchParams): LiveInput | null {
  const text = search.get("text");
  if (text !== null) return { kind: "text", text };
  const messages = readMessages(search.get("chat"));
  return messages === null ? null : { kind: "chat", messages };
}

export function writeInput(input: LiveInput): { text: string | null; chat: string | null } {
  return input.kind === "text"
    ? { text: input.text, chat: null }
    : { text: null, chat: JSON.stringify(input.messages.map(({ role, content }) => [role, content])) };
}

export function isEmpty(input: LiveInput): boolean {
  return input.kind === "text" ? input.text === "" : input.messages.every(({ content }) => content === "");
}

/** [role, content] pairs; anything else is as if it were not there; null: there is none. */
function readMessages(json: string | null): ChatMessage[] | null {
  try {
    const pairs: unknown = JSON.parse(json ?? "null");
    if (!Array.isArray(pairs) || pairs.length === 0) return null;
    const messages = pairs.flatMap((pair: unknown) => {
      const [role, content] = Array.isArray(pair) ? (pair as unknown[]) : [];
      const known = ROLES.find((name) => name === role);
      return known === undefined || typeof content !== "string" ? [] : [{ role: known, content }];
    });
    return messages.length === 0 ? null : messages;
  } catch {
    return null;
  }
}
