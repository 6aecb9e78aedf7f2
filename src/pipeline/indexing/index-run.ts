/** Indexes of a run: each layer's final SAE on the run's own activations, and the source SAE it was trained from on the same. */
import { join, relative } from "node:path";
import type { ActivationStore } from "../../activations/activations.ts";
import { readTokenizerFolder } from "../../corpus/tokenizer-folder.ts";
import { Vocabulary } from "../../corpus/vocabulary.ts";
import type { IndexedSet } from "../../dashboard/tokens/indexed-set.ts";
import { RecipeError, StateError } from "../../errors.ts";
import { storeSource } from "../../evals/token-source.ts";
import { loadSae, loadSaeFacts } from "../../sae/load.ts";
import { readDeadLatents } from "../../train/final-checkpoint.ts";
import { type RunEvent, readJsonLines } from "../../train/log.ts";
import { timesResampled } from "../../train/resampled.ts";
import type { RunContext } from "../context.ts";
import { type LoadedRecipe, publicName } from "../recipe/file.ts";
import { chooseLayers, openRun } from "../run.ts";
import { lockRun } from "../run-lock.ts";
import { setLabels } from "../set-labels.ts";
import { setNames } from "../stages/corpus.ts";
import { finishedLayers } from "../stages/finished.ts";
import { keptTraining, trainingRecord } from "../stages/kept.ts";
import { finalExport, isLayerPolished } from "../stages/polish-choice.ts";
import { openSetStore, openSetWindows } from "../stages/recorded.ts";
import { densitiesOf, describeSae, tokenText } from "./describe.ts";
import {
  DEFAULT_TOKENS,
  dataHashOf,
  type IndexHead,
  type IndexingOptions,
  type MadeIndex,
  makeIndex,
  type WantedIndex,
} from "./make-index.ts";

/** Which of a run is indexed, on which of its tokens. */
export interface IndexRunOptions extends IndexingOptions {
  /** default: those that are finished */
  readonly layers?: readonly number[];
  /** of the run's; default: the training set */
  readonly sets?: readonly string[];
  /** of all sets together, shared equally; default DEFAULT_TOKENS */
  readonly tokens?: number;
  /** default true: logits by the run's own model */
  readonly logits?: boolean;
  /** multiply by the final norm's weight first; default false */
  readonly finalNorm?: boolean;
}

/**
 * Indexes the finished layers of a run, one after the other; what is there already is left alone.
 * @throws {StateError} a layer is not finished, or another process works on the run
 */
export async function indexRun(
  loaded: LoadedRecipe,
  runsFolder: string,
  options: IndexRunOptions = {},
): Promise<MadeIndex[]> {
  const context = await openRun(loaded, { ...options, runsFolder });
  const unlock = await lockRun(context.dir.lock);
  try {
    const sets = options.sets ?? ["train"];
    const unknown = sets.find((set) => !setNames(context).includes(set));
    if (unknown !== undefined)
      throw new RecipeError(
        `the run has no set "${unknown}"`,
        `it has ${setNames(context).join(", ")}: --set NAME (repeatable)`,
      );
    const made: MadeIndex[] = [];
    const finished = finishedLayers(context);
    if (options.layers === undefined && finished.length === 0)
      throw new StateError(
        "no layer of this run is finished",
        `run it first: lapidary run ${relative(".", context.dir.recipe)}`,
      );
    for (const layer of chooseLayers(context.recipe.layers, options.layers ?? finished))
      made.push(...(await indexLayer(context, layer, sets, options)));
    return made;
  } finally {
    await unlock();
  }
}

async function indexLayer(
  context: RunContext,
  layer: number,
  sets: readonly string[],
  options: IndexRunOptions,
): Promise<MadeIndex[]> {
  const { dir } = context;
  const { id } = finalExport(context, layer);
  const data = await openSets(context, layer, sets, options.tokens ?? DEFAULT_TOKENS);
  try {
    const made: MadeIndex[] = [];
    const common = {
      modelName: context.modelName,
      sets: data.sets,
      dataHash: data.hash,
      textOf: await tokenTexts(context),
      head: options.logits === false ? null : await headOf(context, options.finalNorm ?? false),
      createEngine: (await context.engine()).create,
    };
    let base: WantedIndex["base"] = null;
    if ("from" in context.recipe.sae) {
      const name = publicName(context.recipe.sae.from.replaceAll("{layer}", String(layer)));
      const before = await makeIndex(
        {
          ...common,
          dir: dir.index(layer, "before"),
          title: `index: layer ${layer}, source SAE`,
          ...describeSae(await context.sourceSae(layer), name),
          base: null,
          training: null,
        },
        options,
      );
      made.push(before);
      base = {
        name,
        hash: before.manifest.sae.hash,
        index: relative(dir.indexes, before.dir),
        density: await densitiesOf(before.dir),
        load: () => context.sourceSae(layer),
      };
    }
    made.push(
      await makeIndex(
        {
          ...common,
          dir: dir.index(layer, "after"),
          title: `index: layer ${layer}`,
          ...describeSae(await loadSae(dir.sae(id)), id),
          base,
          training: await trainingFacts(context, layer),
        },
        options,
      ),
    );
    return made;
  } finally {
    await data.close();
  }
}

/** The run's stores of a layer, each with as many rows as it is to give. */
async function openSets(
  context: RunContext,
  layer: number,
  names: readonly string[],
  tokens: number,
): Promise<{ sets: IndexedSet[]; hash: string; close(): Promise<void> }> {
  const isImported = context.recipe.activations.import !== null;
  const limit = Math.max(1, Math.floor(tokens / names.length));
  const stores: ActivationStore[] = [];
  const sets: IndexedSet[] = [];
  for (const name of names) {
    const store = await openSetStore(context, "model", name, layer);
    stores.push(store);
    const { labels } = await setLabels(context, name);
    sets.push({
      tokens: storeSource(store, { limit }),
      windows: isImported ? null : await openSetWindows(context, name),
      sourceOf: labels?.sourceOf ?? null,
    });
  }
  return {
    sets,
    hash: dataHashOf(sets.map(({ tokens }) => ({ hash: tokens.store!.hash, nRows: tokens.total }))),
    async close() {
      for (const store of stores) await store.close();
    },
  };
}

async function headOf(context: RunContext, finalNorm: boolean): Promise<IndexHead> {
  const { dtype } = context.modelRecipe("model");
  return { folder: await context.modelFolder("model"), finalNorm, ...(dtype === null ? {} : { dtype }) };
}

async function tokenTexts(context: RunContext): Promise<(tokenId: number) => string> {
  const vocabulary = new Vocabulary(await readTokenizerFolder(await context.modelFolder("model")));
  return tokenText(vocabulary);
}

/** What training knew of the latents of the SAE that it left. */
async function trainingFacts(context: RunContext, layer: number): Promise<WantedIndex["training"]> {
  const polished = isLayerPolished(context, layer);
  const { resamplings } = trainingRecord(context, `train:${layer}`);
  const { steps } = keptTraining(context, `train:${layer}`);
  const events = await readJsonLines<RunEvent>(join(context.dir.train(layer, false), "events.jsonl"));
  const { dSae } = (await loadSaeFacts(context.dir.sae(finalExport(context, layer).id))).config;
  return {
    dead: await readDeadLatents(context.dir.train(layer, polished), context.recipe.train.keep),
    // records of older versions have no resamplings
    nResampled: resamplings ? timesResampled({ events: events ?? [], resamplings, steps, dSae }) : null,
  };
}
