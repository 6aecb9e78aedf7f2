/** Everything that decides a training run, beside the activations it sees and the SAE it starts from. Types, and defaults. */

/** Shapes of the learning rate between warm-up and decay. */
export type ScheduleName = "constant" | "cosineannealing" | "cosineannealingwarmrestarts";

/** Learning-rate schedule, as SAELens 6.18 composes it (spec §1.9). */
export interface ScheduleConfig {
  readonly name: ScheduleName;
  readonly lr: number;
  readonly lrEnd: number;
  readonly warmUpSteps: number;
  readonly decaySteps: number;
  readonly nCycles: number;
}

/** Resampling of dead latents at epoch boundaries (design §4). */
export interface ResamplingConfig {
  /** ‖wEnc[i]‖·‖wDec[i]‖ of a newcomer, relative to the live median of that product */
  readonly scale: number;
  /** newcomers may take at most this share of a simulated batch's selection */
  readonly maxSelectionShare: number;
  /** the simulated batch-topk cut may rise by at most this factor */
  readonly maxThresholdRise: number;
  /** at most so many newcomers at a boundary; absent: no limit */
  readonly maxNewcomers?: number;
  /** at most this share of all latents at a boundary; absent: no limit */
  readonly maxLatentShare?: number;
  /** the newcomers' share of the selection is watched for so many steps; absent: `DEFAULT_NEWCOMER_STEPS` */
  readonly watchSteps?: number;
  /** past this share of a step's selection within those steps, training rolls back; absent: it is recorded only */
  readonly maxWatchedShare?: number;
}

/** Steps for which newcomers are watched, where nothing else is said. */
export const DEFAULT_NEWCOMER_STEPS = 100;

/**
 * Looks at held-out rows every so many steps, and at every checkpoint, and says what it sees (`watch.ts`). It decides
 * nothing about the weights.
 */
export interface WatchConfig {
  readonly everySteps: number;
  /** held-out rows it looks at */
  readonly tokens: number;
  /** so many checks in a row with VE falling, or the training loss rising, are called divergence */
  readonly divergenceChecks: number;
  /** recent gradient norms may be at most so many times their running median */
  readonly maxGradNormRise: number;
  /** best VE improving by less than `plateauImprovement` over so many checks is called a plateau */
  readonly plateauChecks: number;
  readonly plateauImprovement: number;
}

/** What is watched where nothing else is said. */
export const DEFAULT_WATCH: WatchConfig = {
  everySteps: 200,
  tokens: 4096,
  divergenceChecks: 3,
  maxGradNormRise: 10,
  plateauChecks: 5,
  plateauImprovement: 0.001,
};

/** Ends training once the best held-out VE improved by less than `minImprovement` over `checks` checks of the watch. */
export interface EarlyStopConfig {
  readonly minImprovement: number;
  readonly checks: number;
}

/** Watches held-out VE and the threshold; past a limit training rolls back and goes on without resampling (`guard.ts`). */
export interface GuardConfig {
  readonly everySteps: number;
  /** held-out rows it looks at */
  readonly tokens: number;
  /** largest allowed fall of VE below the best seen */
  readonly maxVeDrop: number;
  /** after a resampling: largest allowed factor between the batch-topk cut of its rows and that cut at the last good check */
  readonly maxThresholdRise: number;
}

/**
 * Looking for entries with a margin of so many standard deviations: faster, and now and then it misses one. An audit
 * counts that on a few tokens, and past a limit ends it (`audit.ts`).
 */
export interface StatisticalScreening {
  readonly sigmas: number;
  readonly auditEverySteps: number;
  /** tokens of a batch that are audited */
  readonly auditTokens: number;
  /** largest allowed share of audited entries that were missed, all audits of the run together */
  readonly maxMissedShare: number;
}

/** Everything that decides a training run beside its data and its start. */
export interface TrainConfig {
  readonly seed: number;
  readonly batchTokens: number;
  readonly epochs: number;
  readonly schedule: ScheduleConfig;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly clipNorm: number | null;
  /** a latent is dead once it has not fired on this many tokens */
  readonly deadAfterTokens: number;
  readonly resampling: ResamplingConfig | null;
  readonly guard: GuardConfig | null;
  /** absent: nothing is watched but what the guard needs, and no best checkpoint is kept */
  readonly watch?: WatchConfig;
  /** absent: training goes on to its last step; needs a watch */
  readonly earlyStop?: EarlyStopConfig;
  /** absent: rigorous, which never misses an entry and so decides nothing */
  readonly screening?: StatisticalScreening;
  /** absent: Adam's moments are kept in f32 */
  readonly moments?: "bf16";
  readonly checkpointEverySteps: number;
  /** one line of metrics.jsonl every so many steps */
  readonly logEverySteps: number;
}
