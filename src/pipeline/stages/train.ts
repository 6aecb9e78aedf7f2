/** Stages `train` and `polish`: an SAE a layer, from the source (or from scratch), on the training activations. */
import { rm } from "node:fs/promises";
import { StateError } from "../../errors.ts";
import { type CheckpointStart, openCheckpointStart } from "../../sae/checkpoint-start.ts";
import { openDenseStart } from "../../sae/dense-start.ts";
import { initRows } from "../../sae/init.ts";
import { openWarmStart, type WarmStartOptions } from "../../sae/warm-start.ts";
import type { ResamplingConfig, ScheduleConfig, TrainConfig } from "../../train/config.ts";
import { checkTrainingLogs, openTrainedWeights, readFinishedTraining } from "../../train/final-checkpoint.ts";
import { trainingMemory } from "../../train/memory.ts";
import type { TrainStart } from "../../train/options.ts";
import { decidingConfig } from "../../train/run-identity.ts";
import { train } from "../../train/trainer.ts";
import type { Progress, RunContext } from "../context.ts";
import { denseForm } from "../recipe/dense.ts";
import type { Recipe, ScheduleRecipe } from "../recipe/recipe.ts";
import { decidingScratch, scratchForm } from "../recipe/scratch.ts";
import { decidingSource } from "../recipe/source.ts";
import { announceMemory } from "../resources.ts";
import { setNames } from "./corpus.ts";
import { keptTraining } from "./kept.ts";
import { isLayerPolished } from "./polish-choice.ts";
import { openSetStore, storeHash } from "./recorded.ts";
import type { Unit } from "./unit.ts";

export function trainUnit(context: RunContext, layer: number): Unit {
  const { recipe, dir } = context;
  const unit = { id: `train:${layer}`, title: `train layer ${layer}` };
  return {
    ...unit,
    stage: "train",
    layer,
    inputs: async () => ({
      ...trainingInputs(context, layer),
      start:
        "from" in recipe.sae
          ? { ...decidingSource(recipe.sae), from: await context.saeIdentity(layer) }
          : decidingScratch(recipe.sae.scratch),
      train: decidingOptions(recipe),
    }),
    files: () => [dir.train(layer, false)],
    isIntact: () => logsAreWhole(dir.train(layer, false)),
    clear: () => rm(dir.train(layer, false), { recursive: true, force: true }),
    run: (report) =>
      runTraining(context, layer, {
        unit,
        dir: dir.train(layer, false),
        config: trainConfig(recipe),
        start: () => startOf(context, layer),
        report,
      }),
  };
}

/** Report and card read the logs; they cannot be made again. @throws {StateError} one is not what training left */
async function logsAreWhole(dir: string): Promise<true> {
  await checkTrainingLogs(dir);
  return true;
}

/**
 * What is there by default is what there was before there was a choice: such runs go on. What is kept of a training and
 * its threshold are chosen when it is exported.
 */
function decidingOptions(recipe: Recipe): Record<string, unknown> {
  const { screening, moments, earlyStop, watch: _, keep: _keep, threshold: _ema, ...rest } = recipe.train;
  const { resampling, watch } = decidingConfig(trainConfig(recipe));
  return {
    ...rest,
    resampling,
    ...(watch === undefined ? {} : { watch }),
    ...(earlyStop === null ? {} : { earlyStop }),
    ...(screening.margin === "rigorous" ? {} : { screening }),
    ...(moments === "f32" ? {} : { moments }),
  };
}

/** A further epoch or more at its own learning rate, without resampling, from where training ended. */
export function polishUnit(context: RunContext, layer: number): Unit {
  const { recipe, dir } = context;
  const unit = { id: `polish:${layer}`, title: `polish layer ${layer}` };
  return {
    ...unit,
    stage: "polish",
    layer,
    inputs: async () => ({
      ...trainingInputs(context, layer),
      trained: keptTraining(context, `train:${layer}`).weightsHash,
      config: decidingConfig(polishConfig(recipe)), // not polish.when: wanting a polish does not change what it does
    }),
    files: () => [dir.train(layer, true)],
    isIntact: () => logsAreWhole(dir.train(layer, true)),
    isWanted: async () => isLayerPolished(context, layer),
    clear: () => rm(dir.train(layer, true), { recursive: true, force: true }),
    run: (report) =>
      runTraining(context, layer, {
        unit,
        dir: dir.train(layer, true),
        config: polishConfig(recipe),
        start: async () => {
          const { keep } = recipe.train;
          const trained = await readFinishedTraining(dir.train(layer, false), keep);
          if (trained === null)
            throw new StateError(
              `layer ${layer} has not been trained to its end`,
              "run the train stage first",
            );
          const { form, threshold } = trained;
          return {
            form,
            weights: () => openTrainedWeights(dir.train(layer, false), keep),
            threshold,
          };
        },
        report,
      }),
  };
}

