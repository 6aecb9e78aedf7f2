/**
 * Which SAE of a training is taken: the one it ended with, or its best checkpoint, as the recipe's `train.keep` says. All
 * that comes after training (export, polish, evaluation, card) asks here.
 */
import { StateError } from "../../errors.ts";
import type { TrainOutcome } from "../../train/progress.ts";
import type { RunContext } from "../context.ts";

/** What run.json records of a unit of training. */
export type TrainingRecord = Omit<TrainOutcome, "finalCheckpointDir" | "seconds">;

/** The SAE that is taken of a training. */
export type KeptTraining = Pick<
  TrainOutcome,
  "steps" | "tokens" | "threshold" | "deadInTraining" | "weightsHash"
>;

export function trainingRecord(context: RunContext, unit: string): TrainingRecord {
  return context.state.output(unit) as unknown as TrainingRecord;
}

/**
 * `unit`: "train:4", "polish:4". @throws {StateError} it has not been run, or it was without a watch and the best is wanted
 */
export function keptTraining(context: RunContext, unit: string): KeptTraining {
  const record = trainingRecord(context, unit);
  if (context.recipe.train.keep === "last") {
    const { steps, tokens, threshold, deadInTraining, weightsHash } = record;
    return { steps, tokens, threshold, deadInTraining, weightsHash };
  }
  if (record.watch === undefined)
    throw new StateError(
      `train.keep is best, but ${unit} was run without a watch on held-out VE`,
      "set train.keep to last, or train again (--set name=…)",
    );
  const { step: steps, tokens, threshold, deadInTraining, weightsHash } = record.watch.best;
  return { steps, tokens, threshold, deadInTraining, weightsHash };
}
