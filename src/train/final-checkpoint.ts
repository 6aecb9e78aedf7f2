/**
 * What a finished training run leaves: its SAE, ready to be exported or polished, and who was dead. With a watch there may
 * be two: the last one, and the one of the checkpoint with the best held-out VE.
 */
import { join } from "node:path";
import { StateError } from "../errors.ts";
import type { Weights } from "../kernels/kernels.ts";
import type { WeightRows } from "../kernels/weight-rows.ts";
import type { TrainingForm, TrainingSae } from "../sae/sae.ts";
import { type Checkpoint, listCheckpoints, verifyCheckpoint, verifyFile } from "./checkpoint.ts";
import { COUNTERS_FILE, openWeights, readCounters, readWeights } from "./checkpoint-tensors.ts";
import type { TrainConfig } from "./config.ts";
import { checkLog } from "./log.ts";
import type { BestCheckpoint, TrainOutcome } from "./progress.ts";

/** Which SAE of a finished run: the one it ended with, or the one of its best checkpoint. */
export type WhichSae = "last" | "best";

/** A finished run without its tensors. */
export interface FinishedTraining {
  readonly form: TrainingForm;
  /** the EMA's value at the checkpoint asked for, f64, in units of p */
  readonly threshold: number;
  readonly config: TrainConfig;
  /** the caller's identity of the inputs, as given to `train` */
  readonly identity: Readonly<Record<string, unknown>>;
  readonly outcome: TrainOutcome;
}

export interface FinalCheckpoint extends FinishedTraining {
  readonly weights: Weights;
  /** [dSae] tokens since each latent last fired */
  readonly tokensSinceFired: Float64Array;
  /** [dSae] 1 = dead in training: more than `config.deadAfterTokens` tokens without firing */
  readonly dead: Uint8Array;
}

/** Reads what finished training in `dir` (a `train/<hook>` folder) came to, or null if it has not finished. Quick: no tensors. */
export async function readFinishedTraining(
  dir: string,
  which: WhichSae = "last",
): Promise<FinishedTraining | null> {
  const all = await listCheckpoints(dir);
  const final = finalOf(all);
  return final === null ? null : factsOf(final, chosen(final, all, which), all);
}

/**
 * Holds the logs in `dir` to what the final checkpoint says of them; unfinished training has none yet.
 * @throws {StateError} lines are gone, or others
 */
export async function checkTrainingLogs(dir: string): Promise<void> {
  const final = finalOf(await listCheckpoints(dir));
  if (final === null) return;
  const { metrics, events } = final.record.logs;
  await checkLog(join(dir, "metrics.jsonl"), metrics);
  await checkLog(join(dir, "events.jsonl"), events);
}

/**
 * Loads the final checkpoint in `dir` (or the best), its bytes checked against their hashes.
 * @throws {StateError} training there has not finished, the best checkpoint is gone, or a file is damaged
 */
export async function loadFinalCheckpoint(dir: string, which: WhichSae = "last"): Promise<FinalCheckpoint> {
  const { checkpoint, facts } = await verified(dir, which);
  const tokensSinceFired = await readCounters(checkpoint.dir);
  return {
    ...facts,
    weights: await readWeights(checkpoint.dir),
    tokensSinceFired,
    dead: Uint8Array.from(tokensSinceFired, (since) => (since > facts.config.deadAfterTokens ? 1 : 0)),
  };
}

/** The weights that training in `dir` ended with, read when they are wanted. @throws {StateError} as `loadFinalCheckpoint` */
export async function openTrainedWeights(dir: string, which: WhichSae = "last"): Promise<WeightRows> {
  return openWeights((await verified(dir, which)).checkpoint.dir);
}

/** The SAE that training in `dir` ended with, in its training form. @throws {StateError} as `loadFinalCheckpoint` */
export async function trainedSae(dir: string, which: WhichSae = "last"): Promise<TrainingSae> {
  const { form, weights, threshold } = await loadFinalCheckpoint(dir, which);
  return { form, weights, threshold };
}

/**
 * Who was dead at the checkpoint, [dSae], 1 = dead; null: not known, since training has not finished or was too short to
 * tell. The counters alone are read. @throws {StateError} they are damaged
 */
