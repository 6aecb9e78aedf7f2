/**
 * Stages `before` and `after`: an SAE against the held-out stores of a layer. `before` runs the source SAE as published,
 * its own thresholds and all, on the base model (healthy at home?) and on the model; `after` runs the exported
 * directory, loaded afresh, on the model.
 */
import { rm } from "node:fs/promises";
import { evaluate } from "../../evals/evaluate.ts";
import { EVAL_VERSION, type EvalResult } from "../../evals/result.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { openInference } from "../../sae/inference.ts";
import { loadSae } from "../../sae/load.ts";
import type { Sae } from "../../sae/sae.ts";
import { writeJson } from "../../storage/atomic.ts";
import { hashFile } from "../../storage/hash.ts";
import { readJson } from "../../storage/json.ts";
import type { Progress, RunContext } from "../context.ts";
import type { ModelKey, Phase } from "../run-directory.ts";
import { setLabels } from "../set-labels.ts";
import { exportedId } from "./export.ts";
import { evaluatedPairs, isDomain } from "./harvest.ts";
import { hasPolishedExport, isLayerPolished } from "./polish-choice.ts";
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
      ...measurement(context),
    }),
    files: () => [context.dir.evals(layer, "before")],
    isIntact: async () =>
      (await hashFile(context.dir.evals(layer, "before"))) ===
      context.state.output(`before:${layer}`).results,
    clear: () => rm(context.dir.evals(layer, "before"), { force: true }),
    async run(report) {
      const sae = await context.sourceSae(layer);
      const evals = await evaluateLayer(context, {
        sae,
        layer,
        models: ["base", "model"],
        phase: "before",
        deadInTraining: null,
        report,
      });
      return writeEvals(context, evals);
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
      ...measurement(context),
    }),
    files: () => (!polished && hasPolishedExport(context, layer) ? [] : [context.dir.evals(layer, "after")]),
    isIntact: async () =>
      (!polished && hasPolishedExport(context, layer)) ||
      (await hashFile(context.dir.evals(layer, "after"))) === context.state.output(id).results,
    isWanted: async () => !polished || isLayerPolished(context, layer),
    clear: async () => {
      await rm(context.dir.evals(layer, "after"), { force: true });
      if (!polished) await rm(context.dir.evals(layer, "prepolish"), { force: true });
    },
    async run(report) {
      const sae = await loadSae(context.dir.sae(exportedId(context, layer)));
      const deadInTraining = context.state.output(trainUnit).deadInTraining as number | null;
      const evals = await evaluateLayer(context, {
        sae,
        layer,
        models: ["model"],
        phase: "after",
        deadInTraining,
        report,
      });
      return writeEvals(context, evals);
    },
  };
}

/** What decides an evaluation beside SAE and stores. */
function measurement({ recipe }: RunContext): Record<string, unknown> {
  return { results: EVAL_VERSION, seed: recipe.seed };
}

interface LayerEvaluation {
  readonly sae: Sae;
  readonly layer: number;
  readonly models: readonly ModelKey[];
  readonly phase: Phase;
  readonly deadInTraining: number | null;
  readonly report: (progress: Progress) => void;
}

/** Evaluates one SAE on every held-out store of its layer. */
export async function evaluateLayer(context: RunContext, options: LayerEvaluation): Promise<LayerEvals> {
  const { sae, layer, models, phase, deadInTraining, report } = options;
  const engine = await context.engine();
  const inference = await openInference(sae, engine.create, { threads: context.options.threads });
  try {
    const results: LayerEvals["results"][number][] = [];
    for (const { model, set } of evaluatedPairs(context, models)) {
      const store = await openSetStore(context, model, set, layer);
      const { result } = await evaluate(inference, store, {
        ...(await setLabels(context, set)),
        seed: context.recipe.seed,
        signal: context.options.signal,
        onProgress: ({ done, total }) =>
          report({ done, total, unit: "tokens", details: { set: `${model}/${set}` } }),
      });
      await store.close();
      results.push({ model, set, isDomain: isDomain(context, set), result });
    }
    const { numericClass } = inference;
    return {
      format: "lapidary-layer-evals",
      version: 2,
      phase,
      layer,
      hookName: canonicalHookName(layer),
      results,
      deadInTraining,
      engine: { name: engine.name, numericClass },
    };
  } finally {
    await inference.dispose();
  }
}

async function writeEvals(
  context: RunContext,
  evals: LayerEvals,
): Promise<{ results: string; worstVe: number }> {
  const path = context.dir.evals(evals.layer, evals.phase);
  await writeJson(path, evals);
  const worst = Math.min(
    ...evals.results
      .filter(({ model, isDomain }) => model === "model" && !isDomain)
      .map(({ result }) => result.metrics.ve.value ?? Number.NEGATIVE_INFINITY),
  );
  return { results: await hashFile(path), worstVe: worst };
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
