/** What a model card is made from. Types only: `card.ts` writes it, and nothing in a card comes from elsewhere. */
import type { BeforeAfterRow, SetScore } from "../evals/table.ts";
import type { Incident, ResamplingNote, VeAt } from "../train/progress.ts";

/** One layer's SAE. */
export interface CardLayer {
  readonly layer: number;
  readonly id: string;
  readonly hookName: string;
  /** null: latents fire by a learnt rule, not by size */
  readonly k: number | null;
  readonly dIn: number;
  readonly dSae: number;
  readonly widths: readonly number[];
  /** the moving average's value; null: there is none */
  readonly threshold: number | null;
  /** of such an SAE: its architecture, and the coefficient of its sparsity loss */
  readonly learntRule?: { readonly architecture: string; readonly sparsityCoefficient: number };
  /** null: the SAE has none, or an older version exported it */
  readonly calibration: {
    readonly used: "ema" | "calibrated" | "calibrated-per-latent";
    readonly threshold: number;
    /** on the rows calibrated on: with it, and with the moving average */
    readonly l0: number;
    readonly l0OfAverage: number;
    readonly nTokens: number;
    readonly sets: readonly string[];
    readonly perLatent: { readonly nOwn: number; readonly l0: number | null } | null;
  } | null;
  /** of training and polish: how it ended, and what of it is kept */
  readonly courses: readonly {
    readonly isPolish: boolean;
    readonly steps: number;
    readonly totalSteps: number;
    /** why it stopped early */
    readonly stopped: string | null;
    /** held-out VE as watched; null: it was not */
    readonly last: VeAt | null;
    readonly best: VeAt | null;
    readonly keptStep: number;
    readonly resamplings: readonly ResamplingNote[];
  }[];
  readonly steps: number;
  readonly tokens: number;
  readonly polished: boolean;
  readonly belowGate: boolean;
  readonly verified: boolean;
  /** dead by training's definition; null: training was shorter than that looks back */
  readonly deadInTraining: number | null;
  /** held-out set → latents that never fired on it */
  readonly neverFired: Readonly<Record<string, number>>;
  readonly incidents: readonly Incident[];
  /** audits of training and polish; null: screened rigorously */
  readonly audit: { readonly entries: number; readonly missed: number } | null;
  /** final SAE: held-out set → metric → value; null where it is undefined */
  readonly metrics: Readonly<Record<string, Readonly<Record<string, number | null>>>>;
  /** results before a polish, set → VE */
  readonly beforePolish: Readonly<Record<string, number | null>> | null;
}

/** Everything a card is made from; the pipeline fills it from result files. */
export interface CardFacts {
  readonly title: string;
  readonly model: string;
  readonly isHubModel: boolean;
  /** empty when activations were imported */
  readonly modelFiles: readonly {
    readonly name: string;
    readonly sha256: string | null;
    readonly bytes: number;
  }[];
  readonly baseModel: string | null;
  readonly source: string | null;
  readonly license: string | null;
  /** the revision that was downloaded again and found to be what was measured; null: none was */
  readonly publication: {
    readonly repository: string;
    readonly revision: string;
    readonly tolerance: number;
    readonly layers: readonly { readonly layer: number }[];
  } | null;
  readonly rows: readonly BeforeAfterRow[];
  readonly layers: readonly CardLayer[];
  readonly sets: readonly {
    readonly name: string;
    readonly nKept: number;
    readonly sources: readonly string[];
  }[];
  /** texts of other kinds, one entry a (layer, domain); `before` null from scratch */
  readonly domains: readonly {
    readonly layer: number;
    readonly domain: string;
    readonly contextSize: number;
    readonly nTokens: number;
    readonly sources: readonly string[];
    readonly before: SetScore | null;
    readonly after: SetScore;
  }[];
  readonly training: {
    readonly sources: readonly {
      readonly name: string;
      readonly kind: string;
      readonly location: string;
      readonly nKept: number | null;
    }[];
    readonly nKept: number;
    readonly epochs: number;
    readonly batchTokens: number;
    readonly lr: number;
    readonly schedule: string;
    readonly thresholdLr: number;
    readonly auxCoefficient: number;
    readonly resampling: string;
    readonly deadAfterTokens: number;
    readonly polish: string;
  };
  readonly contextSize: number;
  readonly prependBos: boolean;
  readonly excluded: readonly number[];
  /** activations were made elsewhere: what the training and held-out texts were is not known to this run */
  readonly isImported: boolean;
  readonly packing: string;
  /** of the held-out sets */
  readonly evalPacking: string;
  readonly gate: number | null;
  readonly seed: number;
  readonly definitions: Readonly<Record<string, string>>;
  readonly software: Readonly<Record<string, string>>;
}
