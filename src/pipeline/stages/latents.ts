/**
 * Stage `latents`: what became of each latent. Geometry of the source SAE and of the final one, and the two side by side:
 * how far decoder and encoder rows turned, how the firing frequency on the held-out sets changed, which is nearest to which.
 */
import { type FiringCounts, loadFiring, togetherFired } from "../../evals/firing-file.ts";
import { compareLatents, type LatentComparisonSummary } from "../../evals/latents/comparison.ts";
import { saveComparedLatents } from "../../evals/latents/comparison-file.ts";
import { measureGeometry, type SaeGeometry } from "../../evals/latents/geometry.ts";
import type { NearestOptions } from "../../evals/latents/nearest-rows.ts";
import { loadSae } from "../../sae/load.ts";
import { removeFiles, writeJson } from "../../storage/atomic.ts";
import { hashFile } from "../../storage/hash.ts";
import type { Progress, RunContext } from "../context.ts";
import type { Phase } from "../run-directory.ts";
import { exportedId } from "./export.ts";
import { heldOutPairs } from "./harvest.ts";
import { finalExport } from "./polish-choice.ts";
import type { Unit } from "./unit.ts";

/** `evals/<hook>.latents.json`; latent by latent in `.latents.safetensors`. */
export interface LayerLatents {
  readonly format: "lapidary-layer-latents";
  readonly version: 1;
  readonly layer: number;
  readonly geometry: { readonly before: SaeGeometry | null; readonly after: SaeGeometry };
  /** null from scratch: there is nothing to compare with */
  readonly comparison: LatentComparisonSummary | null;
}

export function latentsUnit(context: RunContext, layer: number): Unit {
  const { dir, recipe, state } = context;
  const hasSource = "from" in recipe.sae;
  const files = hasSource ? [dir.latents(layer), dir.latentArrays(layer)] : [dir.latents(layer)];
  return {
    id: `latents:${layer}`,
    stage: "latents",
    layer,
    title: `latents: layer ${layer} before and after`,
    isDerived: true,
    inputs: async () => ({
      sae: hasSource ? await context.saeIdentity(layer) : null,
      export: finalExport(context, layer).files,
      before: hasSource ? state.output(`before:${layer}`).firing : null,
      after: finalExport(context, layer).firing,
    }),
    files: () => files,
    clear: () => removeFiles(files),
    async run(report) {
      const { create } = await context.engine();
      const { threads, signal } = context.options;
      const options = (what: string): NearestOptions => ({
        createEngine: create,
        threads,
        signal,
        onProgress: ({ done, total }) => report(progress(what, done, total)),
      });
      const after = await loadSae(dir.sae(exportedId(context, layer)));
      const geometry = (await measureGeometry(after, options("after"))).result;
      let before: SaeGeometry | null = null;
      let comparison: LatentComparisonSummary | null = null;
      if (hasSource) {
        const source = await context.sourceSae(layer);
        before = (await measureGeometry(source, options("before"))).result;
        const compared = await compareLatents(
          { sae: source, firing: await heldOutFiring(context, layer, "before") },
          { sae: after, firing: await heldOutFiring(context, layer, "after") },
          options("both"),
        );
        comparison = compared.summary;
        await saveComparedLatents(dir.latentArrays(layer), compared);
      }
      const result: LayerLatents = {
        format: "lapidary-layer-latents",
        version: 1,
        layer,
        geometry: { before, after: geometry },
        comparison,
      };
      await writeJson(dir.latents(layer), result);
      return { results: await hashFile(dir.latents(layer)) };
    },
  };
}

function progress(what: string, done: number, total: number): Progress {
  return { done, total, unit: "latents", details: { sae: what } };
}

/** How often each latent fired on the held-out sets of the model, all together. */
async function heldOutFiring(context: RunContext, layer: number, phase: Phase): Promise<FiringCounts> {
  const sets = await loadFiring(context.dir.firing(layer, phase));
  return togetherFired(
    heldOutPairs(context, ["model"]).flatMap(({ model, set }) => sets.get(`${model}/${set}`) ?? []),
  );
}
