/** What `train` is asked to do, and the refusal of what cannot be done. */
import type { ActivationStore } from "../activations/activations.ts";
import { RecipeError, ShapeError } from "../errors.ts";
import type { EngineFactory, PlainParameter, Weights } from "../kernels/kernels.ts";
import type { WeightRows } from "../kernels/weight-rows.ts";
import type { DenseForm, TrainingForm } from "../sae/sae.ts";
import type { ThresholdSpread } from "../sae/warm-start.ts";
import type { ResamplingConfig, StatisticalScreening, TrainConfig } from "./config.ts";
import type { TrainProgress } from "./progress.ts";

/** What training starts from. */
export interface TrainStart {
  readonly form: TrainingForm;
  /** called only when no checkpoint is there; rows, so that the engine's copy is the only whole one, and are closed */
  readonly weights: () => Promise<Weights | WeightRows>;
  /** the EMA's first value, in units of p; "first-batch-cut": the batch-topk cut of the first seeded batch */
  readonly threshold: number | "first-batch-cut";
  /** how far the source's thresholds lie apart; told in the start event */
  readonly thresholdSpread?: ThresholdSpread | null;
  /** Adam's state, of a training that is gone on with; absent: moments of zero */
  readonly adam?: AdamStart;
}

/** What Adam had learnt before the first step. */
export interface AdamStart {
  /** steps taken, for the bias correction */
  readonly step: number;
  /** called only when no checkpoint is there; closed after use */
  readonly moments: () => Promise<AdamMoments>;
}

export interface AdamMoments {
  /** first (m) or second (v) moments of a parameter, laid out as the engine's own */
  read(moment: "m" | "v", parameter: PlainParameter): Promise<Float32Array>;
  close(): Promise<void>;
}

export interface TrainOptions {
  readonly config: TrainConfig;
  /** folder of this run alone: `runs/<name>/train/<hook>` or `…/polish/<hook>` */
  readonly dir: string;
  /** hashes of whatever decides the result (store manifest, start SAE, recipe part); compared on resume */
  readonly identity: Readonly<Record<string, unknown>>;
  readonly store: ActivationStore;
  /** held-out rows for guard and watch; required when `config.guard` or `config.watch` is set */
  readonly heldOut?: ActivationStore | null;
  readonly start: TrainStart;
  readonly createEngine: EngineFactory;
  /** go on although the checkpoint was computed in another numeric class */
  readonly allowOtherBits?: boolean;
  /** worker threads; never changes a bit */
  readonly threads?: number;
  /** the current step is finished and a checkpoint written, then the signal's reason is thrown */
  readonly signal?: AbortSignal;
  /** after every step */
  readonly onProgress?: (progress: TrainProgress) => void;
}

/** @throws {RecipeError} a count is not one, or guard or watch have nothing to look at; @throws {ShapeError} the rows do not fit */
export function checkOptions({ config, heldOut, store, start }: TrainOptions): void {
  const counts = ["batchTokens", "epochs", "checkpointEverySteps", "logEverySteps"] as const;
  for (const key of counts) {
    if (!Number.isSafeInteger(config[key]) || config[key] < 1)
      throw new RecipeError(`${key} is ${config[key]}, expected a whole number of at least 1`);
  }
  if (!(config.deadAfterTokens >= 0)) {
    throw new RecipeError(`deadAfterTokens is ${config.deadAfterTokens}, expected 0 or more`);
  }
  checkHeldOut(config, heldOut ?? null, store.dIn);
  if (config.resampling !== null) checkResampling(config.resampling);
  if (config.screening !== undefined) checkScreening(config.screening);
  if (start.form.selection === "own") checkDense(start.form, config);
  if (typeof start.threshold === "number" && !Number.isFinite(start.threshold)) {
    throw new RecipeError(`the threshold to start from is ${start.threshold}, expected a finite number`);
  }
}

