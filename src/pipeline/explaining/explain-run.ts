/**
 * Explaining an index of a run. The run still has the activations that were indexed, so that of every context it can be
 * said whether a latent fires in it: hard negatives for all latents, not only for the rare ones.
 */
import { resolve } from "node:path";
import type { ActivationStore } from "../../activations/activations.ts";
import type { WindowSet } from "../../corpus/windows.ts";
import { readIndexManifest } from "../../dashboard/index-manifest.ts";
import { StateError } from "../../errors.ts";
import { withinDocuments } from "../../explain/document-edges.ts";
import type { Example } from "../../explain/examples.ts";
import type { ExplainPlan } from "../../explain/plan.ts";
import { type ExplainSummary, planExplain } from "../../explain/run.ts";
import type { ExplainOptions } from "../../explain/settings.ts";
import type { SilenceOf } from "../../explain/silence.ts";
import { silenceByStores, type WantedSilence } from "../../explain/store-silence.ts";
import { openInference } from "../../sae/inference.ts";
import type { Progress, RunContext } from "../context.ts";
import { findIndex, type WhichIndex } from "../indexing/find-index.ts";
import { type IndexPhase, loadIndexedSae } from "../indexing/indexed-sae.ts";
import type { LoadedRecipe } from "../recipe/file.ts";
import { openRun } from "../run.ts";
import { openSetStore, openSetWindows } from "../stages/recorded.ts";
import { explainIndex } from "./explain-index.ts";

/** Which index of the run, and how it is explained. */
export interface ExplainRunOptions extends ExplainOptions, WhichIndex {
  /** the index in this folder of the run; then `layer` and `before` choose nothing */
  readonly folder?: string;
  /** of the engine */
  readonly threads?: number;
  /** progress of encoding stored activations again */
  readonly onEncode?: (progress: Progress) => void;
}

/** Explains one index of a run. @throws {StateError} the run has no such index, or another process explains it */
export async function explainRun(
  loaded: LoadedRecipe,
  runsFolder: string,
  options: ExplainRunOptions,
): Promise<ExplainSummary & { readonly folder: string }> {
  const { folder, wanted } = await openRunIndex(loaded, runsFolder, options);
  return { ...(await explainIndex(folder, wanted)), folder };
}

/** The plan alone; sends nothing, writes nothing. */
export async function planExplainRun(
  loaded: LoadedRecipe,
  runsFolder: string,
  options: ExplainRunOptions,
): Promise<ExplainPlan> {
  const { folder, wanted } = await openRunIndex(loaded, runsFolder, options);
  return planExplain(folder, wanted);
}

async function openRunIndex(loaded: LoadedRecipe, runsFolder: string, options: ExplainRunOptions) {
  const context = await openRun(loaded, { runsFolder });
  const { folder, layer, phase } = await chooseIndex(context, options);
  const silence = (wanted: readonly WantedSilence[]) =>
    silenceByRun(context, { folder, layer, phase }, wanted, options);
  if (context.recipe.activations.import !== null) return { folder, wanted: { ...options, silence } };
  const sets: WindowSet[] = [];
  for (const set of (await readIndexManifest(folder)).data.sets)
    sets.push(await openSetWindows(context, set));
  const within = (examples: readonly Example[]) => withinDocuments(examples, sets);
  return { folder, wanted: { ...options, silence, within } };
}

interface RunIndex {
  readonly folder: string;
  readonly layer: number;
  readonly phase: IndexPhase;
}

async function chooseIndex({ recipe, dir }: RunContext, options: ExplainRunOptions): Promise<RunIndex> {
  const folder = resolve(options.folder ?? (await findIndex(dir.root, options)));
  for (const layer of recipe.layers)
    for (const phase of ["before", "after"] as const)
      if (dir.index(layer, phase) === folder) return { folder, layer, phase };
  throw new StateError(`${folder} is no index of ${dir.root}`, "lapidary index makes a run's indexes");
}

async function silenceByRun(
  context: RunContext,
  { folder, layer, phase }: RunIndex,
  wanted: readonly WantedSilence[],
  { signal, threads, onEncode }: ExplainRunOptions,
): Promise<SilenceOf> {
  if (wanted.length === 0) return () => "unknown";
  const { sae: indexed, data } = await readIndexManifest(folder);
  const sae = await loadIndexedSae(context, layer, phase, indexed.hash);
  const stores: ActivationStore[] = [];
  const { create } = await context.engine();
  const inference = await openInference(sae, create, threads === undefined ? {} : { threads });
  try {
    for (const set of data.sets) stores.push(await openSetStore(context, "model", set, layer));
    return await silenceByStores({
      stores,
      encode: (x) => inference.encode(x),
      wanted,
      signal,
      onProgress: ({ done, total }) => onEncode?.({ done, total, unit: "tokens" }),
    });
  } finally {
    for (const store of stores) await store.close();
    await inference.dispose();
  }
}
