/** Which matches are shown, in which order. */
import type { Matches } from "../../data/matches.ts";
import type { Bounds, Direction } from "../../data/search.ts";
import { readBounds } from "../../parts/bounds-fields.tsx";
import type { GridColumn } from "../../parts/virtual-grid.tsx";

export type MatchKey = Exclude<keyof Matches, "encoder_cosine">;

export const MATCH_GRID: readonly GridColumn<MatchKey>[] = [
  { key: "latent", title: "Latent", isSortable: true, kind: "text wide" },
  {
    key: "nearest",
    title: "Nearest",
    meaning: "latent of the other whose decoder row is nearest",
    isSortable: false,
    kind: "text wide",
  },
  {
    key: "nearest_cosine",
    title: "Cosine",
    meaning: "cosine of the two decoder rows",
    isSortable: true,
    kind: "number",
  },
  {
    key: "decoder_cosine",
    title: "Same index",
    meaning: "cosine with the decoder row of the same index",
    isSortable: true,
    kind: "number minor",
  },
  { key: "density_a", title: "Density", meaning: "of the latent", isSortable: true, kind: "number minor" },
  {
    key: "density_b",
    title: "Density there",
    meaning: "of the nearest latent",
    isSortable: true,
    kind: "number minor",
  },
];

export interface MatchQuery {
  readonly cosine: Bounds;
  readonly density: Bounds;
  readonly sort: MatchKey;
  readonly direction: Direction;
}

export function readMatchQuery(search: URLSearchParams): MatchQuery {
  const sort = MATCH_GRID.find(({ key }) => key === search.get("sort"))?.key ?? "nearest_cosine";
  return {
    cosine: readBounds(search.get("cosine")),
    density: readBounds(search.get("density")),
    sort,
    direction: search.get("dir") === "down" ? "down" : "up",
  };
}

export function nextMatchSort(
  { sort, direction }: MatchQuery,
  pressed: MatchKey,
): { sort: string; dir: string | null } {
  return { sort: pressed, dir: sort === pressed && direction === "up" ? "down" : null };
}

/** Latents of a within the bounds, sorted; of equal ones the lowest first, those without the number last. */
export function findMatches(matches: Matches, { cosine, density, sort, direction }: MatchQuery): Uint32Array {
  const isIn = (value: number, { low, high }: Bounds) =>
    (low === null && high === null) ||
    (value >= (low ?? Number.NEGATIVE_INFINITY) && value <= (high ?? Number.POSITIVE_INFINITY));
  const rows = Uint32Array.from({ length: matches.latent.length }, (_, i) => i).filter(
    (i) => isIn(matches.nearest_cosine[i], cosine) && isIn(matches.density_a[i], density),
  );
  const sign = direction === "up" ? 1 : -1;
  const keys = matches[sort].map((value) => (Number.isNaN(value) ? Number.POSITIVE_INFINITY : sign * value));
  return rows.sort((x, y) => keys[x] - keys[y] || x - y);
}
