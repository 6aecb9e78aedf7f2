/** What training tells while it runs and when it is done. Types, and the clock behind tokens per second. */
import type { NumericClass } from "../kernels/kernels.ts";

/** State after a step; `loss`, `ve` and `l0` are of that step's batch, before its update. */
export interface TrainProgress {
  /** steps done, 1 … totalSteps */
  readonly step: number;
  readonly totalSteps: number;
  readonly tokensPerSecond: number;
  readonly loss: number;
  /** `1 − mean‖x−x̂‖² / mean‖x−x̄‖²` over the batch, x̄ the batch's mean */
  readonly ve: number;
  readonly l0: number;
  readonly threshold: number;
  /** latents dead by the token count */
  readonly dead: number;
  readonly learningRate: number;
  /** while newcomers of a resampling are watched: how many they are, and their share of this step's selection */
  readonly newcomers?: { readonly count: number; readonly share: number };
}

/** Something that went wrong and what was done about it. Told in `events.jsonl`, in the outcome and on the card. */
export interface Incident {
  readonly kind: "guard-rollback" | "guard-noted" | "divergence" | "other-bits" | "screening-missed";
  /** steps done when it was found */
  readonly step: number;
  /** one sentence for people */
  readonly what: string;
  /** the numbers behind it */
  readonly details: Readonly<Record<string, unknown>>;
}

/** What the audits of a run have come to. */
export interface AuditState {
  /** how the next step looks for entries; rigorous: the limit was passed */
  readonly margin: "statistical" | "rigorous";
  /** entries selected on audited tokens */
  readonly entries: number;
  readonly missed: number;
}

/** What became of newcomers, once they had been watched. [before the resampling, now] */
export interface NewcomersFound {
  readonly steps: number;
  readonly meanShare: number;
  readonly maxShare: number;
  readonly threshold: readonly [before: number, now: number];
  readonly ve: readonly [before: number | null, now: number | null];
}

/** What is remembered of a resampling for the outcome and the card. */
export interface ResamplingNote {
  readonly step: number;
  readonly dead: number;
  readonly newcomers: number;
  /** predicted by the trial: share of its selection, cut and VE without and with the newcomers */
  readonly predicted: {
    readonly share: number;
    readonly cut: readonly [before: number | null, after: number | null];
    readonly ve: readonly [before: number | null, after: number | null];
  };
  /** absent: it was undone before */
  readonly found?: NewcomersFound;
  /** training went back to before it */
  readonly undone?: true;
}

/** VE of the held-out rows at a step. */
export interface VeAt {
  readonly step: number;
  readonly ve: number;
}

/** An early stop. */
export interface EarlyStop {
  /** steps done of those there would have been */
  readonly step: number;
  readonly totalSteps: number;
  readonly what: string;
}

/** Held-out VE as the watch saw it. */
export interface WatchOutcome {
  readonly last: VeAt;
  readonly best: BestCheckpoint;
}

/** The checkpoint with the largest held-out VE; it is kept beside the final one, and may be it. */
export interface BestCheckpoint extends VeAt {
  /** at that step */
  readonly tokens: number;
  /** the EMA's value there */
  readonly threshold: number;
  readonly deadInTraining: number | null;
  readonly weightsHash: string;
}

/** A finished training run. Everything but `seconds` and `engineDescription` is reproducible. */
export interface TrainOutcome {
  readonly steps: number;
  /** tokens trained on, each epoch counted; work that the guard undid is not */
  readonly tokens: number;
  /** the EMA's last value */
  readonly threshold: number;
  /** latents that had not fired for more than `deadAfterTokens` tokens at the end; null: no more than that were trained on */
  readonly deadInTraining: number | null;
  readonly incidents: readonly Incident[];
  /** in order, those that were undone too */
  readonly resamplings: readonly ResamplingNote[];
  /** with a watch: what it saw last, and the checkpoint it liked best */
  readonly watch?: WatchOutcome;
  /** why training ended before its last step */
  readonly stoppedEarly?: EarlyStop;
  /** with statistical screening: what its audits have come to */
  readonly audit?: AuditState;
  readonly finalCheckpointDir: string;
  /** sha-256 of its `weights.safetensors`: equal for equal weights */
  readonly weightsHash: string;
  readonly numericClass: NumericClass;
  readonly engineDescription: string;
  /** wall-clock time in this stage, all sessions together */
  readonly seconds: number;
}

/** Tokens per second, recent steps weighing most (each counts 10 %). */
export class Pace {
  #last = performance.now();
  #secondsPerToken = 0;

  /** Counts a step of `nTokens` that ends now. */
  step(nTokens: number): void {
    const now = performance.now();
    const latest = (now - this.#last) / 1000 / nTokens;
    this.#secondsPerToken = this.#secondsPerToken === 0 ? latest : 0.9 * this.#secondsPerToken + 0.1 * latest;
    this.#last = now;
  }

  /** Starts the clock of the next step now, so that a checkpoint or a guard check is not counted in. */
  restart(): void {
    this.#last = performance.now();
  }

  get tokensPerSecond(): number {
    return this.#secondsPerToken === 0 ? 0 : 1 / this.#secondsPerToken;
  }
}