export async function readDeadLatents(dir: string, which: WhichSae = "last"): Promise<Uint8Array | null> {
  const all = await listCheckpoints(dir);
  const final = finalOf(all);
  if (final === null) return null;
  const checkpoint = chosen(final, all, which);
  const { deadAfterTokens } = final.record.run.config;
  if (deadIn(checkpoint) === null) return null;
  await verifyFile(checkpoint, COUNTERS_FILE);
  const since = await readCounters(checkpoint.dir);
  return Uint8Array.from(since, (tokens) => (tokens > deadAfterTokens ? 1 : 0));
}

/** What a final checkpoint says about its run; `all`: the checkpoints in its folder. */
export function outcomeOf(final: Checkpoint, all: readonly Checkpoint[]): TrainOutcome {
  const { dir, record } = final;
  const { state, run } = record;
  const best = bestOf(final, all);
  const last = state.watch?.last ?? null;
  return {
    steps: state.step,
    tokens: state.tokens,
    threshold: state.threshold,
    deadInTraining: deadIn(final),
    incidents: state.incidents,
    resamplings: state.resamplings ?? [],
    ...(best === null || last === null ? {} : { watch: { last, best } }),
    ...(state.stoppedEarly === undefined
      ? {}
      : { stoppedEarly: { step: state.step, totalSteps: run.totalSteps, what: state.stoppedEarly } }),
    ...(state.audit === undefined ? {} : { audit: state.audit }),
    finalCheckpointDir: dir,
    weightsHash: weightsHashOf(final),
    numericClass: record.numericClass,
    engineDescription: record.engine,
    seconds: state.seconds,
  };
}

async function verified(
  dir: string,
  which: WhichSae,
): Promise<{ checkpoint: Checkpoint; facts: FinishedTraining }> {
  const all = await listCheckpoints(dir);
  const final = finalOf(all);
  if (final === null) {
    throw new StateError(
      `training in ${dir} has not finished, or its last checkpoint.json is damaged`,
      `run the train stage to its end; if it was, delete ${dir} to train again`,
    );
  }
  const checkpoint = chosen(final, all, which);
  await verifyCheckpoint(checkpoint);
  return { checkpoint, facts: factsOf(final, checkpoint, all) };
}

function finalOf(all: readonly Checkpoint[]): Checkpoint | null {
  return all.findLast(({ record }) => record.finished) ?? null;
}

/** @throws {StateError} the best is asked for, and nobody watched, or it is gone */
function chosen(final: Checkpoint, all: readonly Checkpoint[], which: WhichSae): Checkpoint {
  if (which === "last") return final;
  const step = final.record.state.watch?.best?.step;
  const found = all.find(({ record }) => record.state.step === step);
  if (found !== undefined) return found;
  throw new StateError(
    step === undefined
      ? `nobody watched held-out VE while ${final.dir} was trained, so there is no best checkpoint`
      : `the best checkpoint, of step ${step}, is not beside ${final.dir} any more, or is damaged`,
    "take the last one (train.keep: last), or train again",
  );
}

/** The checkpoint the watch liked best, or null: there was no watch, or the folder is gone. */
function bestOf(final: Checkpoint, all: readonly Checkpoint[]): BestCheckpoint | null {
  const best = final.record.state.watch?.best ?? null;
  const found = best && all.find(({ record }) => record.state.step === best.step);
  if (best === null || found == null) return null;
  const { tokens, threshold } = found.record.state;
  return { ...best, tokens, threshold, deadInTraining: deadIn(found), weightsHash: weightsHashOf(found) };
}

function deadIn({ record: { state, run } }: Checkpoint): number | null {
  return state.tokens > run.config.deadAfterTokens ? state.dead : null;
}

function weightsHashOf({ dir, record }: Checkpoint): string {
  const weights = record.files.find(({ name }) => name === "weights.safetensors");
  if (weights === undefined) throw new StateError(`checkpoint.json in ${dir} names no weights.safetensors`);
  return weights.sha256;
}

function factsOf(final: Checkpoint, at: Checkpoint, all: readonly Checkpoint[]): FinishedTraining {
  const { run } = final.record;
  return {
    form: run.form,
    threshold: at.record.state.threshold,
    config: run.config,
    identity: run.inputs,
    outcome: outcomeOf(final, all),
  };
}
