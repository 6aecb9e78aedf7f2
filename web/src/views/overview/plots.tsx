/** How often latents fire, before and after, and how far they moved: dragging over a plot opens those latents. */
import { useMemo } from "preact/hooks";
import type { LayerOverview, MeasurementOverview, RunOverview } from "../../../../src/dashboard/overview.ts";
import type { Site, SiteIndex } from "../../../../src/dashboard/site.ts";
import { percent } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { loadLatents } from "../../data/latents.ts";
import { Searcher } from "../../data/search.ts";
import { go } from "../../navigation.ts";
import { writeBounds } from "../../parts/bounds-fields.tsx";
import { Heading, type Level } from "../../parts/heading.tsx";
import { Histogram } from "../../parts/histogram.tsx";
import { Shown } from "../../parts/notices.tsx";
import { exponents } from "../../parts/scales.ts";
import { useLoaded } from "../../parts/use-loaded.ts";
import { href } from "../../routes.ts";
import { DensityDrift } from "../latents/density-drift.tsx";
import { readQuery } from "../latents/query.ts";

export interface PlotsProps {
  readonly site: Site;
  readonly run: RunOverview;
  readonly layer: LayerOverview;
  readonly level: Level;
}

export function Plots({ site, run, layer, level }: PlotsProps) {
  const index = site.indexes.find(
    (one) => one.run === run.run && one.layer === layer.layer && one.phase !== "before",
  );
  return (
    <section>
      <Heading level={level}>How often latents fire, and how far they moved</Heading>
      <div class="plots">
        <Densities layer={layer} index={index} />
        {index !== undefined && <Drift key={index.id} index={index} />}
      </div>
    </section>
  );
}

function Densities({ layer, index }: { layer: LayerOverview; index: SiteIndex | undefined }) {
  const last = (phase: MeasurementOverview["phase"], set?: string) =>
    layer.measurements.find(
      (one) => one.phase === phase && !one.isDomain && (set === undefined || one.set === set),
    );
  const after = last("after") ?? last("before");
  if (after === undefined) return null;
  const before = after.phase === "after" ? last("before", after.set) : undefined;
  const { low, high, counts, beforeCounts } = firingDensities(after, before);
  return (
    <figure>
      <figcaption>
        <span class="title">Density on {visibleText(after.set)}</span>{" "}
        <span class="caption">
          latents by share of tokens; <span class="after">after</span>
          {beforeCounts !== undefined && (
            <>
              , <span class="before">before</span> as a dashed line
            </>
          )}
          . {percent(after.nNeverFired / after.nLatents)} never fire.
          {index !== undefined && " Drag over it to list those latents."}
        </span>
      </figcaption>
      <Histogram
        title="Density"
        xLabel="share of tokens"
        yLabel="latents"
        low={low}
        high={high}
        counts={counts}
        before={beforeCounts}
        format={(value) => percent(10 ** value)}
        x={exponents(low, high)}
        onChoose={
          index === undefined
            ? undefined
            : (range) =>
                range !== null &&
                go(
                  href("latents", [index.id], {
                    density: writeBounds({ low: 10 ** range.low, high: 10 ** range.high }),
                    sort: "density",
                    dir: "down",
                  }),
                )
        }
      />
      {index !== undefined && (
        <p class="caption">
          <a href={href("latents", [index.id], { sort: "density", dir: "down" })}>All latents by density</a>
        </p>
      )}
    </figure>
  );
}

/**
 * The bins from the first power of ten that anything fires at; a latent that never fires stands in the lowest bin of all, and
 * is left out. `before` only where its bins are the same.
 */
export function firingDensities(after: MeasurementOverview, before: MeasurementOverview | undefined) {
  const { floor, binWidth } = after.densities;
  const firing = ({ densities, nNeverFired }: MeasurementOverview) =>
    densities.counts.map((value, bin) => (bin === 0 ? Math.max(0, value - nNeverFired) : value));
  const isLike =
    before !== undefined &&
    before.densities.floor === floor &&
    before.densities.binWidth === binWidth &&
    before.densities.counts.length === after.densities.counts.length;
  const [counts, others] = [firing(after), isLike ? firing(before) : undefined];
  const first = counts.findIndex((value, bin) => value > 0 || (others?.[bin] ?? 0) > 0);
  const from = Math.max(
    0,
    Math.round((Math.floor(floor + Math.max(0, first) * binWidth + 1e-9) - floor) / binWidth),
  );
  return {
    low: floor + from * binWidth,
    high: floor + binWidth * counts.length,
    counts: counts.slice(from),
    beforeCounts: others?.slice(from),
  };
}

/** Reads the index's columns, after the page stands. */
function Drift({ index }: { index: SiteIndex }) {
  const latents = useLoaded(() => loadLatents(index), index.id);
  return (
    <Shown of={latents} what="the latents">
      {(value) => <DriftPlot index={index} latents={value} />}
    </Shown>
  );
}

const EVERYTHING = readQuery(new URLSearchParams());

function DriftPlot({
  index,
  latents,
}: {
  index: SiteIndex;
  latents: Awaited<ReturnType<typeof loadLatents>>;
}) {
  const searcher = useMemo(() => new Searcher(latents), [latents]);
  return (
    <DensityDrift
      index={index}
      latents={latents}
      searcher={searcher}
      query={EVERYTHING}
      rows={null}
      onChange={(patch) =>
        Object.values(patch).some((value) => value !== null) && go(href("latents", [index.id], patch))
      }
    />
  );
}
