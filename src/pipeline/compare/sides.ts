/**
 * Which SAEs are meant: a folder, a source on the hub, or a run. A run by itself means its SAE before and after; a run
 * as one of two means its final SAE.
 */
import { basename, dirname, join } from "node:path";
import { RecipeError, StateError } from "../../errors.ts";
import { canonicalHookName } from "../../sae/hook-name.ts";
import { loadSae } from "../../sae/load.ts";
import { statIfPresent } from "../../storage/file-error.ts";
import type { RunContext } from "../context.ts";
import { openRunAt } from "../open-run.ts";
import { finishedLayers } from "../stages/card.ts";
import { exportedId } from "../stages/export.ts";
import { evaluatedPairs } from "../stages/harvest.ts";
import { openSetStore } from "../stages/recorded.ts";
import type { ComparedData, NamedSae } from "./compare.ts";
import { storeData } from "./data.ts";

/** Two SAEs, and what a run among them offers to compare them on. */
export interface Sides {
  readonly a: NamedSae;
  readonly b: NamedSae;
  /** held-out activations of the run that was named first; null: no run was named */
  readonly heldOut: (() => Promise<ComparedData[]>) | null;
}

/**
 * Loads the two SAEs. `layer` chooses among a run's; it may be left out where there is one.
 * @throws {RecipeError} one thing was named that is no run; a run starts from scratch, or has several layers
 * @throws {StateError} the layer is not finished
 */
export async function loadSides(a: string, b: string | undefined, layer?: number): Promise<Sides> {
  const [runA, runB] = [await openRunAt(a), b === undefined ? null : await openRunAt(b)];
  if (b === undefined) {
    if (runA === null)
      throw new RecipeError(
        `${a} is no run, so there is nothing to compare it with`,
        "lapidary compare A B, or a run folder: its SAE before and after",
      );
    const chosen = chooseLayer(runA, layer);
    return {
      a: { name: `before (${basename(a)})`, sae: await runA.sourceSae(chosen) },
      b: { name: `after (${basename(a)})`, sae: await finalSae(runA, chosen) },
      heldOut: () => heldOutData(runA, chosen),
    };
  }
  const side = async (name: string, run: RunContext | null) => ({
    name,
    sae: run === null ? await loadSae(name) : await finalSae(run, chooseLayer(run, layer)),
  });
  const run = runA ?? runB;
  return {
    a: await side(a, runA),
    b: await side(b, runB),
    heldOut: run === null ? null : () => heldOutData(run, chooseLayer(run, layer)),
  };
}

function chooseLayer(run: RunContext, layer: number | undefined): number {
  const finished = finishedLayers(run);
  if (layer === undefined && finished.length === 1) return finished[0];
  const { root } = run.dir;
  if (finished.length === 0 || (layer !== undefined && !finished.includes(layer)))
    throw new StateError(
      layer === undefined
        ? `no layer of run ${basename(root)} is finished`
        : `layer ${layer} of run ${basename(root)} is not finished; finished: ${finished.join(", ") || "none"}`,
      `lapidary inspect ${basename(dirname(root))}/${basename(root)} shows what it has`,
    );
  if (layer === undefined)
    throw new RecipeError(
      `run ${basename(root)} has SAEs of layers ${finished.join(", ")}`,
      "say which one: --layer N",
    );
  return layer;
}

function finalSae(run: RunContext, layer: number): Promise<NamedSae["sae"]> {
  return loadSae(run.dir.sae(exportedId(run, layer)));
}

/** The model's activations of every set that the run evaluates on, as long as they are on this disk. */
async function heldOutData(run: RunContext, layer: number): Promise<ComparedData[]> {
  const data: ComparedData[] = [];
  for (const { set } of evaluatedPairs(run, ["model"])) {
    const dir = run.dir.activations("model", set, layer);
    if ((await statIfPresent(join(dir, "manifest.json"))) === null) continue;
    await (await openSetStore(run, "model", set, layer)).close(); // is it what the run recorded?
    data.push(await storeData(dir));
  }
  if (data.length === 0)
    throw new StateError(
      `run ${basename(run.dir.root)} has no held-out activations of ${canonicalHookName(layer)} any more`,
      "run its recipe with --only corpus,harvest, or give --data STORE",
    );
  return data;
}
