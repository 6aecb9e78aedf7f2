/**
 * The tables of a latent index: which Parquet files it has, their columns, what each column means. The one place where
 * this is said: the builder creates its tables from it, the page and the exports read by it, docs/formats/index.md is
 * written from it. Safe in a browser; nothing is read or written here.
 *
 * Every table is sorted by latent, in row groups of 2048 rows, so that what belongs to one latent is read without the
 * rest: a reader takes the row groups whose statistics of `latent` cover it.
 */

/** Rows of a row group: the least that DuckDB writes. */
export const ROW_GROUP_ROWS = 2048;
/** Bins of both histograms. */
export const HISTOGRAM_BINS = 50;
/** Equal intervals of (0, max] from which examples are sampled. */
export const INTERVALS = 5;

export interface Column {
  /** as in the file */
  readonly name: string;
  /** DuckDB's type; the Parquet type follows from it */
  readonly type: string;
  readonly nullable?: true;
  readonly meaning: string;
}

export interface Table {
  readonly file: string;
  /** what one row is */
  readonly row: string;
  readonly columns: readonly Column[];
}

const LATENT: Column = { name: "latent", type: "UINTEGER", meaning: "the latent, 0 … dSae − 1" };

/** One row a latent, scalars only: what is searched and sorted. */
const latents: Table = {
  file: "latents.parquet",
  row: "a latent",
  columns: [
    LATENT,
    {
      name: "level",
      type: "UTINYINT",
      meaning: "index of the smallest matryoshka width that holds it; 0 without widths",
    },
    { name: "n_active", type: "UINTEGER", meaning: "indexed tokens on which it fires" },
    { name: "n_documents", type: "UINTEGER", meaning: "documents in which it fires" },
    { name: "density", type: "DOUBLE", meaning: "n_active / indexed tokens" },
    {
      name: "min_act",
      type: "FLOAT",
      nullable: true,
      meaning: "smallest positive activation; lower edge of the histogram",
    },
    {
      name: "max_act",
      type: "FLOAT",
      nullable: true,
      meaning: "largest activation; upper edge of the histogram",
    },
    {
      name: "mean_act",
      type: "FLOAT",
      nullable: true,
      meaning: "mean activation over the tokens on which it fires",
    },
    { name: "decoder_norm", type: "FLOAT", meaning: "‖wDec[i]‖₂" },
    { name: "encoder_norm", type: "FLOAT", meaning: "‖wEnc[i]‖₂" },
    {
      name: "encoder_decoder_cosine",
      type: "FLOAT",
      nullable: true,
      meaning: "cosine of its encoder and decoder rows",
    },
    { name: "b_enc", type: "FLOAT", meaning: "its encoder bias" },
    { name: "threshold", type: "FLOAT", nullable: true, meaning: "its threshold; null without one" },
    {
      name: "dead_in_training",
      type: "BOOLEAN",
      nullable: true,
      meaning: "dead by training's definition at its end; null: not known",
    },
    {
      name: "n_resampled",
      type: "UINTEGER",
      nullable: true,
      meaning: "how often training resampled it; null: not known",
    },
    {
      name: "base_density",
      type: "DOUBLE",
      nullable: true,
      meaning: "density of the base SAE's latent of this index on the same tokens",
    },
    {
      name: "decoder_drift_cosine",
      type: "FLOAT",
      nullable: true,
      meaning: "cosine of its decoder row with the base SAE's",
    },
    {
      name: "encoder_drift_cosine",
      type: "FLOAT",
      nullable: true,
      meaning: "cosine of its encoder row with the base SAE's",
    },
    {
      name: "logit_min",
      type: "FLOAT",
      nullable: true,
      meaning: "smallest logit; lower edge of the logit histogram",
    },
    {
      name: "logit_max",
      type: "FLOAT",
      nullable: true,
      meaning: "largest logit; upper edge of the logit histogram",
    },
    { name: "logit_mean", type: "FLOAT", nullable: true, meaning: "mean logit over the vocabulary" },
    {
      name: "logit_std",
      type: "FLOAT",
      nullable: true,
      meaning: "standard deviation of the logits over the vocabulary",
    },
    { name: "label", type: "VARCHAR", meaning: "baseline label, made without a language model; empty: none" },
    {
      name: "label_kind",
      type: "VARCHAR",
      meaning: "token, ngram, output (from the top logits alone) or none",
    },
    {
      name: "label_precision",
      type: "FLOAT",
      nullable: true,
      meaning: "share of the trigger's indexed occurrences on which it fires",
    },
    {
      name: "label_recall",
      type: "FLOAT",
      nullable: true,
      meaning: "share of its activations (tokens) that the trigger covers",
    },
  ],
};

