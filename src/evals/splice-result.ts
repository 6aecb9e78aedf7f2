/** What splicing an SAE into the model did to its predictions: plain JSON, each number with its definition. Types only. */
import type { Metric } from "./metrics.ts";
import type { IntervalMethod, SaeIdentity } from "./result.ts";

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
