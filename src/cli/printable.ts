/** Texts on their way to a terminal: names, tokens and answers are other people's, and must not steer it. */

/** Line breaks and tabs stay; other control characters, and those that turn the direction of text, become U+FFFD. */
export function printable(text: string): string {
  return text.replace(/(?![\n\t])(?:\p{Cc}|\p{Bidi_Control})/gu, "\uFFFD");
}
