/**
 * One recipe under several seeds: how much of a result is chance. Each seed is a run of its own, `<name>-seed-<n>`, begun,
 * resumed and skipped like any run. The seed enters training alone: no corpus, activation or first evaluation depends on
 * it, so these are made once, and later seeds take them over (`take-over.ts`) from the first, or from the run of the
 * recipe itself if there is one.
 */
import { join, resolve } from "node:path";
import { RecipeError } from "../../errors.ts";
import { writeJson } from "../../storage/atomic.ts";
import { readJson } from "../../storage/json.ts";
import type { LoadedRecipe } from "../recipe/file.ts";
import { type PipelineOptions, type RunSummary, runRecipe } from "../run.ts";
import { RunDirectory } from "../run-directory.ts";
import { type SeedAgreement, seedAgreement } from "./agreement.ts";
import { type LayerSpread, layerSpread } from "./spread.ts";

/** What the runs of all seeds came to: `runs/<name>-seeds.json`. */
export interface SeedsResult {
  readonly format: "lapidary-seeds";
  readonly version: 1;
  readonly name: string;
  readonly seeds: readonly number[];
  /** one a seed: folder of the run, beside this file */
  readonly runs: readonly string[];
  /** layers that every seed has finished */
  readonly layers: readonly (LayerSpread & { readonly agreement: SeedAgreement })[];
}

/** The runs of a recipe's seeds, and how far they lie apart. */
export interface SeedsSummary extends SeedsResult {
  /** of `runs/<name>-seeds.json` */
  readonly path: string;
  /** one a seed */
  readonly summaries: readonly RunSummary[];
}

/** As a run's; and who is told which seed's turn it is. */
export interface SeedsOptions extends Omit<PipelineOptions, "takeFrom"> {
  readonly onSeed?: (run: { name: string; seed: number; index: number; total: number }) => void;
}

/** Most seeds of one command: each is a whole training. */
export const MAX_SEEDS = 100;

/** "3": that many, from the recipe's seed on; "0,7,9": these. @throws {RecipeError} neither, or fewer than two seeds */
export function chooseSeeds(text: string, first: number): number[] {
  const parts = text.split(",").map((part) => part.trim());
  const numbers = parts.map((part) => (/^\d{1,15}$/.test(part) ? Number(part) : Number.NaN));
  const hint = "--seeds 3 for three seeds, or --seeds 0,7,9 for these";
  if (numbers.some(Number.isNaN))
    throw new RecipeError(`--seeds ${text}: expected a number of seeds, or a list of them`, hint);
  const isList = numbers.length > 1;
  const n = isList ? numbers.length : numbers[0];
  if (n < 2 || n > MAX_SEEDS)
    throw new RecipeError(`--seeds ${text}: ${n} seeds, expected 2 to ${MAX_SEEDS}`, hint);
  const seeds = isList ? numbers : Array.from({ length: n }, (_, i) => first + i);
  if (new Set(seeds).size !== n) throw new RecipeError(`--seeds ${text}: a seed is listed twice`, hint);
  return seeds;
}

/** Name of the run of one seed. */
export function seedRunName(name: string, seed: number): string {
  return `${name}-seed-${seed}`;
}

/**
 * Runs the recipe under each seed, one after the other, and writes what varied.
 * @throws as `runRecipe`; what earlier seeds have done stays done
 */
export async function runSeeds(
  loaded: LoadedRecipe,
  seeds: readonly number[],
  { onSeed, ...options }: SeedsOptions = {},
): Promise<SeedsSummary> {
  const { name } = loaded.recipe;
  const runsFolder = resolve(options.runsFolder ?? "runs");
  const folderOf = (run: string) => join(runsFolder, run);
  const runs = seeds.map((seed) => seedRunName(name, seed));
  const summaries: RunSummary[] = [];
  for (const [index, seed] of seeds.entries()) {
    onSeed?.({ name: runs[index], seed, index, total: seeds.length });
    const recipe = { ...loaded.recipe, seed, name: runs[index] };
    const takeFrom = [...runs.slice(0, index), name].map(folderOf);
    summaries.push(await runRecipe({ ...loaded, recipe }, { ...options, takeFrom }));
  }
  const finished = loaded.recipe.layers.filter((layer) =>
    summaries.every(({ saved }) => saved[layer] !== undefined),
  );
  const layers: SeedsResult["layers"][number][] = [];
  for (const layer of finished)
    layers.push({
      ...(await layerSpread(
        runs.map((run) => new RunDirectory(folderOf(run))),
        layer,
      )),
      agreement: await seedAgreement(
        seeds.map((seed, i) => ({ seed, folder: summaries[i].saved[layer] })),
        { engine: loaded.recipe.engine, threads: options.threads, signal: options.signal },
      ),
    });
  const result: SeedsResult = { format: "lapidary-seeds", version: 1, name, seeds, runs, layers };
  const path = folderOf(`${name}-seeds.json`);
  await writeJson(path, result);
  return { ...result, path, summaries };
}

/** Reads what `runSeeds` wrote. */
export async function readSeeds(path: string): Promise<SeedsResult> {
  return readJson<SeedsResult>(path);
}
