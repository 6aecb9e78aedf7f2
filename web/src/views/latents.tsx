/** All latents of an index: searched, sorted, filtered; and where they lie between density and drift. */
import { useEffect, useMemo, useState } from "preact/hooks";
import type { Site, SiteIndex } from "../../../src/dashboard/site.ts";
import { count, counted } from "../../../src/report/numbers.ts";
import { visibleText } from "../../../src/report/visible-text.ts";
import { type Latents, loadLatents } from "../data/latents.ts";
import { findPromoters } from "../data/reader.ts";
import { type Query, Searcher } from "../data/search.ts";
import { loadManifest, tableFile } from "../data/site.ts";
import { replace } from "../navigation.ts";
import { IndexChoice } from "../parts/index-choice.tsx";
import { Shown } from "../parts/notices.tsx";
import { type Loaded, useLoaded } from "../parts/use-loaded.ts";
import { VirtualGrid } from "../parts/virtual-grid.tsx";
import { href, type Route, withQuery } from "../routes.ts";
import { latentCell, latentColumns } from "./latents/columns.tsx";
import { DensityDrift } from "./latents/density-drift.tsx";
import { Filters } from "./latents/filters.tsx";
import { nextSort, readQuery } from "./latents/query.ts";

export interface LatentsViewProps {
  readonly site: Site;
  readonly index: SiteIndex;
  readonly route: Route;
}

export function LatentsView({ site, index, route }: LatentsViewProps) {
  const latents = useLoaded(() => loadLatents(index), index.id);
  useEffect(() => {
    document.title = `Latents of ${visibleText(index.title)} · Lapidary`;
  }, [index]);
  return (
    <>
      <div class="head">
        <h1>Latents</h1>
        <IndexChoice
          site={site}
          index={index}
          address={(id) => href("latents", [id], Object.fromEntries(route.query))}
        />
      </div>
      <Shown of={latents} what="the latents">
        {(value) => <LatentList index={index} latents={value} route={route} />}
      </Shown>
    </>
  );
}

function LatentList({ index, latents, route }: { index: SiteIndex; latents: Latents; route: Route }) {
  const searcher = useMemo(() => new Searcher(latents), [latents]);
  const columns = useMemo(() => latentColumns(latents), [latents]);
  const promotes = route.query.get("promotes") ?? "";
  const among = useLoaded(() => promoters(index, promotes), `${index.id} ${promotes}`);
  const search = route.query.toString();
  // the query is what `search` says
  const found = useMemo(() => {
    const query = readQuery(route.query);
    return { query, rows: searcher.find({ ...query, among: amongOf(among) }), search };
  }, [search, searcher, among]);
  const { query, rows } = found;
  const change = (patch: Record<string, string | null>) => replace(withQuery(route, patch));

  return (
    <div class="latents">
      <Filters latents={latents} columns={columns} query={query} promotes={promotes} onChange={change} />
      <section class="list" aria-label="List of latents">
        <Count rows={rows.length} of={latents.nLatents} promoters={among} />
        <VirtualGrid
          label="Latents"
          columns={columns}
          nRows={rows.length}
          version={found}
          cell={(row, column) => latentCell(latents, index, rows[row], column)}
          address={(row) => href("latent", [index.id, rows[row]])}
          sort={query.sort}
          direction={query.direction}
          onSort={(key) => change(nextSort(query, key))}
        />
      </section>
      <div class="beside-list">
        <DensityDrift
          index={index}
          latents={latents}
          searcher={searcher}
          query={query}
          rows={rows.length === latents.nLatents ? null : rows}
          onChange={change}
        />
      </div>
    </div>
  );
}

/** Says how many were found, aloud a moment after typing stops. */
function Count({ rows, of, promoters }: { rows: number; of: number; promoters: Loaded<Uint32Array | null> }) {
  const text =
    promoters.state === "waiting"
      ? "reading the logits …"
      : promoters.state === "failed"
        ? `the logits could not be read: ${visibleText(promoters.error.message)}`
        : rows === of
          ? counted(of, "latent")
          : `${count(rows)} of ${counted(of, "latent")}`;
  const [said, setSaid] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSaid(text), 400);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <>
      <p class="count" aria-hidden="true">
        {text}
      </p>
      <p class="unseen" role="status">
        {said}
      </p>
    </>
  );
}

async function promoters(index: SiteIndex, token: string): Promise<Uint32Array | null> {
  if (token === "") return null;
  return findPromoters(tableFile(index, await loadManifest(index), "logits"), token);
}

const NONE = new Uint32Array(0);
const amongOf = (among: Loaded<Uint32Array | null>): Query["among"] =>
  among.state === "here" ? among.value : NONE;
