/** A run's folder, opened to be looked at: nothing is written, and nobody is locked out. */
import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { RunContext, type RunOptions } from "./context.ts";
import { loadRecipe } from "./recipe/file.ts";
import { RunDirectory } from "./run-directory.ts";
import { RunState } from "./run-state.ts";

/** Null for what is no run folder. */
export async function openRunAt(path: string, options: RunOptions = {}): Promise<RunContext | null> {
  const root = resolve(path);
  if ((await stat(join(root, "run.json")).catch(() => null)) === null) return null;
  const { recipe, folder } = await loadRecipe(join(root, "recipe.yaml"), [
    `name=${JSON.stringify(basename(root))}`,
  ]);
  const dir = new RunDirectory(root);
  return new RunContext(recipe, folder, dir, await RunState.open(dir.state, recipe.name, null), options);
}
