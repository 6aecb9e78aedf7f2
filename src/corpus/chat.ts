/**
 * A rendered chat, cut into whose words are whose: what a message said has its role, what the template wrote around it
 * has the role `template`. Found by rendering the same turns with placeholders for their contents: what comes out
 * between the placeholders is the template's, and the real rendering must be exactly that with the contents put back.
 */
import type { ChatTemplate } from "./chat-template.ts";
import { type ChatMessage, roleIndex } from "./document.ts";
import { ROLES } from "./windows.ts";

/** A stretch of rendered text; `role` is an index into ROLES. */
export interface Segment {
  readonly text: string;
  readonly role: number;
}

const TEMPLATE = ROLES.indexOf("template");
/** Placeholders stand between private-use characters, with the message's number. */
const PLACEHOLDER = /\u{F8F0}(\d+)\u{F8F1}/u;
const MAX_SKELETONS = 1000;

/** What a template writes around contents: `pieces[0] content(slots[0]) pieces[1] …` */
interface Skeleton {
  readonly pieces: readonly string[];
  /** message numbers */
  readonly slots: readonly number[];
}

export class ChatRenderer {
  readonly #template: ChatTemplate;
  /** by the sequence of roles, and whether an answer is begun; null where placeholders are refused */
  readonly #skeletons = new Map<string, Skeleton | null>();

  constructor(template: ChatTemplate) {
    this.#template = template;
  }

  /** Renders a chat; the segments' texts, joined, are the rendering. @throws {DataError} an unknown role, or the template's refusal */
  render(messages: readonly ChatMessage[], { generationPrompt = false } = {}): Segment[] {
    const roles = messages.map((message) => roleIndex(message.role));
    const text = this.#template.render(messages, { generationPrompt });
    const skeleton = this.#skeleton(messages, generationPrompt);
    return (
      (skeleton === null ? null : fillSkeleton(text, messages, roles, skeleton)) ??
      findContents(text, messages, roles)
    );
  }

  #skeleton(messages: readonly ChatMessage[], generationPrompt: boolean): Skeleton | null {
    const key = JSON.stringify([generationPrompt, ...messages.map((message) => message.role)]);
    let skeleton = this.#skeletons.get(key);
    if (skeleton === undefined) {
      if (this.#skeletons.size >= MAX_SKELETONS) this.#skeletons.clear();
      skeleton = this.#renderSkeleton(messages, generationPrompt);
      this.#skeletons.set(key, skeleton);
    }
    return skeleton;
  }

  #renderSkeleton(messages: readonly ChatMessage[], generationPrompt: boolean): Skeleton | null {
    let text: string;
    try {
      text = this.#template.render(
        messages.map(({ role }, i) => ({ role, content: `\u{F8F0}${i}\u{F8F1}` })),
        { generationPrompt },
      );
    } catch {
      return null;
    }
    const parts = text.split(PLACEHOLDER);
    return {
      pieces: parts.filter((_part, i) => i % 2 === 0),
      slots: parts.filter((_part, i) => i % 2 === 1).map(Number),
    };
  }
}

/** The segments, if the text is the skeleton with each content in its slot, as it is or trimmed; else null. */
function fillSkeleton(
  text: string,
  messages: readonly ChatMessage[],
  roles: readonly number[],
  { pieces, slots }: Skeleton,
): Segment[] | null {
  if (!text.startsWith(pieces[0])) return null;
  const segments: Segment[] = [{ text: pieces[0], role: TEMPLATE }];
  let cursor = pieces[0].length;
  for (const [i, message] of slots.entries()) {
    const after = pieces[i + 1];
    const isLast = i === slots.length - 1;
    const content = spellings(messages[message].content).find((spelling) => {
      const end = cursor + spelling.length;
      if (!text.startsWith(spelling, cursor) || !text.startsWith(after, end)) return false;
      return !isLast || end + after.length === text.length;
    });
    if (content === undefined) return null;
    segments.push({ text: content, role: roles[message] }, { text: after, role: TEMPLATE });
    cursor += content.length + after.length;
  }
  return cursor === text.length ? segments : null;
}

function spellings(content: string): string[] {
  return [content, content.trim(), content.trimEnd(), content.trimStart()];
}

/**
 * For templates that do more with contents than place them: looks for each content, in order. What is not found as it
 * stands counts as the template's.
 */
function findContents(text: string, messages: readonly ChatMessage[], roles: readonly number[]): Segment[] {
  const segments: Segment[] = [];
  let cursor = 0;
  for (const [i, message] of messages.entries()) {
    const content = message.content.trim();
    const at = content === "" ? -1 : text.indexOf(content, cursor);
    if (at < 0) continue;
    segments.push({ text: text.slice(cursor, at), role: TEMPLATE }, { text: content, role: roles[i] });
    cursor = at + content.length;
  }
  segments.push({ text: text.slice(cursor), role: TEMPLATE });
  return segments;
}