/** What belongs to selection by size is refused, not ignored. */
function checkDense({ architecture, ...form }: DenseForm, config: TrainConfig): void {
  const { kind } = architecture;
  if (config.resampling !== null)
    throw new RecipeError(
      `resampling gives latents a new start within a top-k selection, which a ${kind} SAE has not`,
      "set train.resampling to null",
    );
  if (config.screening !== undefined)
    throw new RecipeError(
      `statistical screening searches for the largest activations; a ${kind} SAE computes them all`,
      "set train.screening to rigorous",
    );
  const { sparsityCoefficient, sparsityWarmUpSteps, auxCoefficient } = form;
  if (!(sparsityCoefficient >= 0 && sparsityCoefficient < Number.POSITIVE_INFINITY))
    throw new RecipeError(`sparsityCoefficient is ${sparsityCoefficient}, expected a number of 0 or more`);
  if (!Number.isSafeInteger(sparsityWarmUpSteps) || sparsityWarmUpSteps < 0)
    throw new RecipeError(`sparsityWarmUpSteps is ${sparsityWarmUpSteps}, expected a whole number`);
  if (auxCoefficient !== 0 && kind !== "jumprelu")
    throw new RecipeError(`a ${kind} SAE has no loss for dead latents, so its auxCoefficient must be 0`);
}

function checkHeldOut(config: TrainConfig, heldOut: ActivationStore | null, dIn: number): void {
  const { guard, watch, earlyStop } = config;
  if (earlyStop !== undefined && watch === undefined)
    throw new RecipeError(
      "training is to stop early by held-out VE, which nobody watches",
      "set train.watch, or train.earlyStop to null",
    );
  if (guard === null && watch === undefined) return;
  if (heldOut === null) {
    const who = guard === null ? "watch" : "guard";
    throw new RecipeError(
      `the ${who} is on, but there are no held-out activations for it`,
      `give it a held-out set, or set train.${who} to null`,
    );
  }
  if (heldOut.dIn !== dIn) throw new ShapeError("dIn of the held-out rows", heldOut.dIn, dIn);
  if (guard !== null) checkCounts("guard", { everySteps: guard.everySteps });
  if (watch !== undefined) {
    const { everySteps, tokens, divergenceChecks, plateauChecks, maxGradNormRise } = watch;
    checkCounts("watch", { everySteps, tokens, divergenceChecks, plateauChecks });
    if (!(maxGradNormRise > 1))
      throw new RecipeError(`watch.maxGradNormRise is ${maxGradNormRise}, expected more than 1`);
  }
  if (earlyStop === undefined) return;
  checkCounts("earlyStop", { checks: earlyStop.checks });
  if (!(earlyStop.minImprovement >= 0))
    throw new RecipeError(`earlyStop.minImprovement is ${earlyStop.minImprovement}, expected 0 or more`);
}

function checkResampling({
  maxNewcomers,
  maxLatentShare,
  watchSteps,
  maxWatchedShare,
}: ResamplingConfig): void {
  checkCounts("resampling", { ...(watchSteps !== undefined && { watchSteps }) });
  if (maxNewcomers !== undefined && !(Number.isSafeInteger(maxNewcomers) && maxNewcomers >= 0))
    throw new RecipeError(`resampling.maxNewcomers is ${maxNewcomers}, expected a whole number`);
  for (const [name, share] of Object.entries({ maxLatentShare, maxWatchedShare }))
    if (share !== undefined && !(share >= 0 && share <= 1))
      throw new RecipeError(`resampling.${name} is ${share}, expected a share between 0 and 1`);
}

function checkCounts(where: string, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts))
    if (!Number.isSafeInteger(count) || count < 1)
      throw new RecipeError(`${where}.${name} is ${count}, expected a whole number of at least 1`);
}

function checkScreening(screening: StatisticalScreening): void {
  for (const key of ["auditEverySteps", "auditTokens"] as const)
    if (!Number.isSafeInteger(screening[key]) || screening[key] < 1)
      throw new RecipeError(
        `screening.${key} is ${screening[key]}, expected a whole number of at least 1`,
        "a statistical margin is not left without an audit; set train.screening to rigorous",
      );
  if (!(screening.sigmas > 0 && screening.sigmas < Number.POSITIVE_INFINITY))
    throw new RecipeError(`screening.sigmas is ${screening.sigmas}, expected a positive number`);
  if (!(screening.maxMissedShare >= 0))
    throw new RecipeError(`screening.maxMissedShare is ${screening.maxMissedShare}, expected 0 or more`);
}
