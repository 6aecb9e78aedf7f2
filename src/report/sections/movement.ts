/** Which latents training moved: how far their decoder row turned, against how much more or less often they fire. */
import { densityChart, densityKey } from "../charts/density.ts";
import { linear } from "../charts/scale.ts";
import type { LatentMovement, ReportFacts } from "../facts.ts";
import { figure, grid, type Section, type Table } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { count, fixed, percent } from "../numbers.ts";

/** latents drawn singly and listed: half of them for their turn, half for their frequency */
const SINGLED = 20;
/** decoder cosines below this are counted as moved */
const MOVED = 0.9;

export function movementSection(facts: ReportFacts): Section {
  const moved = facts.layers.flatMap(({ layer, movement }) =>
    movement === null ? [] : [{ layer, movement }],
  );
  return {
    id: "moved",
    title: "Latents that moved most",
    body:
      moved.length === 0
        ? null
        : [
            html`<p>Each latent before and after: to the left, its decoder row turned; up, it fires more often. One that fired only before, or only after, counts as half a token where it did not. ${densityKey()} Rings: the latents that turned farthest or changed their frequency most.</p>
`,
            grid(moved.map(({ layer, movement }) => movementFigure(layer, movement))),
          ],
  };
}

interface Moved {
  readonly latent: number;
  readonly cosine: number;
  readonly change: number;
}

function movementFigure(layer: number, { decoderCosine, logFrequencyChange }: LatentMovement): Markup {
  const all = Array.from(decoderCosine, (cosine, latent) => ({
    latent,
    cosine,
    change: logFrequencyChange[latent],
  }));
  const shown = all.filter(({ cosine, change }) => !Number.isNaN(cosine) && !Number.isNaN(change));
  const farthest = extremes(shown);
  const widest = shown.reduce((most, { change }) => Math.max(most, Math.abs(change)), 0.5);
  const lowest = shown.reduce((least, { cosine }) => Math.min(least, cosine), 0.9);
  const turned = shown.filter(({ cosine }) => cosine < MOVED).length;
  return figure({
    title: `Layer ${layer}.`,
    layer,
    caption: `${count(shown.length)} of ${count(all.length)} latents; the others never fired on the held-out sets, before or after. ${percent(turned / Math.max(1, shown.length))} have a cosine below ${MOVED}.`,
    charts: densityChart({
      title: `Decoder cosine against change of firing frequency, layer ${layer}`,
      description: `${count(shown.length)} latents; half of them have a decoder cosine above ${fixed(median(shown.map(({ cosine }) => cosine)), 3)}.`,
      xs: shown.map(({ cosine }) => cosine),
      ys: shown.map(({ change }) => change),
      singled: farthest.map((index) => ({ index, tip: tipOf(shown[index]) })),
      x: (range) => linear(lowest, 1, range),
      y: (range) => linear(-widest, widest, range, { pieces: 6 }),
      xLabel: "cosine of decoder rows, before and after",
      yLabel: "change of log10 firing frequency",
    }),
    table: numbers(
      layer,
      farthest.map((index) => shown[index]),
    ),
  });
}

/** Places of the latents that turned most and of those whose frequency changed most. */
function extremes(shown: readonly Moved[]): number[] {
  const order = shown.map((_, i) => i);
  const turned = [...order].sort((a, b) => shown[a].cosine - shown[b].cosine || a - b).slice(0, SINGLED / 2);
  const changed = [...order]
    .sort((a, b) => Math.abs(shown[b].change) - Math.abs(shown[a].change) || a - b)
    .slice(0, SINGLED / 2);
  return [...new Set([...turned, ...changed])];
}

function tipOf({ latent, cosine, change }: Moved): string {
  return `latent ${latent}: cosine ${fixed(cosine, 3)}, fires ${fixed(10 ** change, 2)} times as often`;
}

function numbers(layer: number, farthest: readonly Moved[]): Table {
  return {
    caption: `Latents that moved farthest, layer ${layer}`,
    columns: ["latent", "decoder cosine", "change of log10 frequency", "fires … times as often"],
    rows: farthest.map(({ latent, cosine, change }) => [
      String(latent),
      fixed(cosine, 4),
      fixed(change, 3),
      fixed(10 ** change, 2),
    ]),
  };
}

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? null : sorted[sorted.length >> 1];
}
