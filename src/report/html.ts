/**
 * The one place where text becomes markup. `html` escapes whatever is put into it; only `Markup`, which is made here
 * from literal templates, passes as it is. A report shows tokens of other people's texts: none of it is trusted.
 */
import { visibleText } from "./visible-text.ts";

/** A piece of HTML or SVG that is safe to put in a page. */
export class Markup {
  readonly text: string;

  /** Only for literals and for what `html` has made. */
  constructor(text: string) {
    this.text = text;
  }
}

/** What may stand in a template. Nothing is shown for null, undefined and false; lists are joined. */
export type Content = Markup | string | number | null | undefined | false | readonly Content[];

/** html`<b>${text}</b>`: the template as it is, `text` escaped. */
export function html(template: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(template.reduce((text, part, i) => text + render(values[i - 1]) + part));
}

function render(content: Content): string {
  if (content === null || content === undefined || content === false) return "";
  if (content instanceof Markup) return content.text;
  if (typeof content === "string" || typeof content === "number") return escapeText(String(content));
  return content.map(render).join("");
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text as HTML, in elements and in quoted attributes; what cannot be seen is shown by its number. */
export function escapeText(text: string): string {
  return visibleText(text.replace(/[&<>"']/g, (character) => ENTITIES[character]));
}