/** One row a latent: counts by bin. Edges follow from `latents`: equal bins of [min, max]. */
const histograms: Table = {
  file: "histograms.parquet",
  row: "a latent",
  columns: [
    LATENT,
    {
      name: "activations",
      type: `UINTEGER[]`,
      meaning: `tokens by activation, ${HISTOGRAM_BINS} equal bins of [min_act, max_act], the last closed; empty if it never fires`,
    },
    {
      name: "logits",
      type: `UINTEGER[]`,
      nullable: true,
      meaning: `vocabulary by logit, ${HISTOGRAM_BINS} equal bins of [logit_min, logit_max], the last closed`,
    },
    {
      name: "intervals",
      type: `UINTEGER[]`,
      meaning: `tokens with an activation in each of ${INTERVALS} equal intervals of (0, max_act], closed above`,
    },
  ],
};

/** Where it fires, in context. */
const examples: Table = {
  file: "examples.parquet",
  row: "an example of a latent: first the largest, then those sampled from each interval, the highest interval first",
  columns: [
    LATENT,
    { name: "rank", type: "UINTEGER", meaning: "0, 1, … within the latent" },
    {
      name: "interval",
      type: "TINYINT",
      meaning: `−1: among the largest, one a document; 0 … ${INTERVALS - 1}: sampled from that interval of (0, max_act]`,
    },
    { name: "value", type: "FLOAT", meaning: "activation at the example's token" },
    { name: "document", type: "UINTEGER", meaning: "document number within the indexed set" },
    { name: "window", type: "UINTEGER", meaning: "window of the corpus set" },
    { name: "position", type: "UINTEGER", meaning: "position of the example's token in its window, 0 = BOS" },
    { name: "role", type: "UTINYINT", meaning: "index into the manifest's splits.role" },
    { name: "source", type: "UTINYINT", meaning: "index into the manifest's splits.source" },
    { name: "at", type: "UTINYINT", meaning: "index of the example's token in tokens" },
    { name: "tokens", type: "VARCHAR[]", meaning: "text of the tokens around it, in order" },
    {
      name: "acts",
      type: "FLOAT[]",
      meaning:
        "the latent's activation at each of them; 0 where it does not fire or the position is excluded",
    },
  ],
};

/** What it promotes and suppresses through the model's own head. */
const logits: Table = {
  file: "logits.parquet",
  row: "a token among a latent's largest or smallest logits: wDec[i] · unembedding",
  columns: [
    LATENT,
    { name: "side", type: "VARCHAR", meaning: "top (largest first) or bottom (smallest first)" },
    { name: "rank", type: "UTINYINT", meaning: "0, 1, … within the side" },
    { name: "token_id", type: "UINTEGER", meaning: "of the vocabulary" },
    { name: "token", type: "VARCHAR", meaning: "its text" },
    { name: "value", type: "FLOAT", meaning: "logit per unit of activation" },
  ],
};

/** Which latents are like it. */
const neighbours: Table = {
  file: "neighbours.parquet",
  row: "another latent, near by its decoder row or by firing together",
  columns: [
    LATENT,
    {
      name: "kind",
      type: "VARCHAR",
      meaning:
        "decoder: by cosine of decoder rows; firing: by correlation of activations over all indexed tokens",
    },
    { name: "rank", type: "UTINYINT", meaning: "0 = nearest within the kind" },
    { name: "other", type: "UINTEGER", meaning: "the other latent" },
    { name: "value", type: "FLOAT", meaning: "decoder: cosine; firing: Pearson correlation, zeros included" },
    { name: "cosine", type: "FLOAT", nullable: true, meaning: "firing: cosine of the activations" },
    { name: "n_both", type: "UINTEGER", nullable: true, meaning: "firing: tokens on which both fire" },
    {
      name: "jaccard",
      type: "FLOAT",
      nullable: true,
      meaning: "firing: n_both / tokens on which either fires",
    },
  ],
};

/** Among which tokens it fires. */
const splits: Table = {
  file: "splits.parquet",
  row: "a class of tokens on which a latent fires at least once",
  columns: [
    LATENT,
    { name: "kind", type: "VARCHAR", meaning: "role, source or position" },
    {
      name: "class",
      type: "UTINYINT",
      meaning: "index into the manifest's splits of that kind, which hold names and numbers of tokens",
    },
    { name: "n_active", type: "UINTEGER", meaning: "tokens of the class on which it fires" },
    { name: "mean_act", type: "FLOAT", meaning: "its mean activation on those" },
  ],
};

export const TABLES = { latents, histograms, examples, logits, neighbours, splits } as const;
export type TableName = keyof typeof TABLES;
