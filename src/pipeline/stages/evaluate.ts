/**
 * Stages `before` and `after`: an SAE against the held-out stores of a layer. `before` runs the source SAE as published,
 * its own thresholds and all, on the base model (healthy at home?) and on the model; `after` runs the exported
 * directory, loaded afresh, on the model.
 */
import { type PairedDifference, pairedDifferences } from "../../evals/bootstrap.ts";
import { loadDocumentSums, saveDocumentSums } from "../../evals/document-file.ts";
import type { DocumentSums } from "../../evals/documents.ts";
import { type Evaluation, evaluate } from "../../evals/evaluate.ts";
import { type FiringCounts, saveFiring } from "../../evals/firing-file.ts";
import type { MetricName } from "../../evals/metrics.ts";
import { EVAL_VERSION, type EvalResult } from "../../evals/result.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { type InferenceSae, openInference } from "../../sae/inference.ts";
import { loadSae } from "../../sae/load.ts";
import type { Sae } from "../../sae/sae.ts";
import { removeFiles, writeJson } from "../../storage/atomic.ts";
import { hashFile } from "../../storage/hash.ts";
import { readJson } from "../../storage/json.ts";
import type { Progress, RunContext } from "../context.ts";
import type { ModelKey, Phase } from "../run-directory.ts";
import { setLabels } from "../set-labels.ts";
import { exportedId } from "./export.ts";
import { evaluatedPairs, isDomain, type SetPair } from "./harvest.ts";
import { keptTraining } from "./kept.ts";
import { hasPolishedExport, isLayerPolished, isReplacedByPolish } from "./polish-choice.ts";
import { openSetStore, storeHash } from "./recorded.ts";
import type { Unit } from "./unit.ts";

/** `evals/<hook>.<phase>.json` */
export interface LayerEvals {
  readonly format: "lapidary-layer-evals";
  readonly version: 2;
  readonly phase: Phase;
  readonly layer: number;
  readonly hookName: string;
  /** one a (model, set) */
  readonly results: readonly {
    readonly model: ModelKey;
    readonly set: string;
    /** a set of another kind of text: shown, not gated */
    readonly isDomain: boolean;
    readonly result: EvalResult;
    /** from the source SAE on the same tokens to this one; null before training, and from scratch */
    readonly change: Readonly<Record<MetricName, PairedDifference>> | null;
  }[];
  /** latents that did not fire in the last deadAfterTokens tokens of training; null before training */
  readonly deadInTraining: number | null;
  readonly engine: { readonly name: string; readonly numericClass: string };
}

export async function readLayerEvals(path: string): Promise<LayerEvals> {
  return readJson<LayerEvals>(path);
}

export function beforeUnits(context: RunContext, layers: readonly number[]): Unit[] {
  if (!("from" in context.recipe.sae)) return [];
  return layers.map((layer) => ({
    id: `before:${layer}`,
    stage: "before" as const,
    layer,
    title: `before: source SAE of layer ${layer} on the held-out sets`,
    inputs: async () => ({
      sae: await context.saeIdentity(layer),
      stores: heldOutStores(context, layer, ["base", "model"]),
      ...MEASUREMENT,
    }),
    files: () => filesOf(context, layer, "before"),
    isIntact: () => areIntact(context, layer, "before", `before:${layer}`),
    clear: () => removeFiles(filesOf(context, layer, "before")),
    async run(report) {
      const sae = await context.sourceSae(layer);
      const evaluation = await evaluateLayer(context, {
        sae,
        layer,
        models: ["base", "model"],
        phase: "before",
        deadInTraining: null,
        report,
      });
      return writeEvals(context, evaluation);
    },
  }));
}

/** `after` of a layer; `polished`: the one after the polish, which replaces it. */
export function afterUnit(context: RunContext, layer: number, polished: boolean): Unit {
  const trainUnit = polished ? `polish:${layer}` : `train:${layer}`;
  const exportUnit = polished ? `polish-export:${layer}` : `export:${layer}`;
  const id = polished ? `polish-after:${layer}` : `after:${layer}`;
  return {
    id,
    stage: polished ? "polish" : "after",
    layer,
    title: `after: ${polished ? "polished " : ""}SAE of layer ${layer} on the held-out sets`,
    inputs: async () => ({
      export: context.state.output(exportUnit).files,
      stores: heldOutStores(context, layer, ["model"]),
      before: "from" in context.recipe.sae ? context.state.output(`before:${layer}`).documents : null,
      ...MEASUREMENT,
    }),
    files: () => (!polished && hasPolishedExport(context, layer) ? [] : filesOf(context, layer, "after")),
    isIntact: async () =>
      (!polished && (await isReplacedByPolish(context, layer))) || areIntact(context, layer, "after", id),
    isWanted: async () => !polished || isLayerPolished(context, layer),
    clear: async () => {
      await removeFiles(filesOf(context, layer, "after"));
      if (!polished) await removeFiles([context.dir.evals(layer, "prepolish")]);
    },
    async run(report) {
      const sae = await loadSae(context.dir.sae(exportedId(context, layer)));
      const deadInTraining = keptTraining(context, trainUnit).deadInTraining;
      const evaluation = await evaluateLayer(context, {
        sae,
        layer,
        models: ["model"],
        phase: "after",
        deadInTraining,
        report,
      });
      return writeEvals(context, await withChanges(context, evaluation));
    },
  };
}

