/** How much results vary from seed to seed: the same recipe's runs side by side, layer by layer and set by set. */
import { StateError } from "../errors.ts";
import type { MetricName } from "../evals/metrics.ts";
import type { EvalResult } from "../evals/result.ts";
import { type LayerEvals, readLayerEvals } from "./stages/evaluate.ts";

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

/** One held-out set of one layer. */
export interface SetSpread {
  readonly set: string;
  readonly nTokens: number;
  readonly metrics: Readonly<Record<string, Spread & { readonly definition: string; readonly unit: string }>>;
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

/** Reads one layer's `after` of every run. @throws {StateError} the runs were evaluated on different data */
export async function layerSpread(paths: readonly string[]): Promise<LayerSpread> {
  const evals = await Promise.all(paths.map(readLayerEvals));
  const [{ layer, hookName, results }] = evals;
  return {
    layer,
    hookName,
    sets: results.map(({ set }) =>
      setSpread(evals.map((one, i) => ({ path: paths[i], result: resultOn(one, set, paths[i]) }))),
    ),
    deadInTraining: spreadOf(evals.map(({ deadInTraining }) => deadInTraining)),
  };
}

function resultOn({ results }: LayerEvals, set: string, path: string): EvalResult {
  const found = results.find((entry) => entry.set === set);
  if (found === undefined) throw new StateError(`${path} has no results on set "${set}"`, RUN_ALL);
  return found.result;
}

const RUN_ALL = "run all seeds with one recipe: lapidary run <recipe> --seeds …";

function setSpread(runs: readonly { path: string; result: EvalResult }[]): SetSpread {
  const first = runs[0].result;
  for (const { path, result } of runs)
    if (result.store?.hash !== first.store?.hash)
      throw new StateError(
        `${path} is about other activations of set "${first.set}" than ${runs[0].path}`,
        RUN_ALL,
      );
  const metrics = (Object.keys(first.metrics) as MetricName[]).map((name) => {
    const { definition, unit } = first.metrics[name];
    const values = runs.map(({ result }) => result.metrics[name]?.value ?? null);
    return [name, { definition, unit, ...spreadOf(values) }] as const;
  });
  return {
    set: first.set,
    nTokens: first.nTokens,
    metrics: Object.fromEntries(metrics),
    neverFired: spreadOf(runs.map(({ result }) => result.latents.nNeverFired)),
  };
}
