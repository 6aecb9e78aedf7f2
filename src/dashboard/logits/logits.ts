/**
 * What a latent's decoder row does to the model's predictions, by the model's own head. Types only.
 *
 * `logits[i] = wDec[i] · W_U`: cut after the final norm and before the soft cap; no norm, no cap, no centring, as
 * SAEDashboard computes them. With `finalNorm` the row is multiplied by the final norm's weight first.
 */

export interface LogitLens {
  readonly vocabSize: number;
  readonly finalNorm: boolean;
  /** Logits of `rows` [n, dIn], one result a row. */
  logitsOf(rows: Float32Array): Promise<readonly LatentLogits[]>;
  close(): Promise<void>;
}

export interface LatentLogits {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  /** over the vocabulary, divided by its size */
  readonly std: number;
  /** [HISTOGRAM_BINS] tokens of the vocabulary by logit, equal bins of [min, max], the last closed */
  readonly histogram: Uint32Array;
  /** largest first, then lowest id; `bottom`: smallest first */
  readonly top: RankedTokens;
  readonly bottom: RankedTokens;
}

export interface RankedTokens {
  readonly ids: Uint32Array;
  readonly values: Float32Array;
}
