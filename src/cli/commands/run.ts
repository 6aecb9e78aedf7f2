/** `lapidary run <recipe>`: everything, or with --only some stages; with --dry-run only the plan. */
import { type Command, InvalidArgumentError } from "commander";
import { RecipeError } from "../../errors.ts";
import { STAGES, type StageName } from "../../pipeline/stages/unit.ts";
import { EXIT } from "../exit-codes.ts";
import { addRecipeOptions, pipelineOptions, type RecipeOptions } from "../options.ts";
import { createOutput } from "../output.ts";

interface RunCommandOptions extends RecipeOptions {
  readonly only?: StageName[];
  readonly dryRun?: boolean;
  readonly seeds?: string;
}

export function addRunCommand(program: Command): void {
  addRecipeOptions(program.command("run"))
    .description(`run a recipe: ${STAGES.join(", ")}`)
    .argument("<recipe>", "recipe file (YAML)")
    .option("--only <stages>", `only these stages: ${STAGES.join(", ")}`, stageList)
    .option("--dry-run", "print what the recipe needs: tokens, steps, disk, memory, time")
    .option(
      "--seeds <n or list>",
      "a run for each of n seeds, or of those listed (0,7,9), and how much their results vary",
    )
    .addHelpText(
      "after",
      `
Run it again after any interruption and it goes on; run a finished one and it says so.

Examples:
  $ lapidary run recipes/tiny-gemma.yaml
  $ lapidary run recipes/tiny-gemma.yaml --only train,export,after --layers 4
  $ lapidary run recipes/tiny-gemma.yaml --set name=short --set corpus.tokens=50000
  $ lapidary run recipes/tiny-gemma.yaml --seeds 3
  $ lapidary run recipes/gemma-4-e4b-it.yaml --dry-run`,
    )
    .action(async (recipe: string, options: RunCommandOptions) => {
      if (options.dryRun && options.seeds !== undefined)
        throw new RecipeError(
          "--dry-run plans one run, not --seeds",
          "leave --seeds out: each further seed costs what train, export, after and polish cost",
        );
      if (options.dryRun) {
        const { dryRun } = await import("../dry-run.ts");
        return dryRun(recipe, options);
      }
      if (options.seeds !== undefined) {
        const { runAllSeeds } = await import("../seeds.ts");
        return runAllSeeds(recipe, options.seeds, options, options.only);
      }
      await runStages(recipe, options, options.only);
    });
}

/** Runs a recipe (or some of its stages) and prints the table. */
export async function runStages(
  path: string,
  options: RecipeOptions,
  only?: readonly StageName[],
): Promise<void> {
  const output = createOutput(options);
  const { loadRecipe } = await import("../../pipeline/recipe/file.ts");
  const { runRecipe } = await import("../../pipeline/run.ts");
  const { summaryText } = await import("../summary.ts");
  const loaded = await loadRecipe(path, options.set);
  try {
    const summary = await runRecipe(loaded, {
      ...pipelineOptions(options),
      only,
      onEvent: (event) => output.event(event),
    });
    output.result(summaryText(summary), summary);
    if (summary.belowGate.length > 0) process.exitCode = EXIT.belowGate;
  } finally {
    output.clear();
  }
}

function stageList(text: string): StageName[] {
  return text.split(",").map((part) => {
    const name = part.trim();
    if (!(STAGES as readonly string[]).includes(name))
      throw new InvalidArgumentError(`"${name}" is no stage; stages are ${STAGES.join(", ")}`);
    return name as StageName;
  });
}
