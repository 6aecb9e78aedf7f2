/** How alike the matched latents are: all cosines, and the densities of both sides. */
import { useMemo } from "preact/hooks";
import { fixed, percent } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { type Latents, nameOf } from "../../data/latents.ts";
import type { Matches } from "../../data/matches.ts";
import { writeBounds } from "../../parts/bounds-fields.tsx";
import { Histogram } from "../../parts/histogram.tsx";
import { between, countBins, exponents, extent, valueAt } from "../../parts/scales.ts";
import { boxOf, SCATTER_AREA, Scatter } from "../../parts/scatter.tsx";
import type { MatchQuery } from "./matches.ts";

export interface MatchPlotsProps {
  readonly matches: Matches;
  readonly names: Latents;
  readonly query: MatchQuery;
  readonly rows: Uint32Array;
  readonly onChange: (patch: Record<string, string | null>) => void;
  readonly onPick: (latent: number) => void;
}

const BINS = 40;

export function MatchPlots({ matches, names, query, rows, onChange, onPick }: MatchPlotsProps) {
  const plot = useMemo(() => plotOf(matches), [matches]);
  const { low, high } = query.cosine;
  return (
    <>
      <figure>
        <figcaption>
          <span class="title">Cosine to the nearest</span>{" "}
          <span class="caption">latents by cosine; drag to choose a range.</span>
        </figcaption>
        <Histogram
          title="Cosine to the nearest latent"
          xLabel="cosine"
          yLabel="latents"
          low={plot.least}
          high={1}
          counts={plot.counts}
          format={(value) => fixed(value, 2)}
          x={between(plot.least, 1)}
          chosen={low === null && high === null ? null : { low: low ?? plot.least, high: high ?? 1 }}
          onChoose={(range) => onChange({ cosine: range === null ? null : writeBounds(range) })}
        />
      </figure>
      {plot.scatter !== null && (
        <DensityDensity plot={plot.scatter} {...{ matches, names, query, rows, onChange, onPick }} />
      )}
    </>
  );
}

function DensityDensity(
  props: MatchPlotsProps & { plot: NonNullable<ReturnType<typeof plotOf>["scatter"]> },
) {
  const { matches, names, query, rows, onChange, onPick, plot } = props;
  const horizontal = { from: SCATTER_AREA.left, to: SCATTER_AREA.right };
  const scaleX = plot.x(horizontal);
  const scaleY = between(plot.least, 1)({ from: SCATTER_AREA.bottom, to: SCATTER_AREA.top });
  const log = (value: number | null) => (value === null ? null : value > 0 ? Math.log10(value) : scaleX.low);
  return (
    <figure>
      <figcaption>
        <span class="title">Density and cosine</span>{" "}
        <span class="caption">Drag to choose a range of both; click a point to open the pair.</span>
      </figcaption>
      <Scatter
        title="Density and cosine to the nearest"
        description={`${matches.latent.length} latents`}
        xs={plot.xs}
        ys={matches.nearest_cosine}
        among={rows.length === matches.latent.length ? null : rows}
        x={plot.x}
        y={between(plot.least, 1)}
        xLabel="density"
        yLabel="cosine to the nearest"
        tip={(latent) =>
          `${latent} ${visibleText(nameOf(names, latent))}\ncosine ${fixed(matches.nearest_cosine[latent], 3)}, density ${percent(matches.density_a[latent])} → ${percent(matches.density_b[latent])}`
        }
        chosen={boxOf(
          { low: log(query.density.low), high: log(query.density.high) },
          query.cosine,
          scaleX,
          scaleY,
        )}
        onChoose={(box) =>
          onChange(
            box === null
              ? { density: null, cosine: null }
              : {
                  density: writeBounds({
                    low: 10 ** valueAt(scaleX, horizontal, box.left),
                    high: 10 ** valueAt(scaleX, horizontal, box.right),
                  }),
                  cosine: writeBounds({
                    low: valueAt(scaleY, { from: SCATTER_AREA.bottom, to: SCATTER_AREA.top }, box.bottom),
                    high: valueAt(scaleY, { from: SCATTER_AREA.bottom, to: SCATTER_AREA.top }, box.top),
                  }),
                },
          )
        }
        onPick={onPick}
      />
    </figure>
  );
}

function plotOf(matches: Matches) {
  const cosines = matches.nearest_cosine;
  const least = Math.min(0, Math.floor((extent(cosines)?.low ?? 0) * 4) / 4);
  const xs = matches.density_a.map((density) => (density > 0 ? Math.log10(density) : Number.NaN));
  const wide = extent(xs);
  return {
    least,
    counts: countBins(cosines, least, 1, BINS),
    scatter: wide === null ? null : { least, xs, x: exponents(wide.low, wide.high) },
  };
}
