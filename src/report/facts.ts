/**
 * What a report is made from: everything here was read from the files of a run. The pipeline fills it, `renderReport`
 * turns it into a page; neither measures anything.
 */
import type { PairedDifference } from "../evals/bootstrap.ts";
import type { LatentSummary } from "../evals/firing.ts";
import type { EvalResult, IntervalMethod } from "../evals/result.ts";
import type { SpliceResult } from "../evals/splice/result.ts";
import type { MetricsLine } from "../train/metrics.ts";

export interface ReportFacts {
  readonly title: string;
  /** name of the run */
  readonly run: string;
  readonly model: string;
  /** the model that the source SAE was made for; null: not named in the recipe */
  readonly baseModel: string | null;
  /** the SAE that training went on from; null: from scratch */
  readonly source: string | null;
  /** least VE on every set, from the recipe; null: the recipe sets none */
  readonly gate: number | null;
  /** activations were made elsewhere: whether training saw the held-out texts is not known to the run */
  readonly isImported: boolean;
  /** held-out sets in the recipe's order */
  readonly sets: readonly SetFacts[];
  readonly layers: readonly LayerFacts[];
  readonly splices: readonly SpliceFacts[];
  readonly provenance: Provenance;
}

export interface SetFacts {
  readonly name: string;
  /** where its texts came from */
  readonly sources: readonly string[];
}

/** home: source SAE on its own model. before: on the user's model. prepolish: trained. after: as exported. */
export type Phase = "home" | "before" | "prepolish" | "after";

export interface LayerFacts {
  readonly layer: number;
  readonly hookName: string;
  readonly measurements: readonly Measurement[];
  /** by training's definition; null: training was shorter than that looks back, or there was none */
  readonly deadInTraining: number | null;
  /** the training, then its polish where there was one */
  readonly trainings: readonly TrainingFacts[];
  readonly movement: LatentMovement | null;
  readonly calibration: ThresholdChoice | null;
}

/** The thresholds that the saved SAE could have had, and L0 of each on the same held-out tokens. */
export interface ThresholdChoice {
  /** which one it has, as the recipe names it */
  readonly chosen: string;
  readonly nTokens: number;
  /** the moving average's last value, and the one at which L0 is k */
  readonly average: { readonly threshold: number; readonly l0: number };
  readonly calibrated: { readonly threshold: number; readonly l0: number };
}

/** One SAE on one set. */
export interface Measurement {
  readonly phase: Phase;
  readonly set: string;
  /** a set of another kind of text: shown, not judged */
  readonly isDomain: boolean;
  readonly result: ReportedResult;
  /** of VE, from the source SAE on the same tokens to this one; null before training, and from scratch */
  readonly change: PairedDifference | null;
}

/** An evaluation as a run keeps it; runs made before there were intervals have null there. */
export interface ReportedResult extends Omit<EvalResult, "version" | "intervals" | "latents"> {
  /** of these, what a report shows */
  readonly latents: Pick<LatentSummary, "nLatents" | "nNeverFired" | "definition" | "frequencyHistogram"> &
    Partial<Pick<LatentSummary, "ultraRare" | "nAbove1Percent" | "nAbove10Percent">>;
  readonly intervals: IntervalMethod | null;
}

/** What a training left in `metrics.jsonl` and `events.jsonl`. */
export interface TrainingFacts {
  readonly name: "training" | "polish";
  readonly metrics: readonly MetricsLine[];
  readonly events: readonly TrainingEvent[];
}

/** A line of `events.jsonl`: a name, a step, and whatever belongs to it. */
export interface TrainingEvent {
  readonly event: string;
  /** steps done when it happened */
  readonly step: number;
  readonly [detail: string]: unknown;
}

export interface SpliceFacts {
  readonly phase: "home" | "before" | "after";
  readonly result: SpliceResult;
}

/** How far each latent moved, [dSae] each; NaN where undefined. */
export interface LatentMovement {
  /** cosine between a latent's decoder row before and after */
  readonly decoderCosine: ArrayLike<number>;
  /** change of log10 of the share of tokens on which it fires; NaN for one that fired neither before nor after */
  readonly logFrequencyChange: ArrayLike<number>;
}

export interface Provenance {
  /** the recipe with every default written out, as YAML */
  readonly recipe: string;
  /** what was measured and saved, with its sha-256 */
  readonly files: readonly { readonly what: string; readonly sha256: string }[];
  readonly software: Readonly<Record<string, string>>;
  readonly machine: Readonly<Record<string, string>>;
  readonly seeds: readonly { readonly what: string; readonly seed: number }[];
}

/** The measurement of `phase` on `set`, if there is one. */
export function measured(layer: LayerFacts, phase: Phase, set: string): ReportedResult | undefined {
  return layer.measurements.find((entry) => entry.phase === phase && entry.set === set)?.result;
}

/** What the phases are called. */
export const PHASES: Readonly<Record<Phase, string>> = {
  home: "at home",
  before: "before",
  prepolish: "before polish",
  after: "after",
};