/** The recipe's training options as the trainer takes them. */
export function trainConfig(recipe: Recipe): TrainConfig {
  const { train } = recipe;
  return {
    seed: recipe.seed,
    batchTokens: train.batchTokens,
    epochs: train.epochs,
    schedule: scheduleConfig(train),
    beta1: train.beta1,
    beta2: train.beta2,
    epsilon: train.epsilon,
    clipNorm: train.clipNorm,
    deadAfterTokens: train.deadAfterTokens ?? 1000 * train.batchTokens,
    resampling: train.resampling && withoutNulls(train.resampling),
    guard: train.guard,
    ...(train.watch === null ? {} : { watch: train.watch }),
    ...(train.earlyStop === null ? {} : { earlyStop: train.earlyStop }),
    ...statisticalScreening(train),
    ...(train.moments === "f32" ? {} : { moments: train.moments }),
    checkpointEverySteps: train.checkpointEverySteps,
    logEverySteps: train.logEverySteps,
  };
}

/** Caps that are not set are absent. */
function withoutNulls(resampling: NonNullable<Recipe["train"]["resampling"]>): ResamplingConfig {
  const { maxNewcomers, maxLatentShare, maxWatchedShare, ...rest } = resampling;
  return {
    ...rest,
    ...(maxNewcomers !== null && { maxNewcomers }),
    ...(maxLatentShare !== null && { maxLatentShare }),
    ...(maxWatchedShare !== null && { maxWatchedShare }),
  };
}

function statisticalScreening({ screening }: Recipe["train"]): Pick<TrainConfig, "screening"> {
  const { margin, ...statistical } = screening;
  return margin === "rigorous" ? {} : { screening: statistical };
}

function polishConfig(recipe: Recipe): TrainConfig {
  const { polish } = recipe;
  return {
    ...trainConfig(recipe),
    epochs: polish.epochs,
    schedule: scheduleConfig(polish),
    resampling: null,
  };
}

function scheduleConfig(from: ScheduleRecipe): ScheduleConfig {
  const { lr, lrEnd, schedule, warmUpSteps, decaySteps, nCycles } = from;
  return { name: schedule, lr, lrEnd: lrEnd ?? lr / 10, warmUpSteps, decaySteps, nCycles };
}

/** Where a layer's training starts: the source SAE folded to its training form, or fresh weights. */
async function startOf(context: RunContext, layer: number): Promise<TrainStart> {
  const { recipe } = context;
  if ("from" in recipe.sae) return startFrom(context, layer, recipe.sae);
  const { scratch } = recipe.sae;
  const store = await openSetStore(context, "model", "train", layer);
  const { dIn } = store;
  await store.close();
  const { form, initThreshold } = scratchForm(scratch, recipe.train);
  const { dSae, decoderInitNorm } = scratch;
  const weights = async () =>
    initRows({ dIn, dSae, seed: recipe.seed, decoderInitNorm, form, initThreshold });
  return { form, weights, threshold: 0 };
}

/** The source is opened to see whether it can be trained on, and again when training really begins. */
async function startFrom(
  context: RunContext,
  layer: number,
  source: Extract<Recipe["sae"], { from: string }>,
): Promise<TrainStart> {
  const { seed, train } = context.recipe;
  const { zeroDecoderRows, architecture } = source;
  if (architecture !== null) {
    const { config } = await context.sourceSaeFacts(layer);
    const form = denseForm(architecture, source, config);
    const weights = async () =>
      openDenseStart(await context.openSourceSae(layer), form, { zeroDecoderRows, seed });
    await (await weights()).close();
    return { form, weights, threshold: 0 };
  }
  const { k, widths, rescaleActsByDecoderNorm, auxCoefficient, thresholdLr } = train;
  const options: WarmStartOptions = {
    k: k ?? undefined,
    widths: widths ?? undefined,
    rescaleActsByDecoderNorm: rescaleActsByDecoderNorm ?? undefined,
    auxCoefficient,
    thresholdLr,
    zeroDecoderRows,
    seed,
  };
  const open = async () => openWarmStart(await context.openSourceSae(layer), options);
  const { form, threshold, thresholdSpread, rows } = await open();
  await rows.close();
  const resumed = await checkpointOf(context, layer);
  if (resumed !== null) return { form, ...resumed };
  return { form, weights: async () => (await open()).rows, threshold, thresholdSpread };
}

