/** In place of `corpus` and `harvest`: activations made elsewhere, brought into the run's stores, one unit a (model, set). */
import { readdir, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { importActivations } from "../../activations/import.ts";
import { RecipeError } from "../../errors.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import { hashFile } from "../../storage/hash.ts";
import type { RunContext } from "../context.ts";
import { publicName, resolvePath } from "../recipe/file.ts";
import type { ModelKey } from "../run-directory.ts";
import { harvestPairs } from "./harvest.ts";
import type { Unit } from "./unit.ts";

/** The units take the harvest's names, so that what comes after does not care where activations came from. */
export function importUnits(context: RunContext): Unit[] {
  const { recipe, dir } = context;
  return harvestPairs(context).map(({ model, set }) => ({
    id: `harvest:${model}:${set}`,
    stage: "harvest" as const,
    layer: null,
    title: `import ${set} of ${model === "model" ? "the model" : "the base model"}`,
    inputs: async () => ({
      dtype: recipe.activations.dtype,
      files: await Promise.all(
        recipe.layers.map(async (layer) => listFiles(await sourceOf(context, model, set, layer))),
      ),
      layers: recipe.layers,
      exclude: recipe.corpus.excludeTokenIds,
      model,
      set,
    }),
    files: () => recipe.layers.map((layer) => join(dir.activations(model, set, layer), "manifest.json")),
    async clear() {
      for (const layer of recipe.layers)
        await rm(dir.activations(model, set, layer), { recursive: true, force: true });
    },
    async run(report) {
      const stores: Record<string, string> = {};
      for (const layer of recipe.layers) {
        const out = dir.activations(model, set, layer);
        await importActivations(
          {
            source: await sourceOf(context, model, set, layer),
            out,
            hookName: canonicalHookName(layer),
            set,
            dtype: recipe.activations.dtype,
            excludedTokenIds: recipe.corpus.excludeTokenIds,
            modelName: publicName(context.modelRecipe(model).source),
          },
          {
            signal: context.options.signal,
            onProgress: ({ phase, done, total }) =>
              report({ done, total, unit: phase === "check" ? "files" : "rows", details: { layer } }),
          },
        );
        stores[canonicalHookName(layer)] = await hashFile(join(out, "manifest.json"));
      }
      return { stores };
    },
  }));
}

/** Names and sizes: enough to notice that dumps were made again, without reading them each time. */
async function listFiles(source: string): Promise<Record<string, number>> {
  const info = await stat(source);
  if (info.isFile()) return { [basename(source)]: info.size };
  const entries = await readdir(source, { withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  const sizes = files.sort().map(async (name) => [name, (await stat(join(source, name))).size] as const);
  return Object.fromEntries(await Promise.all(sizes));
}

async function sourceOf(context: RunContext, model: ModelKey, set: string, layer: number): Promise<string> {
  const template = context.recipe.activations.import ?? "";
  const path = resolvePath(
    template.replaceAll("{layer}", String(layer)).replaceAll("{set}", set).replaceAll("{model}", model),
    context.folder,
  );
  if ((await statIfPresent(path)) === null) {
    throw new RecipeError(
      `no activations of ${set}, layer ${layer}, at ${path}`,
      "activations.import in the recipe says where they are; docs/formats/import.md how to make them",
    );
  }
  return path;
}
