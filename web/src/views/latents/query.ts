/** What a list's address asks for, and back. */
import { type Query, SORTS, type SortKey, STATES } from "../../data/search.ts";
import { readBounds } from "../../parts/bounds-fields.tsx";

/** Numbers that an address may bound, and how people call them. */
export const BOUNDED = {
  density: "Density",
  drift: "Drift (decoder cosine)",
  act: "Largest activation",
  change: "Density change (log₁₀)",
  score: "Score",
} as const satisfies Partial<Record<SortKey, string>>;
export type BoundedKey = keyof typeof BOUNDED;

/** Where larger comes first when a heading is pressed for the first time. */
const DOWN_FIRST: readonly SortKey[] = ["density", "act", "precision", "recall", "score"];

export function readQuery(search: URLSearchParams): Query {
  const sort = SORTS.find((key) => key === search.get("sort")) ?? "latent";
  const level = search.get("level");
  const ranges: Query["ranges"] = Object.fromEntries(
    (Object.keys(BOUNDED) as BoundedKey[])
      .map((key) => [key, readBounds(search.get(key))] as const)
      .filter(([, { low, high }]) => low !== null || high !== null),
  );
  return {
    text: search.get("q") ?? "",
    state: STATES.find((state) => state === search.get("state")) ?? "all",
    level: level === null || !/^\d+$/.test(level) ? null : Number(level),
    ranges,
    among: null,
    sort,
    direction: search.get("dir") === "down" ? "down" : "up",
  };
}

/** What pressing a heading does: sorts by it, or turns the order round. */
export function nextSort({ sort, direction }: Query, pressed: SortKey): { sort: string; dir: string | null } {
  const first = DOWN_FIRST.includes(pressed) ? "down" : "up";
  const next = sort !== pressed ? first : direction === "up" ? "down" : "up";
  return { sort: pressed, dir: next === "down" ? "down" : null };
}
