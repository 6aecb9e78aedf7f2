/**
 * Addresses: every state of the page is in the hash, so that it can be kept, sent and gone back to, on any file host.
 *
 *   #/                                  the overview
 *   #/latents/<index>?q=…&sort=…        a list
 *   #/latent/<index>/<latent>           one latent; ?beside=<index>/<latent>: next to another
 *   #/compare/<a>/<b>                   two indexes
 *   #/try/<index>?text=…                typed text
 *   #/steer/<index>?do=…&text=…         steered text
 */

export const VIEWS = ["overview", "latents", "latent", "compare", "try", "steer"] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  readonly view: View;
  /** what stands after the view, decoded */
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
}

/** null: no view has this address. */
export function parseRoute(hash: string): Route | null {
  const [path, search = ""] = splitOnce(hash.replace(/^#?\/?/, ""), "?");
  const [first, ...rest] = path.split("/").filter((part) => part !== "");
  const view = first === undefined ? "overview" : VIEWS.find((name) => name === first);
  if (view === undefined) return null;
  try {
    return { view, parts: rest.map(decodeURIComponent), query: new URLSearchParams(search) };
  } catch {
    return null;
  }
}

/** The address of a view, e.g. `#/latent/layer-4/17?beside=…`; empty and undefined values are left out. */
export function href(
  view: View,
  parts: readonly (string | number)[] = [],
  query: Readonly<Record<string, string | number | null | undefined>> = {},
): string {
  const path = [
    ...(view === "overview" && parts.length === 0 ? [] : [view]),
    ...parts.map((part) => encodeURIComponent(part)),
  ];
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  const text = search.toString();
  return `#/${path.join("/")}${text === "" ? "" : `?${text}`}`;
}

/** The same place with other values in its query. */
export function withQuery(
  route: Route,
  patch: Readonly<Record<string, string | number | null | undefined>>,
): string {
  return href(route.view, route.parts, { ...Object.fromEntries(route.query), ...patch });
}

function splitOnce(text: string, mark: string): [string, string?] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
