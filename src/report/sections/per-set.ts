/** Sections that show one thing for each held-out set of each layer. */
import type { LayerFacts, ReportFacts } from "../facts.ts";
import { grid, ofLayer } from "../figure.ts";
import type { Content, Markup } from "../html.ts";

/** Names of the sets, in the recipe's order. */
export function setsOf(facts: ReportFacts): string[] {
  const named = facts.sets.map(({ name }) => name);
  const found = facts.layers.flatMap(({ measurements }) => measurements.map(({ set }) => set));
  return [...new Set([...named.filter((name) => found.includes(name)), ...found])];
}

/** What `draw` makes of each set, under its layer's heading; null where there is nothing of any. */
export function perSet(
  facts: ReportFacts,
  draw: (layer: LayerFacts, set: string) => readonly Markup[],
  arrange: (drawn: readonly Markup[]) => Content = grid,
): Markup[] | null {
  const layers = facts.layers.flatMap((layer) => {
    const drawn = setsOf(facts).flatMap((set) => draw(layer, set));
    return drawn.length === 0 ? [] : [ofLayer(layer.layer, arrange(drawn))];
  });
  return layers.length === 0 ? null : layers;
}
