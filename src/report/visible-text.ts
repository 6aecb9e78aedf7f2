/** Other people's text, made visible: what would be invisible, or would reorder what stands around it, is shown by its number. */

/**
 * Control characters, halves of surrogate pairs and the characters that turn the direction of writing become ⟨U+202E⟩;
 * tabs and line breaks stay.
 */
export function visibleText(text: string): string {
  return text.replace(UNSHOWABLE, (character) => `⟨U+${hex(character)}⟩`);
}

/** White space made visible: a token that is a line break is otherwise an empty cell. */
export function visibleSpaces(text: string): string {
  return text.replace(/\r?\n/g, "↵").replace(/\t/g, "⇥");
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
const UNSHOWABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Cs}/gu;

function hex(character: string): string {
  return character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
}
