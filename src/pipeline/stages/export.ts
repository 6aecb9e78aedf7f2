/**
 * Stage `export`: the trained SAE in its inference form, as a SAELens directory. Firing frequencies over all held-out
 * sets together go into `sparsity.safetensors`, so they are measured here, before the directory appears as a whole.
 */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { FiringStats, log10Frequencies } from "../../evals/firing.ts";
import { toInferenceForm } from "../../sae/convert.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { openInference } from "../../sae/inference.ts";
import type { SaeFacts } from "../../sae/load.ts";
import type { Sae, TrainingForm, TrainingSae } from "../../sae/sae.ts";
import { saveSae } from "../../sae/save.ts";
import { writeJson } from "../../storage/atomic.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { hashFile } from "../../storage/hash.ts";
import { readJson } from "../../storage/json.ts";
import { trainedSae } from "../../train/final-checkpoint.ts";
import type { Progress, RunContext } from "../context.ts";
import { publicName } from "../recipe/file.ts";
import { formRecord } from "./form-record.ts";
import { addGolden, goldenInputs } from "./golden.ts";
import { heldOutPairs } from "./harvest.ts";
import { keptTraining } from "./kept.ts";
import { isLayerPolished, isReplacedByPolish } from "./polish-choice.ts";
import { openSetStore } from "./recorded.ts";
import { chooseThreshold, type ThresholdRecord } from "./thresholds.ts";
import type { Unit } from "./unit.ts";

/** Rows encoded at a time. */
const CHUNK_ROWS = 2048;

export function exportUnit(context: RunContext, layer: number, polished: boolean): Unit {
  const trainUnit = polished ? `polish:${layer}` : `train:${layer}`;
  return {
    id: polished ? `polish-export:${layer}` : `export:${layer}`,
    stage: polished ? "polish" : "export",
    layer,
    title: `export ${polished ? "polished " : ""}layer ${layer}`,
    inputs: async () => ({
      weights: keptTraining(context, trainUnit).weightsHash,
      ...(context.recipe.train.threshold === "ema" ? {} : { threshold: context.recipe.train.threshold }),
      output: context.recipe.output,
      stores: heldOutPairs(context, ["model"]).map(
        ({ set }) => context.state.output(`harvest:model:${set}`).stores,
      ),
    }),
    files: () => [context.dir.repository],
    isIntact: async () =>
      (!polished && (await isReplacedByPolish(context, layer))) ||
      holdsExport(context, polished ? `polish-export:${layer}` : `export:${layer}`),
    isWanted: async () => !polished || isLayerPolished(context, layer),
    clear: async () => {
      const { id } = (context.state.units[polished ? `polish-export:${layer}` : `export:${layer}`]?.output ??
        {}) as { id?: string };
      if (id !== undefined) await rm(context.dir.sae(id), { recursive: true, force: true });
    },
    async run(report) {
      if (polished) await keepResultsBeforePolish(context, layer);
      const source = await sourceFacts(context, layer);
      const { sae: trained, ...training } = await loadInferenceForm(context, layer, polished, source);
      const { form, threshold: ema } = training;
      const { sae, record } =
        form.selection === "own"
          ? { sae: trained, record: null }
          : await chooseThreshold(context, layer, { sae: trained, k: form.k, ema });
      const id = exportName(context, layer, form);
      const sparsity = await measureFrequencies(context, layer, sae, report);
      const inputs = await goldenInputs(context, layer);
      await saveSae(context.dir.sae(id), sae, {
        sparsity,
        extraMetadata: lineage(context, layer, { ...training, record }, source, polished),
        beside: (folder) => addGolden(folder, inputs.activations),
      });
      const names = (await readdir(context.dir.sae(id))).sort();
      const files = await Promise.all(
        names.map(async (name) => [name, await hashFile(join(context.dir.sae(id), name))]),
      );
      return {
        id,
        files: Object.fromEntries(files) as Record<string, string>,
        golden: inputs.rows,
        thresholds: record,
        ...(polished ? { prepolish: await hashFile(context.dir.evals(layer, "prepolish")) } : {}),
      };
    },
  };
}

/** Does the folder of a saved SAE hold what unit `id` saved, bit for bit? */
async function holdsExport(context: RunContext, id: string): Promise<boolean> {
  const saved = context.state.output(id) as { id: string; files: Record<string, string> };
  const dir = context.dir.sae(saved.id);
  for (const [name, hash] of Object.entries(saved.files)) {
    const path = join(dir, name);
    if ((await statIfPresent(path)) === null || (await hashFile(path)) !== hash) return false;
  }
  return true;
}

/** The polished SAE takes the place of the unpolished, and its results too: these are kept under another name. */
async function keepResultsBeforePolish(context: RunContext, layer: number): Promise<void> {
  const after = context.dir.evals(layer, "after");
  if ((await hashFile(after)) !== context.state.output(`after:${layer}`).results) return;
  const evals = await readJson<Record<string, unknown>>(after);
  await writeJson(context.dir.evals(layer, "prepolish"), { ...evals, phase: "prepolish" });
}

