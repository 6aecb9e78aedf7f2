/** How much results vary from seed to seed: the same recipe's runs side by side, layer by layer and set by set. */
import { StateError } from "../../errors.ts";
import type { Metric } from "../../evals/metrics.ts";
import type { EvalResult } from "../../evals/result.ts";
import type { SpliceMetrics, SpliceResult } from "../../evals/splice/result.ts";
import { readJsonIfPresent } from "../../storage/json.ts";
import type { RunDirectory } from "../run-directory.ts";
import { type LayerEvals, readLayerEvals } from "../stages/evaluate.ts";

/** A number in each of several runs. */
export interface Spread {
  /** one a seed, in their order; null where the run has no such number */
  readonly values: readonly (number | null)[];
  /** of the numbers there are; null: none */
  readonly mean: number | null;
  /** standard deviation of a sample, √(Σ(v − mean)² / (n − 1)); null for fewer than two */
  readonly sd: number | null;
  readonly min: number | null;
  readonly max: number | null;
}

/** A metric's. */
export interface DefinedSpread extends Spread {
  readonly definition: string;
  readonly unit: string;
}

/** One held-out set of one layer. */
export interface SetSpread {
  readonly set: string;
  readonly nTokens: number;
  readonly metrics: Readonly<Record<string, DefinedSpread>>;
  /** the layer's SAE alone in the model; null: no run has measured it */
  readonly splice: Readonly<Record<string, DefinedSpread>> | null;
  /** latents that fired on none of the set's tokens */
  readonly neverFired: Spread;
}

/** One layer's final SAEs. */
export interface LayerSpread {
  readonly layer: number;
  readonly hookName: string;
  readonly sets: readonly SetSpread[];
  /** as the trainer counts them */
  readonly deadInTraining: Spread;
}

/** Mean, sample standard deviation and range of what is not null. */
export function spreadOf(values: readonly (number | null)[]): Spread {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return { values, mean: null, sd: null, min: null, max: null };
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    values,
    mean,
    sd: known.length < 2 ? null : Math.sqrt(squares / (known.length - 1)),
    min: Math.min(...known),
    max: Math.max(...known),
  };
}

interface LayerRun {
  /** of the layer's results */
  readonly path: string;
  readonly evals: LayerEvals;
  readonly splices: readonly SpliceResult[];
}

/** Reads one layer's final results in every run. @throws {StateError} the runs were evaluated on different data */
export async function layerSpread(dirs: readonly RunDirectory[], layer: number): Promise<LayerSpread> {
  const runs = await Promise.all(
    dirs.map(async (dir) => {
      const path = dir.evals(layer, "after");
      const splice = await readJsonIfPresent<{ results: SpliceResult[] }>(dir.splice("after"));
      const splices = splice?.results.filter(({ layers }) => layers.length === 1 && layers[0] === layer);
      return { path, evals: await readLayerEvals(path), splices: splices ?? [] };
    }),
  );
  const [{ evals: first }] = runs;
  return {
    layer,
    hookName: first.hookName,
    sets: first.results.map(({ set }) => setSpread(runs, set)),
    deadInTraining: spreadOf(runs.map(({ evals }) => evals.deadInTraining)),
  };
}

const RUN_ALL = "run all seeds with one recipe: lapidary run <recipe> --seeds …";

function setSpread(runs: readonly LayerRun[], set: string): SetSpread {
  const results = runs.map(({ path, evals }) => {
    const found = evals.results.find((entry) => entry.set === set);
    if (found === undefined) throw new StateError(`${path} has no results on set "${set}"`, RUN_ALL);
    return found.result;
  });
  const [first] = results;
  for (const [i, { store }] of results.entries())
    if (store?.hash !== first.store?.hash)
      throw new StateError(
        `${runs[i].path} is about other activations of set "${set}" than ${runs[0].path}`,
        RUN_ALL,
      );
  return {
    set,
    nTokens: first.nTokens,
    metrics: spreads(results.map(({ metrics }) => metrics)) ?? {},
    splice: spreads(runs.map(({ splices }) => splices.find((splice) => splice.set === set)?.metrics)),
    neverFired: spreadOf(results.map(({ latents }) => latents.nNeverFired)),
  };
}

/** Of every metric that some run has; null: none has any. */
function spreads(
  runs: readonly (EvalResult["metrics"] | SpliceMetrics | undefined)[],
): Record<string, DefinedSpread> | null {
  const records = runs as readonly (Readonly<Record<string, Metric<number | null>>> | undefined)[];
  const first = records.find((record) => record !== undefined);
  if (first === undefined) return null;
  const entries = Object.entries(first).map(([name, { definition, unit }]) => [
    name,
    { definition, unit, ...spreadOf(records.map((record) => record?.[name]?.value ?? null)) },
  ]);
  return Object.fromEntries(entries) as Record<string, DefinedSpread>;
}
