/**
 * What a training run holds open while it works: an engine in the state of the newest checkpoint (or of the start), the
 * latents' counters, and the logs cut back to where that checkpoint left them.
 */
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { ShapeError, StateError } from "../errors.ts";
import type { Engine, Screening } from "../kernels/kernels.ts";
import { PLAIN_PARAMETERS } from "../kernels/parameters.ts";
import { loadWeights, type WeightRows, weightRows } from "../kernels/weight-rows.ts";
import { screeningOf } from "./audit.ts";
import { type Checkpoint, findDamage, removeCheckpoint } from "./checkpoint.ts";
import { openWeights, readCounters, restoreTensors } from "./checkpoint-tensors.ts";
import { DeadLatents } from "./dead-latents.ts";
import { JsonLines } from "./log.ts";
import type { AdamMoments, TrainOptions, TrainStart } from "./options.ts";

export interface Session {
  /** where it goes on from; null: from the start */
  readonly checkpoint: Checkpoint | null;
  readonly engine: Engine;
  readonly latents: DeadLatents;
  readonly metrics: JsonLines;
  readonly events: JsonLines;
  /** `step-…/file` of newer checkpoints that had to be given up */
  readonly damaged: readonly string[];
  close(): Promise<void>;
}

/**
 * Opens the newest of `checkpoints` (oldest first) whose files hash to what was recorded; newer ones are removed.
 * @throws {StateError} it was computed in another numeric class, or lines of a log are missing
 * @throws {ShapeError} the start's weights do not fit the store or the form
 */
export async function openSession(
  options: TrainOptions,
  checkpoints: readonly Checkpoint[],
): Promise<Session> {
  const { config, dir, start } = options;
  await mkdir(dir, { recursive: true });
  const { checkpoint, damaged } = await newestUndamaged(checkpoints);
  const screening = screeningOf(config.screening, checkpoint?.record.state.audit);
  const engine = await openEngine(options, screening, await startingRows(start, checkpoint));
  const opened: JsonLines[] = [];
  const close = async () => {
    for (const log of opened) await log.close();
    await engine.dispose();
  };
  try {
    const latents = new DeadLatents(engine.config.dSae, config.deadAfterTokens);
    if (checkpoint === null && start.adam !== undefined)
      await loadMoments(engine, await start.adam.moments());
    if (checkpoint !== null) {
      checkNumericClass(checkpoint, engine, options.allowOtherBits === true);
      await restoreTensors(checkpoint.dir, engine, "moments");
      latents.restore(await readCounters(checkpoint.dir));
    }
    const marks = checkpoint?.record.logs;
    const metrics = await JsonLines.open(join(dir, "metrics.jsonl"), marks?.metrics ?? null);
    opened.push(metrics);
    const events = await JsonLines.open(join(dir, "events.jsonl"), marks?.events ?? null);
    opened.push(events);
    return { checkpoint, engine, latents, metrics, events, damaged, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Adam's moments as an earlier training left them; `moments` is closed. */
async function loadMoments(engine: Engine, moments: AdamMoments): Promise<void> {
  try {
    for (const moment of ["m", "v"] as const)
      for (const parameter of PLAIN_PARAMETERS)
        await engine.write(`${moment}.${parameter}`, 0, await moments.read(moment, parameter));
  } finally {
    await moments.close();
  }
}

/** Where training goes on from, or what it starts from. */
async function startingRows(start: TrainStart, checkpoint: Checkpoint | null): Promise<WeightRows> {
  if (checkpoint !== null) return openWeights(checkpoint.dir);
  const weights = await start.weights();
  return "read" in weights ? weights : weightRows(weights);
}

/** An engine filled from `rows`, which are then closed: its copy of the weights is the only one. */
async function openEngine(
  { config, createEngine, store, start, threads }: TrainOptions,
  screening: Screening,
  rows: WeightRows,
): Promise<Engine> {
  try {
    const { form } = start;
    const dSae = form.widths.at(-1) ?? 0;
    if (rows.dIn !== store.dIn || rows.dSae !== dSae)
      throw new ShapeError("[dSae, dIn] of the weights to train", [rows.dSae, rows.dIn], [dSae, store.dIn]);
    const engine = await createEngine(
      {
        dIn: store.dIn,
        dSae,
        widths: form.widths,
        applyBDecToInput: form.applyBDecToInput,
        rescaleActsByDecoderNorm: form.rescaleActsByDecoderNorm,
        ...(form.selection === "own" && { architecture: form.architecture }),
        training: true,
        threads,
        screening,
        moments: config.moments,
      },
      null,
    );
    try {
      await loadWeights(engine, rows);
    } catch (error) {
      await engine.dispose();
      throw error;
    }
    return engine;
  } finally {
    await rows.close();
  }
}

/** The newest whole checkpoint; the damaged file of each newer one is named. */
async function newestUndamaged(checkpoints: readonly Checkpoint[]) {
  const damaged: string[] = [];
  for (const checkpoint of checkpoints.toReversed()) {
    const file = await findDamage(checkpoint);
    if (file === null) return { checkpoint, damaged };
    damaged.push(`${basename(checkpoint.dir)}/${basename(file)}`);
    await removeCheckpoint(checkpoint);
  }
  return { checkpoint: null, damaged };
}

function checkNumericClass({ dir, record }: Checkpoint, engine: Engine, allowOtherBits: boolean): void {
  if (record.numericClass === engine.numericClass || allowOtherBits) return;
  throw new StateError(
    `${dir} was computed in numeric class ${record.numericClass}, this engine (${engine.name}) computes in ${engine.numericClass}`,
    "use the engine it was started with, or allow other bits (--allow-other-bits)",
  );
}
