/**
 * Runs a recipe: every unit in order, each skipped when it is done with the same inputs, resumed when it was interrupted,
 * begun otherwise. Starting, resuming after `kill -9` and re-running a finished run are this one code path.
 */
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { RecipeError, StateError } from "../errors.ts";
import type { BeforeAfterRow } from "../evals/table.ts";
import { sweepTemporary, writeFileAtomically } from "../storage/atomic.ts";
import { type Difference, describeDifferences } from "../storage/differences.ts";
import { fileError } from "../storage/file-error.ts";
import { RunContext, type RunOptions } from "./context.ts";
import { type LoadedRecipe, stringifyRecipe } from "./recipe/file.ts";
import { checkResources, memoryError } from "./resources.ts";
import { RunDirectory } from "./run-directory.ts";
import { lockRun } from "./run-lock.ts";
import { RunState } from "./run-state.ts";
import { finishedLayers, layersBelowGate, tableRows } from "./stages/card.ts";
import { exportedId } from "./stages/export.ts";
import type { StageName, Unit } from "./stages/unit.ts";
import { takeOver } from "./take-over.ts";
import { listUnits } from "./units.ts";
import { softwareVersions } from "./versions.ts";

/** Which part of a recipe is run, and where. */
export interface PipelineOptions extends RunOptions {
  /** folder that holds the runs; default "runs" in the working directory */
  readonly runsFolder?: string;
  /** only these stages; the stages before them must have been run */
  readonly only?: readonly StageName[];
  /** only these layers, of the recipe's */
  readonly layers?: readonly number[];
  /** make anew what was made with other inputs, instead of refusing */
  readonly overwrite?: boolean;
  /** folders of runs whose corpus, activations and first evaluation are taken over where their inputs are the same */
  readonly takeFrom?: readonly string[];
}

/** What a run came to. */
export interface RunSummary {
  readonly directory: string;
  /** units that were run, and that were found done */
  readonly nRun: number;
  readonly nSkipped: number;
  /** the model's name, for the table's heading */
  readonly model: string;
  readonly rows: readonly BeforeAfterRow[];
  /** folders of the saved SAEs, by layer */
  readonly saved: Readonly<Record<number, string>>;
  /** layers whose final VE is below the recipe's gate */
  readonly belowGate: readonly number[];
  readonly seconds: number;
}

/** Opens (or creates) the run directory of a recipe. */
export async function openRun(
  { recipe, folder }: LoadedRecipe,
  options: PipelineOptions = {},
): Promise<RunContext> {
  const dir = new RunDirectory(resolve(join(options.runsFolder ?? "runs", recipe.name)));
  await mkdir(dir.root, { recursive: true });
  const state = await RunState.open(dir.state, recipe.name, await softwareVersions());
  return new RunContext(recipe, folder, dir, state, options);
}

/**
 * Runs a recipe to its end, or the stages and layers asked for.
 * @throws {StateError} another process works on the run, or a unit was made with other inputs and `overwrite` is not set
 */
export async function runRecipe(loaded: LoadedRecipe, options: PipelineOptions = {}): Promise<RunSummary> {
  const started = performance.now();
  const layers = chooseLayers(loaded.recipe.layers, options.layers);
  const dir = new RunDirectory(resolve(join(options.runsFolder ?? "runs", loaded.recipe.name)));
  const unlock = await lockRun(dir.lock);
  try {
    for (const place of dir.written) await sweepTemporary(place);
    const context = await openRun(loaded, options);
    const recordRecipe = () =>
      writeFileAtomically(dir.recipe, stringifyRecipe(loaded.recipe, loaded.folder, dir.root));
    const counts = { run: 0, skipped: 0 };
    try {
      const units = listUnits(context, layers).filter(
        (unit) => options.only === undefined || options.only.includes(unit.stage),
      );
      await takeOver(context, units, options);
      await checkResources(context, units);
      for (const unit of units) {
        options.signal?.throwIfAborted();
        if (unit.isWanted !== undefined && !(await unit.isWanted())) continue;
        if (unit.stage !== "harvest") await context.closeModels(); // training needs the memory
        counts[await doUnit(context, unit, options.overwrite ?? false, recordRecipe)] += 1;
      }
    } finally {
      await context.closeModels();
    }
    await recordRecipe();
    const rows = await tableRows(context);
    return {
      directory: dir.root,
      nRun: counts.run,
      nSkipped: counts.skipped,
      model: context.modelName,
      rows,
      saved: Object.fromEntries(
        finishedLayers(context).map((layer) => [layer, dir.sae(exportedId(context, layer))]),
      ),
      belowGate: await layersBelowGate(context),
      seconds: (performance.now() - started) / 1000,
    };
  } catch (error) {
    throw memoryError(fileError(error), "the run");
  } finally {
    await unlock();
  }
}

/** Does a unit unless it is done. `recordRecipe` is called once the unit is to be run: a recipe that is refused leaves the run's own record as it was. */
export async function doUnit(
  context: RunContext,
  unit: Unit,
  overwrite: boolean,
  recordRecipe: () => Promise<void>,
): Promise<"run" | "skipped"> {
  const { state } = context;
  const inputs = await unit.inputs();
  if (
    (await state.isDone(unit.id, inputs, unit.files())) &&
    (unit.isIntact === undefined || (await unit.isIntact()))
  ) {
    context.emit({ kind: "skipped", unit: unit.id, title: unit.title });
    return "skipped";
  }
  const changes = state.changes(unit.id, inputs);
  if (changes.length > 0) {
    if (!overwrite && !unit.isDerived) throw changedError(unit, changes);
    await unit.clear();
    await state.forget([unit.id]);
  }
  const resumed = state.units[unit.id]?.state === "running";
  context.emit({ kind: "begin", unit: unit.id, title: unit.title, resumed });
  await recordRecipe();
  await state.begin(unit.id, inputs);
  const started = performance.now();
  const seconds = () => Math.round(performance.now() - started) / 1000;
  try {
    const output = await unit.run((progress) => context.emit({ kind: "progress", unit: unit.id, progress }));
    await state.finish(unit.id, output, seconds(), unit.isDerived === true ? unit.files() : []);
  } catch (error) {
    await state.pause(unit.id, seconds()).catch(() => {}); // why it stopped matters more than how long it took
    throw memoryError(error, unit.title);
  }
  context.emit({ kind: "done", unit: unit.id, title: unit.title, seconds: seconds() });
  return "run";
}

function changedError(unit: Unit, changes: readonly Difference[]): StateError {
  return new StateError(
    `"${unit.title}" was made with other inputs: ${describeDifferences(changes, 3)}`,
    "give this run another name (--set name=…) to keep both, or --overwrite to make it and what follows anew",
  );
}

/** The recipe's layers, or those wanted of them, ascending. @throws {RecipeError} one is not the recipe's */
export function chooseLayers(all: readonly number[], wanted: readonly number[] | undefined): number[] {
  const unknown = (wanted ?? []).filter((layer) => !all.includes(layer));
  if (unknown.length > 0) {
    throw new RecipeError(
      `layers ${unknown.join(", ")} are not in the recipe, which has ${all.join(", ")}`,
      "--layers chooses among the recipe's layers; --set layers=[…] changes them",
    );
  }
  return [...(wanted ?? all)].sort((a, b) => a - b);
}
