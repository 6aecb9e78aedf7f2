/**
 * What the page is given: `data/site.json` says which indexes there are and what else may be asked; the same layout comes
 * from `lapidary serve` and from a static export, so that the page has one way to read. Types only, safe in a browser.
 *
 *   index.html, assets/…                   the page
 *   data/site.json                         Site
 *   data/overview.json                     what the run measured: results, curves, incidents
 *   data/<index.path>/index.json, *.parquet    each latent index, read by range requests
 *   data/<index.path>/explanations.parquet     if `explanations` is true
 *   data/matches/*.parquet                 of each comparison
 *   api/encode, api/steer                  only when served, and `live` is not null
 */
import type { Column } from "./tables.ts";

/** `data/site.json`. */
export interface Site {
  readonly format: "lapidary-site";
  readonly version: 1;
  readonly title: string;
  /** what was run, for people */
  readonly runs: readonly string[];
  readonly indexes: readonly SiteIndex[];
  /** pairs of indexes whose latents were matched */
  readonly comparisons: readonly SiteComparison[];
  /** null: a static export, or no model could be found: nothing can be typed or steered, and `notLive` says why */
  readonly live: SiteLive | null;
  readonly notLive: string | null;
}

/** A latent index, as the page is told of it. */
export interface SiteIndex {
  /** unique; stands in the page's URLs, e.g. "layer-4" or "layer-4-before" */
  readonly id: string;
  /** folder under data/ */
  readonly path: string;
  /** for people, e.g. "layer 4, adapted" */
  readonly title: string;
  readonly run: string;
  readonly layer: number | null;
  readonly phase: "before" | "after" | null;
  /** id of the index of the SAE it was adapted from, on the same tokens */
  readonly base: string | null;
  readonly explanations: boolean;
}

export interface SiteComparison {
  readonly a: string;
  readonly b: string;
  /** Parquet file under data/: columns MATCH_COLUMNS */
  readonly path: string;
}

/** A row a latent of `a`: what became of it in `b`. */
export const MATCH_COLUMNS = [
  { name: "latent", type: "UINTEGER", meaning: "latent of a" },
  {
    name: "decoder_cosine",
    type: "FLOAT",
    nullable: true,
    meaning:
      "cosine of its decoder row with that of the same index in b; null if the sizes differ, or one is zero",
  },
  { name: "encoder_cosine", type: "FLOAT", nullable: true, meaning: "the same of encoder rows" },
  {
    name: "nearest",
    type: "UINTEGER",
    nullable: true,
    meaning: "latent of b whose decoder row is nearest; null: it has no direction",
  },
  { name: "nearest_cosine", type: "FLOAT", nullable: true, meaning: "that cosine" },
  { name: "density_a", type: "DOUBLE", meaning: "density of the latent in a" },
  { name: "density_b", type: "DOUBLE", nullable: true, meaning: "density of the nearest latent in b" },
] as const satisfies readonly Column[];

export interface SiteLive {
  /** ids of the indexes whose SAE can be run */
  readonly indexes: readonly string[];
  readonly model: string;
  /** the model has a chat template: messages can be sent */
  readonly chat: boolean;
  readonly contextSize: number;
  /** for people: steering runs the whole context again for each token */
  readonly note: string;
}