/** Folder name of a layer's SAE in the repository, e.g. btk-mat-layer-4-k-32. */
function exportName(context: RunContext, layer: number, form: TrainingForm): string {
  const named = context.recipe.output.id.replaceAll("{layer}", String(layer));
  return form.selection === "own" ? named : named.replaceAll("{k}", String(form.k));
}

/** The same, of an SAE that has been exported. */
export function exportedId(context: RunContext, layer: number): string {
  return context.state.output(`export:${layer}`).id as string;
}

/** What the source SAE says of itself, without its weights; null from scratch. */
type SourceFacts = SaeFacts | null;

async function sourceFacts(context: RunContext, layer: number): Promise<SourceFacts> {
  return "from" in context.recipe.sae ? context.sourceSaeFacts(layer) : null;
}

/** The trained SAE in its inference form, and of the training form what is no weight: the two are large, and one is enough. */
async function loadInferenceForm(
  context: RunContext,
  layer: number,
  polished: boolean,
  source: SourceFacts,
): Promise<{ sae: Sae } & TrainedFacts> {
  const training = await trainedSae(context.dir.train(layer, polished), context.recipe.train.keep);
  const sae = toInferenceForm(training, {
    metadata: source?.config.metadata ?? {},
    runnerConfig: source?.runnerConfig ?? null,
    hookName: source?.config.hookName ?? canonicalHookName(layer),
    modelName: context.modelName,
    contextSize: context.recipe.contextSize,
    prependBos: context.recipe.corpus.prependBos,
  });
  return { sae, form: training.form, threshold: training.threshold };
}

type TrainedFacts = Pick<TrainingSae, "form" | "threshold">;

/** log10 firing frequency over all held-out sets of the model together, floor −10; [dSae] */
async function measureFrequencies(
  context: RunContext,
  layer: number,
  sae: Sae,
  report: (progress: Progress) => void,
): Promise<Float32Array> {
  const engine = await context.engine();
  const { threads, signal } = context.options;
  const inference = await openInference(sae, engine.create, { threads });
  const firing = new FiringStats(sae.config.dSae);
  try {
    for (const { set } of heldOutPairs(context, ["model"])) {
      const store = await openSetStore(context, "model", set, layer);
      try {
        let done = 0;
        for await (const { activations, nRows } of store.stream(CHUNK_ROWS, undefined, { reuse: 1 })) {
          signal?.throwIfAborted();
          firing.add(await inference.encode(activations));
          done += nRows;
          report({ done, total: store.nRows, unit: "tokens", details: { set } });
        }
      } finally {
        await store.close();
      }
    }
  } finally {
    await inference.dispose();
  }
  return log10Frequencies(firing.counts, firing.nTokens);
}

/** What continuing the training did, for `cfg.json`'s metadata. */
function lineage(
  context: RunContext,
  layer: number,
  training: TrainedFacts & { readonly record: ThresholdRecord | null },
  source: SourceFacts,
  polished: boolean,
): Record<string, unknown> {
  const { recipe } = context;
  const trained = keptTraining(context, `train:${layer}`);
  const { prependBos, excludeSpecialTokens, packing, sources } = recipe.corpus;
  return {
    // what SAELens' own keys say must be true of this SAE, not of its source
    dataset_path: sources.map(({ location }) => publicName(location)).join(" + "),
    exclude_special_tokens: excludeSpecialTokens,
    sequence_separator_token: packing === "saelens" ? "bos" : null,
    disable_concat_sequences: packing === "document",
    lapidary: {
      source_metadata: source && replacedFacts(source.config.metadata),
      continued_from:
        "from" in recipe.sae
          ? { source: publicName(recipe.sae.from.replaceAll("{layer}", String(layer))) }
          : null,
      model: publicName(recipe.model.source),
      base_model: recipe.baseModel && publicName(recipe.baseModel.source),
      layer,
      ...formRecord(training),
      ...training.record,
      steps: trained.steps,
      training_tokens: trained.tokens,
      polish_steps: polished ? keptTraining(context, `polish:${layer}`).steps : 0,
      lr: recipe.train.lr,
      batch_tokens: recipe.train.batchTokens,
      corpus: sources.map(({ name, kind, location, weight }) => ({
        name,
        kind,
        location: publicName(location),
        weight,
      })),
      packing,
      context_size: recipe.contextSize,
      prepend_bos: prependBos,
      seed: recipe.seed,
    },
  };
}

/** Of the source's metadata, what this SAE's own facts replaced. */
function replacedFacts(metadata: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const replaced = [
    "model_name",
    "context_size",
    "prepend_bos",
    "dataset_path",
    "exclude_special_tokens",
    "sequence_separator_token",
    "disable_concat_sequences",
  ];
  return Object.fromEntries(replaced.filter((key) => key in metadata).map((key) => [key, metadata[key]]));
}
