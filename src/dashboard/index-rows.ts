/** Rows of an index as they are read: keys are the files' column names (`tables.ts`), spelled as there. Types only. */

/** A row of `latents`. */
export interface LatentRow {
  readonly latent: number;
  readonly level: number;
  readonly n_active: number;
  readonly n_documents: number;
  readonly density: number;
  readonly min_act: number | null;
  readonly max_act: number | null;
  readonly mean_act: number | null;
  readonly decoder_norm: number;
  readonly encoder_norm: number;
  readonly encoder_decoder_cosine: number | null;
  readonly b_enc: number;
  readonly threshold: number | null;
  readonly dead_in_training: boolean | null;
  readonly n_resampled: number | null;
  readonly base_density: number | null;
  readonly decoder_drift_cosine: number | null;
  readonly encoder_drift_cosine: number | null;
  readonly logit_min: number | null;
  readonly logit_max: number | null;
  readonly logit_mean: number | null;
  readonly logit_std: number | null;
  readonly label: string;
  readonly label_kind: string;
  readonly label_precision: number | null;
  readonly label_recall: number | null;
}

/** A row of `histograms`. */
export interface HistogramRow {
  readonly latent: number;
  readonly activations: readonly number[];
  readonly logits: readonly number[] | null;
  readonly intervals: readonly number[];
}

/** A row of `examples`. */
export interface ExampleRow {
  readonly latent: number;
  readonly rank: number;
  readonly interval: number;
  readonly value: number;
  readonly document: number;
  readonly window: number;
  readonly position: number;
  readonly role: number;
  readonly source: number;
  readonly at: number;
  readonly tokens: readonly string[];
  readonly acts: readonly number[];
}

/** A row of `logits`. */
export interface LogitRow {
  readonly latent: number;
  readonly side: "top" | "bottom";
  readonly rank: number;
  readonly token_id: number;
  readonly token: string;
  readonly value: number;
}

/** A row of `neighbours`. */
export interface NeighbourRow {
  readonly latent: number;
  readonly kind: "decoder" | "firing";
  readonly rank: number;
  readonly other: number;
  readonly value: number;
  readonly cosine: number | null;
  readonly n_both: number | null;
  readonly jaccard: number | null;
}

/** A row of `splits`. */
export interface SplitRow {
  readonly latent: number;
  readonly kind: "role" | "source" | "position";
  readonly class: number;
  readonly n_active: number;
  readonly mean_act: number;
}

/** All that an index knows of one latent, each table's rows in the file's order. */
export interface LatentPage {
  readonly latent: LatentRow;
  readonly histograms: HistogramRow;
  readonly examples: readonly ExampleRow[];
  readonly logits: readonly LogitRow[];
  readonly neighbours: readonly NeighbourRow[];
  readonly splits: readonly SplitRow[];
}
