/**
 * `data/overview.json`: what each run measured, for the page: the results before and after, predictions with the SAE
 * spliced in, training curves, what happened, where it all comes from. Every number was read from a result file or a log
 * of the run; nothing is measured for the page. Plain JSON; types only, safe in a browser.
 */

export interface Overview {
  readonly format: "lapidary-overview";
  readonly version: 1;
  /** in the order of `Site.runs`; empty where only indexes are shown */
  readonly runs: readonly RunOverview[];
}

export interface RunOverview {
  /** as in `Site.runs` and `SiteIndex.run` */
  readonly run: string;
  readonly title: string;
  /** the answer in one sentence: does the SAE fit the model? */
  readonly headline: string;
  readonly model: string;
  /** the model that the source SAE was made for; null: not named in the recipe */
  readonly baseModel: string | null;
  /** the SAE that training went on from; null: from scratch */
  readonly source: string | null;
  /** least VE on every set that is not a domain, from the recipe; null: the recipe sets none */
  readonly gate: number | null;
  /** held-out sets, in the recipe's order */
  readonly sets: readonly { readonly name: string; readonly sources: readonly string[] }[];
  readonly layers: readonly LayerOverview[];
  /** predictions with SAEs spliced in */
  readonly splices: readonly SpliceOverview[];
  /** what every name in `metrics`, and every curve, means; the unit is part of the text where it is not 1 */
  readonly definitions: Readonly<Record<string, string>>;
  readonly provenance: ProvenanceOverview;
}

/** home: source SAE on its own model. before: on the user's model. prepolish: trained. after: as exported. */
export type MeasuredPhase = "home" | "before" | "prepolish" | "after";

/** A number with its confidence interval; `low` and `high` are null where it has none. */
export interface Estimate {
  /** null: its definition divides by zero here */
  readonly value: number | null;
  readonly low: number | null;
  readonly high: number | null;
}

export interface LayerOverview {
  readonly layer: number;
  readonly hookName: string;
  readonly measurements: readonly MeasurementOverview[];
  /** dead by training's definition at its end; null: not known */
  readonly nDeadInTraining: number | null;
  /** the training, then its polish where there was one */
  readonly trainings: readonly TrainingOverview[];
  /** why it fits or does not, one for each of before and after that was measured: the worst set, in words */
  readonly verdicts: readonly VerdictOverview[];
}

export interface VerdictOverview {
  readonly phase: "before" | "after";
  readonly verdict: "fits" | "borderline" | "fails";
  /** the set it is about */
  readonly set: string;
  readonly reasons: readonly string[];
}

/** One SAE on one held-out set. */
export interface MeasurementOverview {
  readonly phase: MeasuredPhase;
  readonly set: string;
  /** a set of another kind of text: shown, not judged */
  readonly isDomain: boolean;
  readonly nTokens: number;
  readonly nDocuments: number;
  /** content hash of the SAE */
  readonly saeHash: string;
  /** by the names of docs/METRICS.md: ve, vePerToken, l0, l1, mse, cosine, l2Ratio, relativeReconstructionBias, normIn, normOut */
  readonly metrics: Readonly<Record<string, Estimate>>;
  /** of VE, this one less the source SAE on the same tokens; null before training, and from scratch */
  readonly veChange: Estimate | null;
  readonly nLatents: number;
  readonly nNeverFired: number;
  /** latents by log10 of the share of tokens they fire on: bin b is [floor + b · binWidth, floor + (b + 1) · binWidth) */
  readonly densities: {
    readonly floor: number;
    readonly binWidth: number;
    readonly counts: readonly number[];
  };
}

export interface TrainingOverview {
  readonly name: "training" | "polish";
  /** steps taken */
  readonly nSteps: number;
  /** false: it has not come to its end */
  readonly isFinished: boolean;
  /** the steps that stood in the end, at most 400 points: means over equal numbers of neighbouring logged steps */
  readonly curves: TrainingCurves;
  /** held-out VE as training read it, in the order of steps */
  readonly heldOut: { readonly step: readonly number[]; readonly ve: readonly number[] };
  readonly events: readonly TrainingMoment[];
}

/** Columns of equal length. */
export interface TrainingCurves {
  readonly step: readonly number[];
  readonly loss: readonly number[];
  readonly ve: readonly number[];
  readonly l0: readonly number[];
  readonly threshold: readonly number[];
  readonly dead: readonly number[];
  readonly gradNorm: readonly number[];
  readonly learningRate: readonly number[];
}

export interface TrainingMoment {
  readonly step: number;
  /** rollback and incident: something went wrong; note: worth knowing; resampling: dead latents were drawn anew */
  readonly kind: "rollback" | "incident" | "note" | "resampling";
  readonly text: string;
}

export interface SpliceOverview {
  readonly phase: "home" | "before" | "after";
  readonly set: string;
  /** layers replaced, all at once */
  readonly layers: readonly number[];
  readonly nTokens: number;
  readonly nDocuments: number;
  /** ceClean, ceSpliced, ceZero, ceMean, klSpliced, klZero, klMean, ceScore, klScore, ceScoreMean, klScoreMean */
  readonly metrics: Readonly<Record<string, Estimate>>;
}

export interface ProvenanceOverview {
  /** the recipe with every default written out, as YAML */
  readonly recipe: string;
  /** what was measured and saved, with its sha-256 */
  readonly files: readonly { readonly what: string; readonly sha256: string }[];
  readonly software: Readonly<Record<string, string>>;
  readonly machine: Readonly<Record<string, string>>;
  readonly seeds: readonly { readonly what: string; readonly seed: number }[];
}
