/** Stage `harvest`: every set through the model, and the held-out sets through the base model too, all layers in one pass. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { openWriter } from "../../activations/writer.ts";
import { differentToken } from "../../corpus/same-tokens.ts";
import { RecipeError } from "../../errors.ts";
import { harvest } from "../../harvest/harvest.ts";
import { planHarvest } from "../../harvest/plan.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { hashFile } from "../../storage/hash.ts";
import type { RunContext } from "../context.ts";
import { modelFiles } from "../model-identity.ts";
import type { ModelKey } from "../run-directory.ts";
import { setNames } from "./corpus.ts";
import { openSetWindows } from "./recorded.ts";
import type { Unit } from "./unit.ts";

/** A set's activations: which model they are of. */
export interface SetPair {
  readonly model: ModelKey;
  readonly set: string;
}

/** Which (model, set) pairs are harvested. */
export function harvestPairs(context: RunContext): SetPair[] {
  const base = context.recipe.baseModel === null || !("from" in context.recipe.sae) ? [] : gatedSets(context);
  return [
    ...setNames(context).map((set) => ({ model: "model" as const, set })),
    ...base.map((set) => ({ model: "base" as const, set })),
  ];
}

/** Pairs of the held-out sets proper, which the gate, the guard and firing frequencies look at; in the recipe's order. */
export function heldOutPairs(context: RunContext, models: readonly ModelKey[]): SetPair[] {
  const sets = gatedSets(context);
  const pairs = harvestPairs(context).filter(({ set }) => sets.includes(set));
  return models.flatMap((model) => pairs.filter((pair) => pair.model === model));
}

/** Pairs that an SAE is evaluated on: the held-out sets, then the domains. */
export function evaluatedPairs(context: RunContext, models: readonly ModelKey[]): SetPair[] {
  const domains = harvestPairs(context).filter(
    ({ set, model }) => isDomain(context, set) && models.includes(model),
  );
  return [...heldOutPairs(context, models), ...domains];
}

/** Is the set of another kind of text than the corpus: shown, but not gated? */
export function isDomain({ recipe }: RunContext, set: string): boolean {
  return recipe.eval.domains.some(({ name }) => name === set);
}

function gatedSets({ recipe }: RunContext): string[] {
  return recipe.eval.sets.map(({ name }) => name);
}

export function harvestUnits(context: RunContext): Unit[] {
  const layers = [...context.recipe.layers].sort((a, b) => a - b);
  return harvestPairs(context).map(({ model, set }) => ({
    id: `harvest:${model}:${set}`,
    stage: "harvest" as const,
    layer: null,
    title: `harvest ${set} from ${model === "model" ? "the model" : "the base model"}`,
    inputs: () => harvestInputs(context, model, set),
    files: () => layers.map((layer) => join(context.dir.activations(model, set, layer), "manifest.json")),
    async clear() {
      for (const layer of layers)
        await rm(context.dir.activations(model, set, layer), { recursive: true, force: true });
    },
    async run(report) {
      if (model === "base") await refuseOtherTokens(context);
      const opened = await context.openModel(model);
      const windows = await openSetWindows(context, set);
      if (opened.info.dynamicQuantization)
        context.emit({
          kind: "note",
          message: `${context.modelRecipe(model).source} quantises activations by batch: harvested one window at a time`,
        });
      const plan = planHarvest({
        contextSize: windows.manifest.contextSize,
        dIn: opened.info.dIn,
        nLayers: layers.length,
        oneByOne: opened.info.dynamicQuantization,
        mixedLengths: windows.manifest.nTokens < windows.manifest.nWindows * windows.manifest.contextSize,
      });
      const writers = await Promise.all(
        layers.map(async (layer) =>
          openWriter(context.dir.activations(model, set, layer), {
            dtype: context.recipe.activations.dtype,
            dIn: opened.info.dIn,
            hookName: canonicalHookName(layer),
            set,
            provenance: {
              model: opened.info.files,
              device: opened.info.device,
              runtime: opened.info.runtime,
              windows: await hashFile(join(windows.dir, "manifest.json")),
              nWindows: windows.manifest.nWindows,
              contextSize: windows.manifest.contextSize,
              ...plan,
            },
          }),
        ),
      );
      await harvest({
        model: opened,
        windows,
        writers,
        plan,
        signal: context.options.signal,
        onProgress: ({ windows: done, totalWindows, tokens }) =>
          report({ done, total: totalWindows, unit: "windows", details: { tokens } }),
      });
      const hashes = layers.map(async (layer) => [
        canonicalHookName(layer),
        await hashFile(join(context.dir.activations(model, set, layer), "manifest.json")),
      ]);
      return {
        stores: Object.fromEntries(await Promise.all(hashes)) as Record<string, string>,
        perWindow: opened.info.dynamicQuantization,
        threads: opened.info.threads,
      };
    },
  }));
}

async function harvestInputs(
  context: RunContext,
  model: ModelKey,
  set: string,
): Promise<Record<string, unknown>> {
  return {
    corpus: context.state.output(`corpus:${set}`).manifest,
    model: modelFiles(await context.inspectModel(model)),
    device: context.modelRecipe(model).device,
    layers: [...context.recipe.layers].sort((a, b) => a - b),
    dtype: context.recipe.activations.dtype,
  };
}

/** Windows hold the model's token ids: the base model must mean the same by them. @throws {RecipeError} */
async function refuseOtherTokens(context: RunContext): Promise<void> {
  const different = await differentToken(
    await context.modelFolder("model"),
    await context.modelFolder("base"),
  );
  if (different === null) return;
  const { id, a, b } = different;
  throw new RecipeError(
    `baseModel has another tokenizer than model: token ${id} is ${JSON.stringify(b)} there, ${JSON.stringify(a)} here`,
    "name the model that `model` was tuned from, or leave baseModel out",
  );
}