/**
 * Seed of the intervals' draws. Not the recipe's, which is of training: one SAE on one set has one interval, and runs of
 * several seeds share what they measured before training.
 */
export const DRAWS_SEED = 0;

/** What decides an evaluation beside SAE and stores. */
const MEASUREMENT = { results: EVAL_VERSION, seed: DRAWS_SEED };

interface LayerEvaluation {
  readonly sae: Sae;
  readonly layer: number;
  readonly models: readonly ModelKey[];
  readonly phase: Phase;
  readonly deadInTraining: number | null;
  readonly report: (progress: Progress) => void;
}

/** Tokens a batch in SAELens' and SAEBench's definitions, some of which depend on it: 32 prompts of 128 tokens. */
const OTHER_PROGRAMS_BATCH = 4096;

/** Results, and what they were computed from: "model/set" → sums of documents, firing counts. */
interface LayerEvaluated {
  readonly evals: LayerEvals;
  readonly documents: Readonly<Record<string, DocumentSums>>;
  readonly firing: Readonly<Record<string, FiringCounts>>;
}

/** Evaluates one SAE on every held-out store of its layer. */
export async function evaluateLayer(context: RunContext, options: LayerEvaluation): Promise<LayerEvaluated> {
  const { sae, layer, models, phase, deadInTraining, report } = options;
  const engine = await context.engine();
  const inference = await openInference(sae, engine.create, { threads: context.options.threads });
  try {
    const results: LayerEvals["results"][number][] = [];
    const documents: Record<string, DocumentSums> = {};
    const firing: Record<string, FiringCounts> = {};
    for (const { model, set } of evaluatedPairs(context, models)) {
      const evaluation = await evaluateSet(context, inference, { model, set, layer }, report);
      const { result } = evaluation;
      results.push({ model, set, isDomain: isDomain(context, set), result, change: null });
      documents[`${model}/${set}`] = evaluation.documents;
      firing[`${model}/${set}`] = { counts: evaluation.firingCounts, nTokens: result.nTokens };
    }
    const { numericClass } = inference;
    const evals: LayerEvals = {
      format: "lapidary-layer-evals",
      version: 2,
      phase,
      layer,
      hookName: canonicalHookName(layer),
      results,
      deadInTraining,
      engine: { name: engine.name, numericClass },
    };
    return { evals, documents, firing };
  } finally {
    await inference.dispose();
  }
}

async function evaluateSet(
  context: RunContext,
  inference: InferenceSae,
  { model, set, layer }: SetPair & { readonly layer: number },
  report: (progress: Progress) => void,
): Promise<Evaluation> {
  const store = await openSetStore(context, model, set, layer);
  try {
    return await evaluate(inference, store, {
      ...(await setLabels(context, set)),
      otherPrograms: { batchTokens: OTHER_PROGRAMS_BATCH },
      seed: DRAWS_SEED,
      signal: context.options.signal,
      onProgress: ({ done, total }) =>
        report({ done, total, unit: "tokens", details: { set: `${model}/${set}` } }),
    });
  } finally {
    await store.close();
  }
}

/** With the difference to `before` in each result, and its interval, both computed of the same drawn documents. */
async function withChanges(context: RunContext, evaluated: LayerEvaluated): Promise<LayerEvaluated> {
  if (!("from" in context.recipe.sae)) return evaluated;
  const { evals, documents } = evaluated;
  const before = await loadDocumentSums(context.dir.documents(evals.layer, "before"));
  const results = evals.results.map((entry) => {
    const key = `${entry.model}/${entry.set}`;
    const source = before.get(key);
    const change =
      source === undefined ? null : pairedDifferences(source, documents[key].blocks(), DRAWS_SEED);
    return { ...entry, change };
  });
  return { ...evaluated, evals: { ...evals, results } };
}

async function writeEvals(
  context: RunContext,
  { evals, documents, firing }: LayerEvaluated,
): Promise<{ results: string; documents: string; firing: string; worstVe: number }> {
  const { dir } = context;
  const { layer, phase } = evals;
  await saveDocumentSums(dir.documents(layer, phase), documents);
  await saveFiring(dir.firing(layer, phase), firing);
  await writeJson(dir.evals(layer, phase), evals);
  const worst = Math.min(
    ...evals.results
      .filter(({ model, isDomain }) => model === "model" && !isDomain)
      .map(({ result }) => result.metrics.ve.value ?? Number.NEGATIVE_INFINITY),
  );
  return { ...(await hashesOf(context, layer, phase)), worstVe: worst };
}

function filesOf({ dir }: RunContext, layer: number, phase: Phase): string[] {
  return [dir.evals(layer, phase), dir.documents(layer, phase), dir.firing(layer, phase)];
}

async function hashesOf(context: RunContext, layer: number, phase: Phase) {
  const [results, documents, firing] = await Promise.all(filesOf(context, layer, phase).map(hashFile));
  return { results, documents, firing };
}

async function areIntact(context: RunContext, layer: number, phase: Phase, unit: string): Promise<boolean> {
  const recorded = context.state.output(unit);
  const found = await hashesOf(context, layer, phase);
  return Object.entries(found).every(([what, hash]) => recorded[what] === hash);
}

function heldOutStores(
  context: RunContext,
  layer: number,
  models: readonly ModelKey[],
): Record<string, string> {
  return Object.fromEntries(
    evaluatedPairs(context, models).map(({ model, set }) => [
      `${model}/${set}`,
      storeHash(context, model, set, layer),
    ]),
  );
}
