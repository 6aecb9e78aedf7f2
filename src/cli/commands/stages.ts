/** Stages as commands of their own: `lapidary corpus <recipe>` is `lapidary run <recipe> --only corpus`. */
import type { Command } from "commander";
import type { StageName } from "../../pipeline/stages/unit.ts";
import { addRecipeOptions, type RecipeOptions } from "../options.ts";
import { runStages } from "./run.ts";

interface StageCommand {
  readonly name: string;
  readonly stages: readonly StageName[];
  readonly description: string;
}

const STAGE_COMMANDS: readonly StageCommand[] = [
  {
    name: "corpus",
    stages: ["corpus"],
    description: "texts and chats → token windows, training and held-out",
  },
  {
    name: "harvest",
    stages: ["harvest"],
    description: "token windows → residual-stream activations of every layer",
  },
  {
    name: "adapt",
    stages: ["train", "export", "after", "polish"],
    description:
      "train the SAEs on the activations; export and evaluate them, and where the recipe says so polish",
  },
  { name: "export", stages: ["export"], description: "trained SAEs → SAELens directories" },
];

const REPORT: StageCommand = {
  name: "report",
  stages: ["report"],
  description: "write the report, one HTML page, from the run's result files and logs",
};

export function addStageCommands(program: Command): void {
  for (const command of STAGE_COMMANDS) addStageCommand(program, command);
}

export function addReportCommand(program: Command): void {
  addStageCommand(program, REPORT);
}

function addStageCommand(program: Command, { name, stages, description }: StageCommand): void {
  addRecipeOptions(program.command(name))
    .description(description)
    .argument("<recipe>", "recipe file (YAML)")
    .addHelpText(
      "after",
      `\nThe same as: lapidary run <recipe> --only ${stages.join(",")}\n\nExample:\n  $ lapidary ${name} recipes/tiny-gemma.yaml`,
    )
    .action((recipe: string, options: RecipeOptions) => runStages(recipe, options, stages));
}
