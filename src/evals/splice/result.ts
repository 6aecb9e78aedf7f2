/** What splicing an SAE into the model did to its predictions: plain JSON, each number with its definition. Types only. */
import type { Metric } from "../metrics.ts";
import type { IntervalMethod, SaeIdentity } from "../result.ts";

/** One or more layers' SAEs, spliced in together, on one set. */
export interface SpliceResult {
  readonly format: "lapidary-splice";
  readonly version: 1;
  readonly set: string;
  /** layers whose residual stream was replaced, all at once, ascending */
  readonly layers: readonly number[];
  /** one a layer */
  readonly saes: readonly SaeIdentity[];
  /** identity of the windows that were run */
  readonly windows: { readonly hash: string; readonly nWindows: number };
  /** replaced positions: kept ones; the others pass through */
  readonly nTokens: number;
  readonly nDocuments: number;
  readonly intervals: IntervalMethod;
  readonly metrics: SpliceMetrics;
  /** what SAELens 6.18 would report for these tokens; absent where it was not asked for */
  readonly saelens618?: SaelensSpliceMetrics;
}

/** In nats a token. "zero" and "mean": the kept positions replaced by zeros, or by the set's mean activation. */
export interface SpliceMetrics {
  readonly ceClean: Metric;
  readonly ceSpliced: Metric;
  readonly ceZero: Metric;
  readonly ceMean: Metric;
  readonly klSpliced: Metric;
  readonly klZero: Metric;
  readonly klMean: Metric;
  /** (ceZero − ceSpliced) / (ceZero − ceClean) */
  readonly ceScore: Metric<number | null>;
  /** (klZero − klSpliced) / klZero */
  readonly klScore: Metric<number | null>;
  /** the same two against mean ablation */
  readonly ceScoreMean: Metric<number | null>;
  readonly klScoreMean: Metric<number | null>;
}

/** By SAELens' own names. */
export type SaelensSpliceMetrics = Readonly<
  Record<
    `saelens618.${
      | "ce_loss_score"
      | "ce_loss_without_sae"
      | "ce_loss_with_sae"
      | "ce_loss_with_ablation"
      | "kl_div_score"
      | "kl_div_with_sae"
      | "kl_div_with_ablation"}`,
    Metric<number | null>
  >
>;
