/** The frame of every view: what it is called, where one can go, and the view itself. */
import { useEffect, useRef } from "preact/hooks";
import type { Site } from "../../src/dashboard/site.ts";
import { visibleText } from "../../src/report/visible-text.ts";
import { findIndex, loadSite } from "./data/site.ts";
import { useRoute } from "./navigation.ts";
import { Failure } from "./parts/notices.tsx";
import { ThemeChoice } from "./parts/theme-choice.tsx";
import { Tip } from "./parts/tip.tsx";
import { useLoaded } from "./parts/use-loaded.ts";
import { href, type Route, type View } from "./routes.ts";
import { CompareView } from "./views/compare.tsx";
import { LatentView } from "./views/latent.tsx";
import { LatentsView } from "./views/latents.tsx";
import { OverviewView } from "./views/overview.tsx";
import { SteerView } from "./views/steer.tsx";
import { TryView } from "./views/try.tsx";

const TABS: readonly { readonly view: View; readonly title: string }[] = [
  { view: "overview", title: "Overview" },
  { view: "latents", title: "Latents" },
  { view: "compare", title: "Compare" },
  { view: "try", title: "Try it" },
  { view: "steer", title: "Steer" },
];

export function App() {
  const route = useRoute();
  const site = useLoaded(loadSite, "");
  const main = useRef<HTMLElement>(null);
  const place = route === null ? "" : [route.view, ...route.parts].join("/");
  const previous = useRef(place);
  useEffect(() => {
    if (previous.current === place) return;
    previous.current = place;
    main.current?.focus({ preventScroll: true });
    scrollTo({ top: 0 });
  }, [place]);

  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to content
      </button>
      <header class="top">
        <p class="brand">
          <a href={href("overview")}>Lapidary</a>
          {site.state === "here" && <span class="site-title">{visibleText(site.value.title)}</span>}
        </p>
        <nav aria-label="Views">
          <ul>
            {TABS.map(({ view, title }) => (
              <li key={view}>
                <a
                  href={tabAddress(view, route, site.state === "here" ? site.value : null)}
                  aria-current={isUnder(route, view) ? "page" : undefined}
                >
                  {title}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <ThemeChoice />
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {site.state === "waiting" && <p class="waiting">Loading …</p>}
        {site.state === "failed" && <Failure error={site.error} what="Opening this site" />}
        {site.state === "here" && <Viewed route={route} site={site.value} />}
      </main>
      <Tip />
    </>
  );
}

function Viewed({ route, site }: { route: Route | null; site: Site }) {
  if (route === null)
    return (
      <>
        <h1>There is no such page</h1>
        <p>
          <a href={href("overview")}>Go to the overview</a>
        </p>
      </>
    );
  if (route.view === "overview") return <OverviewView site={site} route={route} />;
  if (route.view === "compare") return <CompareView site={site} route={route} />;
  const index = findIndex(site, route.parts[0]);
  if (index === undefined)
    return (
      <>
        <h1>No such index</h1>
        <p>
          {site.indexes.length === 0
            ? "This site has no latent index: make one with lapidary index, or run a recipe to its end."
            : `This site has no index “${visibleText(route.parts[0] ?? "")}”.`}
        </p>
        <ul>
          {site.indexes.map(({ id, title }) => (
            <li key={id}>
              <a href={href("latents", [id])}>{visibleText(title)}</a>
            </li>
          ))}
        </ul>
      </>
    );
  if (route.view === "latents") return <LatentsView key={index.id} site={site} index={index} route={route} />;
  if (route.view === "latent") return <LatentView site={site} index={index} route={route} />;
  if (route.view === "try") return <TryView key={index.id} site={site} index={index} route={route} />;
  return <SteerView key={index.id} site={site} index={index} route={route} />;
}

/** Tabs keep the index that is looked at. */
function tabAddress(view: View, route: Route | null, site: Site | null): string {
  const id =
    route === null || route.view === "overview" || route.view === "compare" ? undefined : route.parts[0];
  if (view === "overview") return href("overview");
  if (view === "compare") {
    const comparison = site?.comparisons.find(({ a, b }) => a === id || b === id) ?? site?.comparisons[0];
    return comparison === undefined ? href("compare") : href("compare", [comparison.a, comparison.b]);
  }
  return href(view, id === undefined ? [] : [id]);
}

function isUnder(route: Route | null, view: View): boolean {
  return route?.view === view || (route?.view === "latent" && view === "latents");
}
