/**
 * A label as text, and back: what is stored of a trigger says exactly on which tokens it predicts that the latent fires.
 *
 *   " bank"          on that token
 *   " of the"        on the last of two or three tokens with this text
 *   after " the"     on the token after that one
 *   promotes "a"     no trigger: tokens of its largest logits
 *
 * Texts are JSON strings. Safe in a browser.
 */
import type { Label } from "./labels.ts";

const AFTER = "after ";
const MOST_TOKENS = 3;

export function runText(tokens: readonly string[]): string {
  return JSON.stringify(tokens.join(""));
}

export function afterText(token: string): string {
  return AFTER + JSON.stringify(token);
}

export function outputText(tokens: readonly string[]): string {
  return `promotes ${tokens.map((token) => JSON.stringify(token)).join(", ")}`;
}

/** Predicts where a latent fires. */
export interface Trigger {
  /** Whether at token `at` of a text, given as its tokens' texts in order; tokens before the first are not known, and match nothing. */
  fires(tokens: readonly string[], at: number): boolean;
}

/** The trigger that a stored label names; null: it names none. */
export function triggerOf({ kind, text }: Pick<Label, "kind" | "text">): Trigger | null {
  if (kind !== "token" && kind !== "ngram") return null;
  const isAfter = text.startsWith(AFTER);
  const wanted = parseText(isAfter ? text.slice(AFTER.length) : text);
  if (wanted === null) return null;
  if (isAfter) return { fires: (tokens, at) => at > 0 && tokens[at - 1] === wanted };
  if (kind === "token") return { fires: (tokens, at) => tokens[at] === wanted };
  return {
    fires: (tokens, at) => {
      let run = tokens[at];
      for (let length = 2; length <= MOST_TOKENS && at - length + 1 >= 0; length++) {
        run = tokens[at - length + 1] + run;
        if (run === wanted) return true;
      }
      return false;
    },
  };
}

function parseText(json: string): string | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "string" ? value : null;
  } catch {
    return null;
  }
}
