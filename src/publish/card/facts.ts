/** What a model card is made from. Types only: `card.ts` writes it, and nothing in a card comes from elsewhere. */
import type { Interval } from "../../evals/metrics.ts";
import type { OutlierSummary, Slice } from "../../evals/result.ts";
import type { SpliceResult } from "../../evals/splice/result.ts";
import type { BeforeAfterRow, SetScore } from "../../evals/table.ts";
import type { Incident, ResamplingNote, VeAt } from "../../train/progress.ts";

/** A final SAE on one held-out set. */
export interface CardEvaluation {
  readonly set: string;
  /** texts of another kind than the training's: shown, not gated */
  readonly isDomain: boolean;
  readonly nTokens: number;
  readonly nDocuments: number;
  /** metric → value, null where it is undefined, and what it was before on the same tokens; `before` null: not measured */
  readonly metrics: Readonly<
    Record<
      string,
      {
        readonly value: number | null;
        readonly interval: Interval | null;
        readonly before: number | null;
        /** of the change, in which the same documents are drawn for both */
        readonly change: { readonly difference: number; readonly interval: Interval | null } | null;
      }
    >
  >;
  readonly nNeverFired: number;
  /** null: an older version measured it */
  readonly outliers: OutlierSummary | null;
  /** by position in the window; empty: not measured */
  readonly positions: readonly Slice[];
}

/** One layer's SAE. */
export interface CardLayer {
  readonly layer: number;
  readonly id: string;
  /** as cfg.json spells it */
  readonly hookName: string;
  /** blocks.N.hook_resid_post */
  readonly hookPoint: string;
  /** architecture of the saved SAE, by SAELens' name */
  readonly architecture: string;
  /** of the weights on disk */
  readonly dtype: string;
  /** what happens to an activation before the encoder and after the decoder, in words */
  readonly inputTransform: string;
  /** null: latents fire by a learnt rule, not by size */
  readonly k: number | null;
  readonly dIn: number;
  readonly dSae: number;
  readonly widths: readonly number[];
  /** the moving average's value; null: there is none */
  readonly threshold: number | null;
  /** of such an SAE: its architecture, and the coefficient of its sparsity loss */
  readonly learntRule?: { readonly architecture: string; readonly sparsityCoefficient: number };
  /** by SAELens' name, of the SAE while it trained; null: not recorded */
  readonly trainedAs: string | null;
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
  readonly belowGate: boolean;
  readonly verified: boolean;
  readonly hasContract: boolean;
  /** dead by training's definition; null: training was shorter than that looks back */
  readonly deadInTraining: number | null;
  readonly incidents: readonly Incident[];
  /** audits of training and polish; null: screened rigorously */
  readonly audit: { readonly entries: number; readonly missed: number } | null;
  /** held-out sets first, then domains */
  readonly evaluations: readonly CardEvaluation[];
  /** results before a polish, set → VE */
  readonly beforePolish: Readonly<Record<string, number | null>> | null;
}

/** A page about these SAEs elsewhere. */
export interface CardLink {
  /** what it is, e.g. "neuronpedia" */
  readonly name: string;
  /** https */
  readonly url: string;
}

/** Everything a card is made from; the pipeline fills it from result files. */
export interface CardFacts {
  readonly title: string;
  /** the run's name */
  readonly run: string;
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
  /** owner/name of data sets on the hub that were trained on */
  readonly datasets: readonly string[];
  readonly license: string | null;
  /** what the source SAE's repository declares; null: not looked up, or from scratch */
  readonly sourceLicense: { readonly declared: string | null } | null;
  /** the revision that was downloaded again and found to be what was measured; null: none was */
  readonly publication: {
    readonly repository: string;
    readonly revision: string;
    readonly branch?: string;
    readonly tolerance: number;
    readonly layers: readonly { readonly layer: number }[];
  } | null;
  readonly links: readonly CardLink[];
  /** paths of the repository that a card may point to: they are published with it */
  readonly files: readonly string[];
  readonly rows: readonly BeforeAfterRow[];
  readonly layers: readonly CardLayer[];
  readonly sets: readonly {
    readonly name: string;
    readonly nKept: number;
    readonly nDocuments: number;
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
  /** reconstructions spliced in; empty: not measured */
  readonly splices: readonly { readonly phase: "before" | "after"; readonly result: SpliceResult }[];
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
    readonly isGuarded: boolean;
  };
  /** precision in which activations were stored, trained on and measured */
  readonly activationDtype: string;
  readonly contextSize: number;
  readonly prependBos: boolean;
  /** null: not known */
  readonly bosTokenId: number | null;
  readonly excluded: readonly number[];
  /** sha-256 of the chat template that rendered chats; null: there were none, or it is not known */
  readonly chatTemplateHash: string | null;
  /** activations were made elsewhere: what the training and held-out texts were is not known to this run */
  readonly isImported: boolean;
  readonly packing: string;
  /** of the held-out sets */
  readonly evalPacking: string;
  readonly gate: number | null;
  readonly seed: number;
  readonly definitions: Readonly<Record<string, string>>;
  /** how intervals were made, and their level; null: there are none */
  readonly intervals: { readonly definition: string; readonly level: number } | null;
  readonly software: Readonly<Record<string, string>>;
}
