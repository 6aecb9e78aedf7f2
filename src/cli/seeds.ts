/** `lapidary run --seeds`: the recipe under each seed, then how much its results vary, as a table. */
import { relative } from "node:path";
import { loadRecipe } from "../pipeline/recipe/file.ts";
import { chooseSeeds, runSeeds, type SeedsResult, type SeedsSummary } from "../pipeline/seeds/seeds.ts";
import type { Spread } from "../pipeline/seeds/spread.ts";
import type { StageName } from "../pipeline/stages/unit.ts";
import { EXIT } from "./exit-codes.ts";
import { pipelineOptions, type RecipeOptions } from "./options.ts";
import { createOutput } from "./output.ts";
import { formatSeconds } from "./progress.ts";

/** Runs a recipe once a seed and prints the spread. Exits as the worst of the runs. */
export async function runAllSeeds(
  path: string,
  seeds: string,
  options: RecipeOptions,
  only?: readonly StageName[],
): Promise<void> {
  const output = createOutput(options);
  const loaded = await loadRecipe(path, options.set);
  try {
    const summary = await runSeeds(loaded, chooseSeeds(seeds, loaded.recipe.seed), {
      ...pipelineOptions(options),
      only,
      onEvent: (event) => output.event(event),
      onSeed: ({ name, index, total }) =>
        output.event({ kind: "note", message: `seed ${index + 1} of ${total}: run ${name}` }),
    });
    output.result(seedsText(summary), summary);
    if (summary.summaries.some(({ belowGate }) => belowGate.length > 0)) process.exitCode = EXIT.belowGate;
  } finally {
    output.clear();
  }
}

function seedsText(summary: SeedsSummary): string {
  const { summaries, path, seeds } = summary;
  const here = (to: string) => relative(process.cwd(), to) || ".";
  const below = summaries.flatMap(({ belowGate, directory }) =>
    belowGate.length === 0 ? [] : [`${here(directory)} (layer ${belowGate.join(", ")})`],
  );
  const seconds = summaries.reduce((sum, one) => sum + one.seconds, 0);
  return [
    "",
    summary.layers.length === 0
      ? "No layer is finished under every seed yet."
      : `${seeds.length} seeds (${seeds.join(", ")}): mean ± standard deviation (lowest … highest)\n\n${spreadTable(summary)}`,
    "",
    ...(below.length === 0 ? [] : [`Below the gate: ${below.join("; ")}.`, ""]),
    "Runs:",
    ...summaries.map(({ directory }) => `  ${here(directory)}`),
    "",
    `Done in ${formatSeconds(seconds)}. All numbers: ${here(path)}`,
  ].join("\n");
}

/** One line a (layer, set); then one a layer on its latents. */
function spreadTable({ layers }: Pick<SeedsResult, "layers">): string {
  const hasSplice = layers.some(({ sets }) => sets.some(({ splice }) => splice !== null));
  const rows = layers.flatMap(({ layer, sets, deadInTraining }) =>
    sets.map(({ set, metrics, splice, neverFired }, i) => [
      i === 0 ? String(layer) : "",
      set,
      show(metrics.ve, 4),
      show(metrics.l0, 2),
      ...(hasSplice ? [splice === null ? "–" : show(splice.ceScore, 4)] : []),
      show(neverFired, 0),
      i === 0 ? show(deadInTraining, 0) : "",
    ]),
  );
  const header = [
    "layer",
    "set",
    "VE",
    "L0",
    ...(hasSplice ? ["CE score"] : []),
    "never fired",
    "dead in training",
  ];
  const agreements = layers.flatMap(({ layer, agreement: { pairs, cosines } }) =>
    pairs.map(
      ({ a, b, dSae, shareAbove }) =>
        `layer ${layer}, seeds ${a} and ${b}: ${cosines
          .map((cut, i) => `${percent(shareAbove[i])} of ${Math.min(...dSae)} latents agree to cosine ${cut}`)
          .join(", ")}`,
    ),
  );
  return [...aligned([header, ...rows]), "", ...agreements].join("\n");
}

function show({ mean, sd, min, max }: Spread, digits: number): string {
  if (mean === null || min === null || max === null) return "–";
  const exact = (value: number) => value.toFixed(digits);
  const spread = sd === null ? "" : ` ± ${sd.toFixed(digits + (digits === 0 ? 1 : 0))}`;
  return `${mean.toFixed(digits === 0 ? 1 : digits)}${spread} (${exact(min)} … ${exact(max)})`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join("  ")
      .trimEnd(),
  );
}
