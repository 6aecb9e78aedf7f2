/** Ranges of matches, by number. */
import { BoundsFields, writeBounds } from "../../parts/bounds-fields.tsx";
import type { MatchQuery } from "./matches.ts";

export interface MatchFiltersProps {
  readonly query: MatchQuery;
  readonly onChange: (patch: Record<string, string | null>) => void;
}

export function MatchFilters({ query, onChange }: MatchFiltersProps) {
  return (
    <form class="filters" aria-label="Ranges" onSubmit={(event) => event.preventDefault()}>
      <BoundsFields
        legend="Cosine to the nearest"
        bounds={query.cosine}
        onChange={(bounds) => onChange({ cosine: writeBounds(bounds) })}
      />
      <BoundsFields
        legend="Density"
        bounds={query.density}
        onChange={(bounds) => onChange({ density: writeBounds(bounds) })}
      />
    </form>
  );
}
