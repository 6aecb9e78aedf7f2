/** Which layers are polished: none, those below the gate, or all, as the recipe says. */
import { statIfPresent } from "../../storage/file-error.ts";
import { hashFile } from "../../storage/hash.ts";
import type { RunContext } from "../context.ts";
import type { Recipe } from "../recipe/recipe.ts";

/** `worstVe`: the least VE of the layer's `after` result over the held-out sets. */
function isPolishWanted(recipe: Recipe, layer: number, worstVe: number): boolean {
  const { when, layers } = recipe.polish;
  if (when === "never" || (layers !== null && !layers.includes(layer))) return false;
  return when === "always" || (recipe.eval.gate !== null && worstVe < recipe.eval.gate);
}

/** The same, from what `after` recorded in this run. @throws {StateError} `after` has not been run */
export function isLayerPolished(context: RunContext, layer: number): boolean {
  if (!isPolishWanted(context.recipe, layer, Number.NEGATIVE_INFINITY)) return false; // not even the worst layer
  return isPolishWanted(context.recipe, layer, context.state.output(`after:${layer}`).worstVe as number);
}

/** Has a polished SAE taken the place of the layer's first one, as the recipe wants? */
export function hasPolishedExport(context: RunContext, layer: number): boolean {
  const isDone = (unit: string) => context.state.units[unit]?.state === "done";
  return isDone(`after:${layer}`) && isDone(`polish-export:${layer}`) && isLayerPolished(context, layer);
}

/**
 * The same, and what the first one scored is still there. Otherwise the first SAE is exported, evaluated and polished
 * again, from checkpoints: the same bits.
 */
export async function isReplacedByPolish(context: RunContext, layer: number): Promise<boolean> {
  if (!hasPolishedExport(context, layer)) return false;
  const path = context.dir.evals(layer, "prepolish");
  if ((await statIfPresent(path)) === null) return false;
  const { prepolish } = context.state.output(`polish-export:${layer}`);
  return prepolish === undefined || prepolish === (await hashFile(path));
}

/** What the run recorded of the SAE that stands at the end, polished or not: its folder and files, its results and firing counts. */
export function finalExport(context: RunContext, layer: number) {
  const prefix = isLayerPolished(context, layer) ? "polish-" : "";
  const { id, files } = context.state.output(`${prefix}export:${layer}`);
  const { results, firing } = context.state.output(`${prefix}after:${layer}`);
  return {
    id: id as string,
    files: files as Record<string, string>,
    results: results as string,
    firing: firing as string,
  };
}
