/** Which layers of a run are finished, what they scored, and which of them are below the gate. */
import { type BeforeAfterRow, scoreOf } from "../../evals/table.ts";
import { hashValue } from "../../storage/hash.ts";
import { readJsonIfPresent } from "../../storage/json.ts";
import type { RunContext } from "../context.ts";
import { type LayerEvals, readLayerEvals } from "./evaluate.ts";
import { keptTraining } from "./kept.ts";

/** Layers of the recipe whose `after` is done, and is of the SAE that was trained last. */
export function finishedLayers(context: RunContext): number[] {
  const { recipe, state } = context;
  return recipe.layers.filter((layer) => {
    const [trained, exported, after] = ["train", "export", "after"].map(
      (id) => state.units[`${id}:${layer}`],
    );
    if ([trained, exported, after].some((unit) => unit?.state !== "done")) return false;
    const { weightsHash } = keptTraining(context, `train:${layer}`);
    const { weights } = exported.inputs as { weights: unknown };
    const { export: evaluated } = after.inputs as { export: unknown };
    return weights === weightsHash && hashValue(evaluated) === hashValue(exported.output?.files);
  });
}

/** Rows of the before/after table, one a finished layer. */
export async function tableRows(context: RunContext): Promise<BeforeAfterRow[]> {
  return Promise.all(
    finishedLayers(context).map(async (layer) => {
      const before = await readJsonIfPresent<LayerEvals>(context.dir.evals(layer, "before"));
      const after = await readLayerEvals(context.dir.evals(layer, "after"));
      const pick = (evals: LayerEvals | undefined, model: "model" | "base") =>
        (evals?.results ?? [])
          .filter((entry) => entry.model === model && !entry.isDomain)
          .map(({ result }) => scoreOf(result));
      return {
        layer,
        base: pick(before, "base"),
        before: pick(before, "model"),
        after: pick(after, "model"),
        dead: after.deadInTraining,
        belowGate: isBelowGate(context, after),
      };
    }),
  );
}

/** Is the final VE of a layer below the recipe's gate on any set? */
export function isBelowGate(context: RunContext, after: LayerEvals): boolean {
  const { gate } = context.recipe.eval;
  return (
    gate !== null &&
    after.results.some(
      ({ isDomain, result }) => !isDomain && !((result.metrics.ve.value ?? Number.NEGATIVE_INFINITY) >= gate),
    )
  );
}

/** Finished layers below the gate. */
export async function layersBelowGate(context: RunContext): Promise<number[]> {
  const evals = await Promise.all(
    finishedLayers(context).map((layer) => readLayerEvals(context.dir.evals(layer, "after"))),
  );
  return evals.filter((after) => isBelowGate(context, after)).map(({ layer }) => layer);
}
