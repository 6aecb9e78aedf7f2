/** Addresses lead back to where they were made, and others to nowhere. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { href, parseRoute, VIEWS, withQuery } from "./routes.ts";

describe("addresses", () => {
  it("are read back as they were written, whatever stands in them", () => {
    const text = fc.string({ unit: "grapheme", minLength: 1 });
    fc.assert(
      fc.property(
        fc.constantFrom(...VIEWS.filter((view) => view !== "overview")),
        fc.array(text, { maxLength: 3 }),
        fc.dictionary(text, text),
        (view, parts, query) => {
          const route = parseRoute(href(view, parts, query));
          expect(route?.view).toBe(view);
          expect(route?.parts).toEqual(parts);
          expect(Object.fromEntries(route?.query ?? [])).toEqual({ ...query });
        },
      ),
    );
  });

  it("without a view is the overview; with an unknown one, or a broken one, none", () => {
    for (const hash of ["", "#", "#/", "#/?run=a"]) expect(parseRoute(hash)?.view).toBe("overview");
    expect(parseRoute("#/nowhere")).toBeNull();
    expect(parseRoute("#/latent/%E0%A4%A")).toBeNull();
  });

  it("keep what a patch does not name, and drop what it empties", () => {
    const route = parseRoute("#/latents/a?q=bank&sort=density");
    expect(route && withQuery(route, { q: null, dir: "down" })).toBe("#/latents/a?sort=density&dir=down");
  });
});
