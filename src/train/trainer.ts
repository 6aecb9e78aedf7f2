/**
 * Training, as the recipe says it: read a batch, take a step, move the threshold, count who fired; look at held-out rows
 * now and then; write checkpoints; at epoch boundaries give dead latents a new start. Starting, going on after an
 * interruption at any byte, and asking again for what is finished are one code path.
 *
 * The order of a step follows SAELens 6.18 `SAETrainer._train_step`; what SAELens has not (resampling, the guard, exact
 * resume) stands in files of its own beside this one. Polishing is training with another configuration.
 */
import { listCheckpoints, pruneCheckpoints, sweepCheckpoints } from "./checkpoint.ts";
import { outcomeOf } from "./final-checkpoint.ts";
import { checkOptions, type TrainOptions } from "./options.ts";
import type { TrainOutcome } from "./progress.ts";
import { checkSameRun, decidingConfig, type RunIdentity } from "./run-identity.ts";
import { TrainingRun } from "./training-run.ts";

export type { TrainOptions, TrainStart } from "./options.ts";

/**
 * Trains until `config.epochs · nBatches` steps are done, or an early stop, and returns how it went. In `dir` stand
 * afterwards the final checkpoint, the best by held-out VE if that is another, `metrics.jsonl` (one line every
 * `logEverySteps` steps; after a rollback the steps come again with the next `attempt`) and `events.jsonl` (start,
 * resamplings with all their numbers, what became of newcomers, looks of watch and guard, plateaus, incidents, end).
 * Neither holds a time: an interrupted run and an undisturbed one leave the same bytes.
 *
 * Step s (0-based) reads batch `s mod nBatches` of epoch `⌊s / nBatches⌋`, and its learning rate is a function of s alone.
 *
 * @throws {StateError} `dir` holds another run, or one computed in another numeric class
 * @throws {TrainingError} the loss is not finite; names step, batch and last checkpoint
 * @throws {RecipeError} the configuration cannot be trained
 */
export async function train(options: TrainOptions): Promise<TrainOutcome> {
  checkOptions(options);
  const { dir, signal } = options;
  const identity = identityOf(options);
  const checkpoints = await sweepCheckpoints(dir);
  const newest = checkpoints.at(-1);
  if (newest !== undefined) checkSameRun(dir, newest.record.run, identity);
  if (newest?.record.finished) {
    await pruneCheckpoints(dir);
    return outcomeOf(newest, checkpoints);
  }

  const run = await TrainingRun.open(options, identity, checkpoints);
  try {
    while (!run.isOver) {
      if (signal?.aborted) {
        await run.saveCheckpoint();
        throw signal.reason;
      }
      if (run.mayResample) await run.resample();
      await run.trainStep();
      if (await run.newcomersRollBack()) continue;
      if (run.watchIsDue) await run.watch();
      if (run.guardIsDue && (await run.guardRollsBack())) continue;
      if (run.newcomersSettle) await run.settleNewcomers();
      if (run.checkpointIsDue) await run.saveCheckpoint();
    }
    return outcomeOf(run.lastCheckpoint!, await listCheckpoints(dir));
  } finally {
    await run.close();
  }
}

function identityOf({ config, store, start, identity }: TrainOptions): RunIdentity {
  const { nBatches } = store.batches({ batchTokens: config.batchTokens, seed: config.seed });
  return {
    config: decidingConfig(config),
    form: start.form,
    threshold: start.threshold,
    ...(start.adam && { adamSteps: start.adam.step }),
    dIn: store.dIn,
    batchesPerEpoch: nBatches,
    totalSteps: config.epochs * nBatches,
    inputs: identity,
  };
}
