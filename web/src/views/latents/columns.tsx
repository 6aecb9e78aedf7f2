/** The columns of the list, and what stands in their cells. */
import type { ComponentChildren } from "preact";
import type { SiteIndex } from "../../../../src/dashboard/site.ts";
import { count, fixed, percent, short, signed } from "../../../../src/report/numbers.ts";
import { visibleText } from "../../../../src/report/visible-text.ts";
import { type Latents, nameOf } from "../../data/latents.ts";
import type { SortKey } from "../../data/search.ts";
import type { GridColumn } from "../../parts/virtual-grid.tsx";
import { href } from "../../routes.ts";

const COLUMNS: readonly GridColumn<SortKey>[] = [
  { key: "latent", title: "Latent", isSortable: true, kind: "number" },
  {
    key: "label",
    title: "Label",
    meaning: "its explanation where there is one, else the token or tokens it fires on",
    isSortable: true,
    kind: "text wide",
  },
  {
    key: "density",
    title: "Density",
    meaning: "share of tokens on which it fires",
    isSortable: true,
    kind: "number",
  },
  { key: "act", title: "Max act", meaning: "largest activation", isSortable: true, kind: "number" },
  {
    key: "drift",
    title: "Drift",
    meaning: "cosine of its decoder row with the base SAE's; 1: unmoved",
    isSortable: true,
    kind: "number some",
  },
  {
    key: "change",
    title: "Δ density",
    meaning: "log₁₀ of its density over the base SAE's",
    isSortable: true,
    kind: "number minor",
  },
  {
    key: "level",
    title: "Level",
    meaning: "smallest matryoshka width that holds it",
    isSortable: true,
    kind: "number minor",
  },
  {
    key: "precision",
    title: "Prec.",
    meaning: "share of the label's occurrences on which it fires",
    isSortable: true,
    kind: "number minor",
  },
  {
    key: "recall",
    title: "Recall",
    meaning: "share of its activations that the label covers",
    isSortable: true,
    kind: "number minor",
  },
  {
    key: "score",
    title: "Score",
    meaning: "balanced accuracy of its explanation by detection; 0.5 is chance",
    isSortable: true,
    kind: "number some",
  },
];

/** Columns of which the index has numbers. */
export function latentColumns({ numbers, score }: Latents): readonly GridColumn<SortKey>[] {
  const has = (values: Float64Array | null) => values?.some((value) => !Number.isNaN(value)) ?? false;
  return COLUMNS.filter(({ key }) => {
    if (key === "drift") return has(numbers.decoder_drift_cosine);
    if (key === "change") return has(numbers.base_density);
    if (key === "level") return numbers.level.some((level) => level > 0);
    return key !== "score" || has(score);
  });
}

export function latentCell(
  latents: Latents,
  index: SiteIndex,
  latent: number,
  column: SortKey,
): ComponentChildren {
  const { numbers, score } = latents;
  const { density, base_density: before } = numbers;
  switch (column) {
    case "latent":
      return (
        <a href={href("latent", [index.id, latent])} tabIndex={-1}>
          {latent}
        </a>
      );
    case "label":
      return <LatentName latents={latents} latent={latent} />;
    case "density":
      return percent(density[latent]);
    case "act":
      return short(numbers.max_act[latent]);
    case "drift":
      return fixed(numbers.decoder_drift_cosine[latent], 3);
    case "change":
      return density[latent] > 0 && before[latent] > 0
        ? signed(Math.log10(density[latent] / before[latent]), 2)
        : density[latent] > 0
          ? "new"
          : before[latent] > 0
            ? "lost"
            : "–";
    case "level":
      return count(numbers.level[latent]);
    case "precision":
      return percent(numbers.label_precision[latent]);
    case "recall":
      return percent(numbers.label_recall[latent]);
    case "score":
      return fixed(score?.[latent], 2);
  }
}

/** What a latent is called, and what else is to be known of it at a glance. */
export function LatentName({ latents, latent }: { latents: Latents; latent: number }) {
  const name = nameOf(latents, latent);
  const { numbers } = latents;
  const isSilent = numbers.n_active[latent] === 0;
  return (
    <>
      {name === "" ? <span class="absent">no label</span> : <bdi class="name">{visibleText(name)}</bdi>}
      {isSilent && <span class="tag">silent</span>}
      {numbers.dead_in_training[latent] === 1 && <span class="tag bad">dead in training</span>}
      {numbers.n_resampled[latent] > 0 && <span class="tag">resampled</span>}
    </>
  );
}
