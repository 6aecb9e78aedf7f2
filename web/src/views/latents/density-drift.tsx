/** How often latents fire against how far they moved (or, without a base, how strongly they fire): brushed, it filters. */
import { useMemo } from "preact/hooks";
import type { SiteIndex } from "../../../../src/dashboard/site.ts";
import { fixed, percent, short } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { type Latents, nameOf } from "../../data/latents.ts";
import type { Bounds, Query, Searcher } from "../../data/search.ts";
import { go } from "../../navigation.ts";
import { writeBounds } from "../../parts/bounds-fields.tsx";
import { between, exponents, extent, valueAt } from "../../parts/scales.ts";
import { boxOf, SCATTER_AREA, Scatter } from "../../parts/scatter.tsx";
import { href } from "../../routes.ts";

export interface DensityDriftProps {
  readonly index: SiteIndex;
  readonly latents: Latents;
  readonly searcher: Searcher;
  readonly query: Query;
  /** drawn strong; null: all */
  readonly rows: Uint32Array | null;
  readonly onChange: (patch: Record<string, string | null>) => void;
}

const OPEN: Bounds = { low: null, high: null };

export function DensityDrift({ index, latents, searcher, query, rows, onChange }: DensityDriftProps) {
  const plot = useMemo(() => plotOf(searcher), [searcher]);
  if (plot === null) return null;
  const { key, xs, ys, x, y } = plot;
  const horizontal = { from: SCATTER_AREA.left, to: SCATTER_AREA.right };
  const vertical = { from: SCATTER_AREA.bottom, to: SCATTER_AREA.top };
  const [scaleX, scaleY] = [x(horizontal), y(vertical)];
  const density = query.ranges.density ?? OPEN;
  const log = (value: number | null) => (value === null ? null : value > 0 ? Math.log10(value) : scaleX.low);
  return (
    <figure class="density-drift">
      <figcaption>
        <span class="title">{plot.title}</span>{" "}
        <span class="caption">
          Drag to choose a range, click a point to open it; the fields under Ranges do the same.
        </span>
      </figcaption>
      <Scatter
        title={plot.title}
        description={`${plot.nPoints} latents; ${latents.nLatents - plot.nPoints} have no place here, as they never fire or have no base.`}
        xs={xs}
        ys={ys}
        among={rows}
        x={x}
        y={y}
        xLabel="density"
        yLabel={plot.yLabel}
        tip={(latent) =>
          `${latent} ${visibleText(nameOf(latents, latent))}\ndensity ${percent(latents.numbers.density[latent])}, ${plot.yLabel} ${key === "drift" ? fixed(ys[latent], 3) : short(ys[latent])}`
        }
        chosen={boxOf(
          { low: log(density.low), high: log(density.high) },
          query.ranges[key] ?? OPEN,
          scaleX,
          scaleY,
        )}
        onChoose={(box) =>
          onChange(
            box === null
              ? { density: null, [key]: null }
              : {
                  density: writeBounds({
                    low: 10 ** valueAt(scaleX, horizontal, box.left),
                    high: 10 ** valueAt(scaleX, horizontal, box.right),
                  }),
                  [key]: writeBounds({
                    low: valueAt(scaleY, vertical, box.bottom),
                    high: valueAt(scaleY, vertical, box.top),
                  }),
                },
          )
        }
        onPick={(latent) => go(href("latent", [index.id, latent]))}
      />
    </figure>
  );
}

/** What is drawn; null: no latent fires. */
export function plotOf(searcher: Searcher) {
  const xs = searcher.numbers("density").map((density) => (density > 0 ? Math.log10(density) : Number.NaN));
  const drift = searcher.numbers("drift");
  const key = drift.some((value) => !Number.isNaN(value)) ? "drift" : "act";
  const ys = searcher.numbers(key);
  const [wide, high] = [extent(xs), extent(ys)];
  if (wide === null || high === null) return null;
  const isDrift = key === "drift";
  return {
    key,
    xs,
    ys,
    nPoints: xs.reduce((n, value, i) => n + Number(!Number.isNaN(value) && !Number.isNaN(ys[i])), 0),
    x: exponents(wide.low, wide.high),
    y: isDrift ? between(Math.min(0, Math.floor(high.low * 4) / 4), 1) : between(0, high.high),
    title: isDrift ? "Density and drift" : "Density and largest activation",
    yLabel: isDrift ? "decoder cosine to base" : "largest activation",
  } as const;
}
