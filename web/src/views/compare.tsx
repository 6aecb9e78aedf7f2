/** Two SAEs or two seeds: what became of each latent of the one in the other. */
import { useEffect, useMemo } from "preact/hooks";
import type { Site, SiteComparison, SiteIndex } from "../../../src/dashboard/site.ts";
import { count, fixed, percent } from "../../../src/report/numbers.ts";
import { visibleText } from "../../../src/report/visible-text.ts";
import { type Latents, loadLatents } from "../data/latents.ts";
import { loadMatches, type Matches } from "../data/matches.ts";
import { findIndex } from "../data/site.ts";
import { go, replace } from "../navigation.ts";
import { Shown } from "../parts/notices.tsx";
import { useLoaded } from "../parts/use-loaded.ts";
import { VirtualGrid } from "../parts/virtual-grid.tsx";
import { href, type Route, withQuery } from "../routes.ts";
import { MatchFilters } from "./compare/filters.tsx";
import { findMatches, MATCH_GRID, type MatchKey, nextMatchSort, readMatchQuery } from "./compare/matches.ts";
import { MatchPlots } from "./compare/plots.tsx";
import { LatentName } from "./latents/columns.tsx";

export function CompareView({ site, route }: { site: Site; route: Route }) {
  const [a, b] = route.parts;
  const comparison =
    a === undefined ? site.comparisons[0] : site.comparisons.find((one) => one.a === a && one.b === b);
  useEffect(() => {
    document.title = "Compare · Lapidary";
  }, []);
  const [left, right] = [comparison?.a, comparison?.b].map((id) =>
    id === undefined ? undefined : findIndex(site, id),
  );
  return (
    <>
      <div class="head">
        <h1>Compare</h1>
        {site.comparisons.length > 0 && <Choice site={site} chosen={comparison} />}
      </div>
      {comparison === undefined || left === undefined || right === undefined ? (
        <p class="absent">
          {site.comparisons.length === 0
            ? "No two SAEs of this site were matched. Any two latents can still be looked at side by side: open one, and use “Beside the base SAE”."
            : "These two were not matched; choose another pair."}
        </p>
      ) : (
        <Comparison key={comparison.path} comparison={comparison} a={left} b={right} route={route} />
      )}
    </>
  );
}

function Choice({ site, chosen }: { site: Site; chosen: SiteComparison | undefined }) {
  const title = (id: string) => {
    const index = site.indexes.find((one) => one.id === id);
    return index === undefined ? id : `${index.run}: ${index.title}`;
  };
  const name = ({ a, b }: SiteComparison) => `${a} ${b}`;
  return (
    <label class="choice">
      <span>Pair</span>
      <select
        value={chosen === undefined ? "" : name(chosen)}
        onChange={(event) => {
          const pair = site.comparisons.find((one) => name(one) === event.currentTarget.value);
          if (pair !== undefined) go(href("compare", [pair.a, pair.b]));
        }}
      >
        {chosen === undefined && <option value="">Choose</option>}
        {site.comparisons.map((pair) => (
          <option key={name(pair)} value={name(pair)}>
            {visibleText(`${title(pair.a)} → ${title(pair.b)}`)}
          </option>
        ))}
      </select>
    </label>
  );
}

interface ComparisonProps {
  readonly comparison: SiteComparison;
  readonly a: SiteIndex;
  readonly b: SiteIndex;
  readonly route: Route;
}

function Comparison({ comparison, a, b, route }: ComparisonProps) {
  const loaded = useLoaded(
    () => Promise.all([loadMatches(comparison), loadLatents(a), loadLatents(b)]),
    comparison.path,
  );
  return (
    <Shown of={loaded} what="the comparison">
      {([matches, ofA, ofB]) => <MatchList {...{ comparison, a, b, route, matches, ofA, ofB }} />}
    </Shown>
  );
}

type MatchListProps = ComparisonProps & { matches: Matches; ofA: Latents; ofB: Latents };

function MatchList({ a, b, route, matches, ofA, ofB }: MatchListProps) {
  const search = route.query.toString();
  // the query is what `search` says
  const found = useMemo(() => {
    const query = readMatchQuery(route.query);
    return { query, rows: findMatches(matches, query) };
  }, [search, matches]);
  const { query, rows } = found;
  const change = (patch: Record<string, string | null>) => replace(withQuery(route, patch));
  const nLatents = matches.latent.length;
  const open = (latent: number) => {
    const other = matches.nearest[latent];
    return href("latent", [a.id, latent], { beside: Number.isNaN(other) ? null : `${b.id}/${other}` });
  };
  const cell = (latent: number, key: MatchKey) => {
    const other = matches.nearest[latent];
    if (key === "latent")
      return (
        <>
          <a href={open(latent)} tabIndex={-1}>
            {latent}
          </a>{" "}
          <LatentName latents={ofA} latent={latent} />
        </>
      );
    if (key === "nearest")
      return Number.isNaN(other) ? (
        "–"
      ) : (
        <>
          {other} <LatentName latents={ofB} latent={other} />
        </>
      );
    if (key === "density_a" || key === "density_b") return percent(matches[key][latent]);
    return fixed(matches[key][latent], 3);
  };
  return (
    <>
      <p class="lead">
        <span class="before">{visibleText(a.title)}</span> → <span class="after">{visibleText(b.title)}</span>
        . {shareAbove(matches, 0.9)} of its latents have a latent of the other with a decoder cosine of at
        least 0.9, {shareAbove(matches, 0.7)} one of at least 0.7.
      </p>
      <div class="latents matched">
        <MatchFilters query={query} onChange={change} />
        <section class="list" aria-label="List of matches">
          <p class="count" role="status">
            {rows.length === nLatents
              ? `${count(nLatents)} latents`
              : `${count(rows.length)} of ${count(nLatents)} latents`}
          </p>
          <VirtualGrid
            label="Latents and their nearest"
            columns={MATCH_GRID}
            nRows={rows.length}
            version={found}
            cell={(row, key) => cell(rows[row], key)}
            address={(row) => open(rows[row])}
            sort={query.sort}
            direction={query.direction}
            onSort={(key) => change(nextMatchSort(query, key))}
          />
        </section>
        <div class="beside-list">
          <MatchPlots
            matches={matches}
            query={query}
            rows={rows}
            onChange={change}
            onPick={(latent) => go(open(latent))}
            names={ofA}
          />
        </div>
      </div>
    </>
  );
}

function shareAbove({ nearest_cosine: cosines }: Matches, least: number): string {
  return percent(
    cosines.reduce((n, cosine) => n + (cosine >= least ? 1 : 0), 0) / Math.max(1, cosines.length),
  );
}