/** A SAELens checkpoint whose optimizer's state can be used: training goes on as if it had not been interrupted. */
async function checkpointOf(
  context: RunContext,
  layer: number,
): Promise<Pick<TrainStart, "weights" | "threshold" | "adam"> | null> {
  const path = await context.saeFolder(layer);
  const opened = await openCheckpointStart(path);
  if (opened === null) return null;
  if ("unused" in opened) {
    const message = `layer ${layer}: the checkpoint's Adam state is not used: ${opened.unused}`;
    context.emit({ kind: "note", message });
    return null;
  }
  const { threshold, adam } = opened;
  await opened.rows.close();
  await adam.close();
  const again = async () => (await openCheckpointStart(path)) as CheckpointStart;
  const weights = async () => {
    const { rows, adam } = await again();
    await adam.close();
    return rows;
  };
  const moments = async () => {
    const { rows, adam } = await again();
    await rows.close();
    return adam;
  };
  context.emit({
    kind: "note",
    message: `layer ${layer}: goes on from a SAELens checkpoint, with Adam as ${adam.step} steps had left it`,
  });
  return { threshold, weights, adam: { step: adam.step, moments } };
}

interface TrainingRun {
  readonly unit: Pick<Unit, "id" | "title">;
  readonly dir: string;
  readonly config: TrainConfig;
  readonly start: () => Promise<TrainStart>;
  readonly report: (progress: Progress) => void;
}

async function runTraining(
  context: RunContext,
  layer: number,
  { unit, dir, config, start, report }: TrainingRun,
): Promise<Record<string, unknown>> {
  const store = await openSetStore(context, "model", "train", layer);
  const heldOutSet = heldOutSetName(context);
  const isHeldOutWanted = config.guard !== null || config.watch !== undefined;
  const heldOut =
    isHeldOutWanted && heldOutSet !== null ? await openSetStore(context, "model", heldOutSet, layer) : null;
  const engine = await context.engine();
  warnOfIdleResampling(context, layer, config, store.nRows);
  try {
    const { threads } = context.options;
    const from = await start();
    const { form } = from;
    await announceMemory(
      context,
      unit,
      trainingMemory(
        {
          dIn: store.dIn,
          dSae: form.widths[form.widths.length - 1],
          ...form,
          threads,
          moments: config.moments,
        },
        {
          batchTokens: config.batchTokens,
          ...(form.selection !== "own" && { k: form.k }),
          aux: form.auxCoefficient > 0,
          nRows: store.nRows,
          dtype: store.manifest.dtype,
          processBytes: process.memoryUsage.rss(),
        },
      ),
    );
    const outcome = await train({
      config,
      dir,
      identity: trainingInputs(context, layer),
      store,
      heldOut,
      start: from,
      createEngine: engine.create,
      allowOtherBits: context.options.allowOtherBits,
      threads,
      signal: context.options.signal,
      onProgress: ({ step, totalSteps, loss, ve, l0, threshold, dead, tokensPerSecond, newcomers }) =>
        report({
          done: step,
          total: totalSteps,
          unit: "steps",
          details: {
            "tok/s": Math.round(tokensPerSecond),
            loss,
            ve,
            l0,
            threshold,
            dead,
            ...(newcomers && {
              resampled: `${newcomers.count} take ${(100 * newcomers.share).toFixed(1)} %`,
            }),
          },
        }),
    });
    const { finalCheckpointDir: _dir, seconds: _seconds, ...facts } = outcome;
    return facts;
  } finally {
    await store.close();
    await heldOut?.close();
  }
}

/** Resampling needs a boundary between epochs by which more tokens have been seen than make a latent dead. */
function warnOfIdleResampling(context: RunContext, layer: number, config: TrainConfig, nRows: number): void {
  const seen = (config.epochs - 1) * nRows;
  if (config.resampling === null || seen > config.deadAfterTokens) return;
  context.emit({
    kind: "note",
    message: `layer ${layer}: resampling will find nothing, since a latent counts as dead after ${config.deadAfterTokens} tokens and the last boundary between epochs comes after ${seen}; train.deadAfterTokens sets this`,
  });
}

/** Guard and watch look at the first held-out set. */
function heldOutSetName(context: RunContext): string | null {
  return setNames(context)[1] ?? null;
}

function trainingInputs(context: RunContext, layer: number): Record<string, unknown> {
  const { guard, earlyStop } = context.recipe.train;
  const set = heldOutSetName(context);
  return {
    store: storeHash(context, "model", "train", layer),
    // a watch decides nothing by itself
    guardStore:
      (guard === null && earlyStop === null) || set === null ? null : storeHash(context, "model", set, layer),
    seed: context.recipe.seed,
  };
}
