/** One latent: what it is called, when it fires, what it does, what it is like; beside its base, or beside any other. */
import { useEffect } from "preact/hooks";
import type { Site, SiteIndex } from "../../../src/dashboard/site.ts";
import { visibleText } from "../../../src/report/visible-text.ts";
import { type LatentDetail, loadLatent, nameOfLatent } from "../data/latent.ts";
import { baseOf, findIndex, loadManifest } from "../data/site.ts";
import { go } from "../navigation.ts";
import { IndexChoice } from "../parts/index-choice.tsx";
import { Shown } from "../parts/notices.tsx";
import { type Loaded, useLoaded } from "../parts/use-loaded.ts";
import { href, type Route, withQuery } from "../routes.ts";
import type { SheetProps } from "./latent/props.ts";
import { LatentSheet } from "./latent/sheet.tsx";

export interface LatentViewProps {
  readonly site: Site;
  readonly index: SiteIndex;
  readonly route: Route;
}

export function LatentView({ site, index, route }: LatentViewProps) {
  const manifest = useLoaded(() => loadManifest(index), index.id);
  const text = route.parts[1] ?? "";
  const latent = /^\d{1,9}$/.test(text) ? Number(text) : -1;
  return (
    <Shown of={manifest} what="the index">
      {({ sae }) =>
        latent >= 0 && latent < sae.dSae ? (
          <Latent site={site} index={index} route={route} latent={latent} nLatents={sae.dSae} />
        ) : (
          <>
            <h1>No such latent</h1>
            <p>
              {visibleText(index.title)} has latents 0 … {sae.dSae - 1}.
            </p>
            <p>
              <a href={href("latents", [index.id])}>All latents</a>
            </p>
          </>
        )
      }
    </Shown>
  );
}

function Latent({
  site,
  index,
  route,
  latent,
  nLatents,
}: LatentViewProps & { latent: number; nLatents: number }) {
  const detail = useLoaded(() => loadLatent(index, latent), `${index.id}/${latent}`);
  const name = detail.state === "here" ? visibleText(nameOfLatent(detail.value)) : "";
  useEffect(() => {
    document.title = `Latent ${latent}${name === "" ? "" : `: ${name}`} · Lapidary`;
  }, [latent, name]);
  const base = baseOf(site, index);
  const beside = besideOf(site, route.query.get("beside"));
  const isSideBySide = beside !== null;
  return (
    <>
      <div class="head">
        <nav aria-label="Neighbouring numbers" class="steps">
          {latent > 0 && (
            <a href={href("latent", [index.id, latent - 1])} rel="prev" aria-label={`Latent ${latent - 1}`}>
              ‹
            </a>
          )}
          {latent < nLatents - 1 && (
            <a href={href("latent", [index.id, latent + 1])} rel="next" aria-label={`Latent ${latent + 1}`}>
              ›
            </a>
          )}
        </nav>
        <h1>
          Latent {latent}
          {name !== "" && (
            <>
              {" "}
              <bdi class="called">{name}</bdi>
            </>
          )}
        </h1>
        <IndexChoice site={site} index={index} address={(id) => href("latent", [id, latent])} />
      </div>
      <p class="actions">
        {base !== undefined && !isSideBySide && (
          <a class="button" href={withQuery(route, { beside: `${base.id}/${latent}` })}>
            Beside the base SAE
          </a>
        )}
        {isSideBySide && (
          <a class="button" href={withQuery(route, { beside: null })}>
            Alone
          </a>
        )}
        <BesideForm site={site} index={index} latent={latent} route={route} />
        {site.live?.indexes.includes(index.id) === true && (
          <a class="button" href={href("steer", [index.id], { do: `add:${latent}` })}>
            Steer with it
          </a>
        )}
      </p>
      {beside === null ? (
        <Sheet index={index} latent={latent} level={2} detail={detail} />
      ) : (
        <div class="side-by-side">
          <section aria-labelledby="left-title">
            <h2 id="left-title" class="column-title">
              {visibleText(index.title)}, latent {latent}
            </h2>
            <Sheet index={index} latent={latent} level={3} detail={detail} />
          </section>
          <section aria-labelledby="right-title">
            <h2 id="right-title" class="column-title before">
              {visibleText(beside.index.title)}, latent {beside.latent}
            </h2>
            <Other index={beside.index} latent={beside.latent} />
          </section>
        </div>
      )}
    </>
  );
}

/** Any latent of any index may be put beside this one. */
function BesideForm({
  site,
  index,
  latent,
  route,
}: {
  site: Site;
  index: SiteIndex;
  latent: number;
  route: Route;
}) {
  const others = [...site.indexes.filter(({ id }) => id !== index.id), index];
  return (
    <form
      class="beside-form"
      aria-label="Beside another latent"
      onSubmit={(event) => {
        event.preventDefault();
        const fields = new FormData(event.currentTarget);
        go(withQuery(route, { beside: `${String(fields.get("index"))}/${String(fields.get("latent"))}` }));
      }}
    >
      <select name="index" aria-label="SAE of the other latent">
        {others.map(({ id, title, run }) => (
          <option key={id} value={id}>
            {visibleText(`${run}: ${title}`)}
          </option>
        ))}
      </select>
      <input
        name="latent"
        type="number"
        min={0}
        step={1}
        required
        aria-label="Number of the other latent"
        defaultValue={latent}
      />
      <button type="submit">Put beside</button>
    </form>
  );
}

function Other({ index, latent }: { index: SiteIndex; latent: number }) {
  const detail = useLoaded(() => loadLatent(index, latent), `${index.id}/${latent}`);
  return <Sheet index={index} latent={latent} level={3} detail={detail} />;
}

function Sheet({ detail, ...props }: Omit<SheetProps, "detail"> & { detail: Loaded<LatentDetail> }) {
  return (
    <Shown of={detail} what={`latent ${props.latent}`}>
      {(value) => <LatentSheet {...props} detail={value} />}
    </Shown>
  );
}

/** "<index>/<latent>" of a query, where there is such an index. */
function besideOf(site: Site, text: string | null): { index: SiteIndex; latent: number } | null {
  const [, id, number] = /^(.+)\/(\d+)$/.exec(text ?? "") ?? [];
  const index = id === undefined ? undefined : findIndex(site, id);
  return index === undefined ? null : { index, latent: Number(number) };
}
