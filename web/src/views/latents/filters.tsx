/** What is searched for: words, state, level, ranges. Everything here stands in the address. */
import { useId, useState } from "preact/hooks";
import type { Latents } from "../../data/latents.ts";
import { type LatentState, type Query, type SortKey, STATES } from "../../data/search.ts";
import { BoundsFields, writeBounds } from "../../parts/bounds-fields.tsx";
import type { GridColumn } from "../../parts/virtual-grid.tsx";
import { BOUNDED, type BoundedKey, nextSort } from "./query.ts";

export interface FiltersProps {
  readonly latents: Latents;
  readonly columns: readonly GridColumn<SortKey>[];
  readonly query: Query;
  readonly promotes: string;
  readonly onChange: (patch: Record<string, string | null>) => void;
}

const STATE_NAMES: Readonly<Record<LatentState, string>> = {
  all: "All",
  alive: "Fire here",
  silent: "Never fire here",
  dead: "Dead in training",
  resampled: "Resampled",
};

const OPEN = { low: null, high: null };

export function Filters({ latents, columns, query, promotes, onChange }: FiltersProps) {
  const id = useId();
  // Open where the address came with ranges; brushing does not open it, since the plot would move from under the pointer.
  const [isOpen] = useState(Object.keys(query.ranges).length > 0);
  const { numbers, score } = latents;
  const known = (values: Float64Array | null) => values?.some((value) => !Number.isNaN(value)) ?? false;
  const states = STATES.filter(
    (state) =>
      (state !== "dead" || known(numbers.dead_in_training)) &&
      (state !== "resampled" || known(numbers.n_resampled)),
  );
  const nLevels = 1 + numbers.level.reduce((most, level) => Math.max(most, level), 0);
  const bounded = (Object.keys(BOUNDED) as BoundedKey[]).filter(
    (key) =>
      !((key === "drift" || key === "change") && !known(numbers.decoder_drift_cosine)) &&
      !(key === "score" && !known(score)),
  );
  const isNarrowed =
    query.text !== "" ||
    query.state !== "all" ||
    query.level !== null ||
    promotes !== "" ||
    Object.keys(query.ranges).length > 0;
  return (
    <form class="filters" role="search" aria-label="Latents" onSubmit={(event) => event.preventDefault()}>
      <label class="field">
        <span>Label, explanation or number</span>
        <input
          type="search"
          autocomplete="off"
          spellcheck={false}
          placeholder="e.g. bank, or 1234"
          value={query.text}
          onInput={(event) => onChange({ q: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>Promotes the token</span>
        <input
          type="search"
          autocomplete="off"
          spellcheck={false}
          value={promotes}
          aria-describedby={`${id}-promotes`}
          onChange={(event) => onChange({ promotes: event.currentTarget.value })}
        />
        <small id={`${id}-promotes`}>among its largest logits; press Enter</small>
      </label>
      <div class="fields">
        <label class="field">
          <span>State</span>
          <select
            value={query.state}
            onChange={(event) =>
              onChange({ state: event.currentTarget.value === "all" ? null : event.currentTarget.value })
            }
          >
            {states.map((state) => (
              <option key={state} value={state}>
                {STATE_NAMES[state]}
              </option>
            ))}
          </select>
        </label>
        {nLevels > 1 && (
          <label class="field">
            <span>Level</span>
            <select
              value={query.level ?? ""}
              onChange={(event) => onChange({ level: event.currentTarget.value })}
            >
              <option value="">All</option>
              {Array.from({ length: nLevels }, (_, level) => (
                <option key={level} value={level}>
                  {level}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      <div class="fields">
        <label class="field">
          <span>Sorted by</span>
          <select
            value={query.sort}
            onChange={(event) => onChange(nextSort(query, event.currentTarget.value as SortKey))}
          >
            {columns.map(({ key, title, meaning }) => (
              <option key={key} value={key} title={meaning}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Order</span>
          <select
            value={query.direction}
            onChange={(event) => onChange({ dir: event.currentTarget.value === "down" ? "down" : null })}
          >
            <option value="up">smallest first</option>
            <option value="down">largest first</option>
          </select>
        </label>
      </div>
      <details class="ranges" open={isOpen}>
        <summary>Ranges{rangesText(query)}</summary>
        {bounded.map((key) => (
          <BoundsFields
            key={key}
            legend={BOUNDED[key]}
            bounds={query.ranges[key] ?? OPEN}
            onChange={(bounds) => onChange({ [key]: writeBounds(bounds) })}
          />
        ))}
      </details>
      <button
        type="button"
        disabled={!isNarrowed}
        onClick={() =>
          onChange({
            q: null,
            promotes: null,
            state: null,
            level: null,
            ...Object.fromEntries(Object.keys(BOUNDED).map((key) => [key, null])),
          })
        }
      >
        Show all
      </button>
    </form>
  );
}

/** Which numbers are bounded. */
function rangesText({ ranges }: Query): string {
  const names = (Object.keys(ranges) as BoundedKey[]).map((key) => BOUNDED[key].toLowerCase());
  return names.length === 0 ? "" : `: ${names.join(", ")}`;
}
