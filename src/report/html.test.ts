import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escapeText, html } from "./html.ts";
import { visibleSpaces } from "./visible-text.ts";

/** What a browser makes of escaped text. */
function readBack(text: string): string {
  const characters: Record<string, string> = { lt: "<", gt: ">", quot: '"', "#39": "'", amp: "&" };
  return text.replace(/&(lt|gt|quot|#39|amp);/g, (_, name: string) => characters[name]);
}

describe("escaping", () => {
  it("leaves no character that could end an element, an attribute or an entity, and loses nothing", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."<>&\"'/=`; abc\u{1f600}é") }), (text) => {
        const escaped = escapeText(text);
        expect(escaped).not.toMatch(/[<>"']|&(?!(lt|gt|quot|#39|amp);)/);
        expect(readBack(escaped)).toBe(text);
      }),
    );
  });

  it("shows what cannot be seen, or would turn the direction of writing, as its number", () => {
    expect(escapeText("a\u202eb\u0000c\u2066d\u007f")).toBe("a⟨U+202E⟩b⟨U+0000⟩c⟨U+2066⟩d⟨U+007F⟩");
    expect(escapeText("\ud83d")).toBe("⟨U+D83D⟩");
    expect(escapeText("\ud83d\ude00 שלום\n\t")).toBe("\ud83d\ude00 שלום\n\t");
  });

  it("makes white space visible", () => {
    expect(visibleSpaces("a\r\nb\n\tc")).toBe("a↵b↵⇥c");
  });
});

describe("templates", () => {
  it("escape values, pass markup, join lists, and show nothing for nothing", () => {
    const inner = html`<i>${"<"}</i>`;
    expect(html`<p title="${'"'}">${[inner, 0, null, undefined, false, ["a&b"]]}</p>`.text).toBe(
      '<p title="&quot;"><i>&lt;</i>0a&amp;b</p>',
    );
  });
});
