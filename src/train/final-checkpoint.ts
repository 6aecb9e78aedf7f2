/** What a finished training run leaves: its SAE, ready to be exported or polished, and who was dead. */
import { StateError } from "../errors.ts";
import type { Weights } from "../kernels/kernels.ts";
import type { WeightRows } from "../kernels/weight-rows.ts";
import type { TrainingForm, TrainingSae } from "../sae/sae.ts";
import { type Checkpoint, listCheckpoints, verifyCheckpoint } from "./checkpoint.ts";
import { openWeights, readCounters, readWeights } from "./checkpoint-tensors.ts";
import type { TrainConfig } from "./config.ts";
import type { TrainOutcome } from "./progress.ts";

/** A finished run without its tensors. */
export interface FinishedTraining {
  readonly form: TrainingForm;
  /** the EMA's last value, f64, in units of p */
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
export async function readFinishedTraining(dir: string): Promise<FinishedTraining | null> {
  const checkpoint = await finalOf(dir);
  return checkpoint === null ? null : factsOf(checkpoint);
}

/**
 * Loads the final checkpoint in `dir`, its bytes checked against their hashes.
 * @throws {StateError} training there has not finished, or a file is damaged
 */
export async function loadFinalCheckpoint(dir: string): Promise<FinalCheckpoint> {
  const checkpoint = await verifiedFinal(dir);
  const facts = factsOf(checkpoint);
  const tokensSinceFired = await readCounters(checkpoint.dir);
  return {
    ...facts,
    weights: await readWeights(checkpoint.dir),
    tokensSinceFired,
    dead: Uint8Array.from(tokensSinceFired, (since) => (since > facts.config.deadAfterTokens ? 1 : 0)),
  };
}

/** The weights that training in `dir` ended with, read when they are wanted. @throws {StateError} as `loadFinalCheckpoint` */
export async function openTrainedWeights(dir: string): Promise<WeightRows> {
  return openWeights((await verifiedFinal(dir)).dir);
}

/** The SAE that training in `dir` ended with, in its training form. @throws {StateError} as `loadFinalCheckpoint` */
export async function trainedSae(dir: string): Promise<TrainingSae> {
  const { form, weights, threshold } = await loadFinalCheckpoint(dir);
  return { form, weights, threshold };
}

/** What a final checkpoint says about its run. */
export function outcomeOf({ dir, record }: Checkpoint): TrainOutcome {
  const { state } = record;
  const weights = record.files.find(({ name }) => name === "weights.safetensors");
  if (weights === undefined) throw new StateError(`checkpoint.json in ${dir} names no weights.safetensors`);
  return {
    steps: state.step,
    tokens: state.tokens,
    threshold: state.threshold,
    deadInTraining: state.tokens > record.run.config.deadAfterTokens ? state.dead : null,
    incidents: state.incidents,
    ...(state.audit === undefined ? {} : { audit: state.audit }),
    finalCheckpointDir: dir,
    weightsHash: weights.sha256,
    numericClass: record.numericClass,
    engineDescription: record.engine,
    seconds: state.seconds,
  };
}

async function verifiedFinal(dir: string): Promise<Checkpoint> {
  const checkpoint = await finalOf(dir);
  if (checkpoint === null) {
    throw new StateError(
      `training in ${dir} has not finished, or its last checkpoint.json is damaged`,
      `run the train stage to its end; if it was, delete ${dir} to train again`,
    );
  }
  await verifyCheckpoint(checkpoint);
  return checkpoint;
}

async function finalOf(dir: string): Promise<Checkpoint | null> {
  return (await listCheckpoints(dir)).findLast(({ record }) => record.finished) ?? null;
}

function factsOf(checkpoint: Checkpoint): FinishedTraining {
  const { run, state } = checkpoint.record;
  return {
    form: run.form,
    threshold: state.threshold,
    config: run.config,
    identity: run.inputs,
    outcome: outcomeOf(checkpoint),
  };
}
