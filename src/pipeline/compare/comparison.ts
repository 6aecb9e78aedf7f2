/** What a comparison of two SAEs says: plain JSON, each number with its definition. Types only. */
import type { LatentComparisonSummary } from "../../evals/latents/comparison.ts";
import type { FiringAgreement } from "../../evals/latents/paired-firing.ts";
import type { Fate } from "../../evals/latents/pairs.ts";
import type { Interval, MetricName } from "../../evals/metrics.ts";
import type { EvalResult, IntervalMethod, SaeIdentity } from "../../evals/result.ts";

/** A and B on the same tokens. With the two exchanged, every difference has the other sign. */
export interface Comparison {
  readonly format: "lapidary-comparison";
  readonly version: 1;
  readonly a: ComparedIdentity;
  readonly b: ComparedIdentity;
  /** one a set of activations */
  readonly sets: readonly SetComparison[];
  /** by weights alone */
  readonly latents: LatentComparisonSummary;
  /** by weights, and by what fired on the tokens of all sets together */
  readonly changes: LatentChanges;
}

export interface ComparedIdentity {
  /** as the user named it */
  readonly name: string;
  readonly sae: SaeIdentity;
}

export interface SetComparison {
  readonly set: string;
  readonly hookName: string;
  readonly store: EvalResult["store"];
  readonly nTokens: number;
  readonly nDocuments: number;
  /** how every interval was made; those of differences draw the same documents for both */
  readonly intervals: IntervalMethod;
  readonly metrics: Readonly<Record<MetricName, ComparedMetric>>;
  /** latents that fired on none of the set's tokens */
  readonly neverFired: { readonly a: number; readonly b: number };
  /** whether the same latents fire on the same tokens */
  readonly firing: {
    /** null: the SAEs differ in width */
    readonly byIndex: FiringAgreement | null;
    readonly byDirection: FiringAgreement;
  };
}

export interface ComparedMetric {
  readonly definition: string;
  readonly unit: string;
  readonly a: Measured;
  readonly b: Measured;
  /** b − a */
  readonly difference: Measured;
  /** of the difference: −1 or 1 where its interval does not hold 0, 0 where it does; null: there is no interval */
  readonly sign: -1 | 0 | 1 | null;
}

export interface Measured {
  readonly value: number | null;
  readonly interval: Interval | null;
}

export interface LatentChanges {
  /** of all sets together */
  readonly nTokens: number;
  /** null: the SAEs differ in width */
  readonly byIndex: ChangesByIndex | null;
  readonly byDirection: ChangesByDirection;
}

export interface ChangesByIndex {
  readonly definition: string;
  /** latents of each fate; together all there are */
  readonly fates: Readonly<Record<Fate, number>>;
  /** of those that fired in both the ones that moved most, least decoder cosine first */
  readonly topMovers: readonly Mover[];
}

export interface Mover {
  readonly index: number;
  readonly decoderCosine: number;
  /** share of the tokens on which it fired */
  readonly frequency: { readonly a: number; readonly b: number };
  readonly fate: Fate;
  /** where in B the direction of A's latent is now, if anywhere */
  readonly foundAt: { readonly index: number; readonly cosine: number } | null;
}

export interface ChangesByDirection {
  readonly definition: string;
  /** pairs of latents that are each other's nearest, whatever their cosine */
  readonly nPairs: number;
  /** one entry a least cosine */
  readonly same: readonly {
    readonly cosine: number;
    readonly nPairs: number;
    /** latents that fired and have no partner of that cosine */
    readonly onlyInA: number;
    readonly onlyInB: number;
  }[];
}
