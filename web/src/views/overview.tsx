/** What was run and how it came out: the answer, the results, the training, and the way into the latents. */
import { useEffect } from "preact/hooks";
import type { RunOverview } from "../../../src/dashboard/overview.ts";
import type { Site } from "../../../src/dashboard/site.ts";
import { count } from "../../../src/report/numbers.ts";
import { visibleText } from "../../../src/report/visible-text.ts";
import { loadManifest, loadOverview } from "../data/site.ts";
import { replace } from "../navigation.ts";
import { Heading, type Level } from "../parts/heading.tsx";
import { Shown } from "../parts/notices.tsx";
import { useLoaded } from "../parts/use-loaded.ts";
import { href, type Route, withQuery } from "../routes.ts";
import { Plots } from "./overview/plots.tsx";
import { Provenance } from "./overview/provenance.tsx";
import { EveryMetric, Results, Verdicts } from "./overview/results.tsx";
import { Splices } from "./overview/splices.tsx";
import { Trainings } from "./overview/trainings.tsx";

export function OverviewView({ site, route }: { site: Site; route: Route }) {
  const overview = useLoaded(loadOverview, "");
  useEffect(() => {
    document.title = `${visibleText(site.title)} · Lapidary`;
  }, [site]);
  return (
    <Shown of={overview} what="the overview">
      {({ runs }) => (
        <>
          {runs.length !== 1 && <h1>{visibleText(site.title)}</h1>}
          {runs.length > 1 && (
            <nav class="runs" aria-label="Runs">
              <ul>
                {runs.map(({ run, headline }) => (
                  <li key={run}>
                    <a href={href("overview", [], { run })}>{visibleText(run)}</a>: {visibleText(headline)}
                  </li>
                ))}
              </ul>
            </nav>
          )}
          {runs
            .filter(
              ({ run }, i) =>
                (route.query.get("run") ?? runs[0].run) === run || (runs.length === 1 && i === 0),
            )
            .map((run) => (
              <Run key={run.run} site={site} run={run} route={route} level={runs.length === 1 ? 2 : 3} />
            ))}
          <Indexes site={site} />
        </>
      )}
    </Shown>
  );
}

interface RunProps {
  readonly site: Site;
  readonly run: RunOverview;
  readonly route: Route;
  readonly level: Level;
}

function Run({ site, run, route, level }: RunProps) {
  return (
    <article class="run">
      <p class="run-name">{visibleText(run.run)}</p>
      {level === 2 ? <h1>{visibleText(run.headline)}</h1> : <h2>{visibleText(run.headline)}</h2>}
      <p class="lead">
        {run.source === null ? "Trained from scratch" : `From ${visibleText(run.source)}`} for{" "}
        {visibleText(run.model)}
        {run.baseModel !== null && `, made for ${visibleText(run.baseModel)}`}
        {run.gate !== null && `; it fits where VE is at least ${run.gate} on every set`}.
      </p>
      <Results run={run} level={level} />
      <Verdicts run={run} />
      <EveryMetric run={run} />
      <Layers site={site} run={run} route={route} level={level} />
      <Splices run={run} level={level} />
      <Provenance run={run} level={level} />
    </article>
  );
}

/** One layer at a time: how its latents fire, and how it was trained. */
function Layers({ site, run, route, level }: RunProps) {
  const layer = run.layers.find((one) => String(one.layer) === route.query.get("layer")) ?? run.layers[0];
  if (layer === undefined) return null;
  return (
    <section>
      <Heading level={level}>Layer {layer.layer}</Heading>
      {run.layers.length > 1 && (
        <div class="segments" role="group" aria-label="Layer">
          {run.layers.map((one) => (
            <button
              key={one.layer}
              type="button"
              aria-pressed={one === layer}
              onClick={() => replace(withQuery(route, { layer: one.layer }))}
            >
              Layer {one.layer}
            </button>
          ))}
        </div>
      )}
      <Plots site={site} run={run} layer={layer} level={(level + 1) as Level} />
      <Trainings run={run} layer={layer} level={(level + 1) as Level} />
    </section>
  );
}

/** The ways into the latents. */
function Indexes({ site }: { site: Site }) {
  return (
    <section>
      <Heading level={2}>Latent indexes</Heading>
      {site.indexes.length === 0 ? (
        <p class="absent">There is none yet.</p>
      ) : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col" class="text">
                  SAE
                </th>
                <th scope="col" class="text">
                  Run
                </th>
                <th scope="col">Latents</th>
                <th scope="col">Tokens indexed</th>
                <th scope="col" class="text">
                  Architecture
                </th>
              </tr>
            </thead>
            <tbody>
              {site.indexes.map((index) => (
                <IndexRow key={index.id} index={index} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {site.comparisons.length > 0 && (
        <ul class="comparisons">
          {site.comparisons.map(({ a, b }) => (
            <li key={`${a} ${b}`}>
              <a href={href("compare", [a, b])}>
                Compare {visibleText(titleOf(site, a))} with {visibleText(titleOf(site, b))}
              </a>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const titleOf = (site: Site, id: string) => site.indexes.find((index) => index.id === id)?.title ?? id;

function IndexRow({ index }: { index: Site["indexes"][number] }) {
  const manifest = useLoaded(() => loadManifest(index), index.id);
  const value = manifest.state === "here" ? manifest.value : null;
  return (
    <tr>
      <th scope="row" class="text">
        <a href={href("latents", [index.id])}>{visibleText(index.title)}</a>
      </th>
      <td class="text">{visibleText(index.run)}</td>
      <td>{manifest.state === "failed" ? "not readable" : count(value?.sae.dSae)}</td>
      <td>{count(value?.data.nTokens)}</td>
      <td class="text">{visibleText(value?.sae.architecture ?? "")}</td>
    </tr>
  );
}
