/** `--dry-run`: the plan of a recipe, stage by stage, with times from a short measured forward and step. */

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { RunContext } from "../pipeline/context.ts";
import { estimateTimes, type StageTime } from "../pipeline/estimate.ts";
import { planRecipe, type StagePlan } from "../pipeline/plan.ts";
import { loadRecipe } from "../pipeline/recipe/file.ts";
import { availableMemory, freeDisk } from "../pipeline/resources.ts";
import { RunDirectory } from "../pipeline/run-directory.ts";
import { RunState } from "../pipeline/run-state.ts";
import { knownSizes } from "../pipeline/sizes.ts";
import type { RecipeOptions } from "./options.ts";
import { createOutput } from "./output.ts";
import { count, formatBytes, formatSeconds, memoryParts } from "./progress.ts";

/** Plans and prints; writes nothing. */
export async function dryRun(path: string, options: RecipeOptions): Promise<void> {
  const output = createOutput(options);
  const { recipe, folder } = await loadRecipe(path, options.set);
  const dir = new RunDirectory(resolve(join(options.runs, recipe.name)));
  const state = await RunState.open(dir.state, recipe.name, {});
  const context = new RunContext(recipe, folder, dir, state, { threads: options.threads });
  const sizes = await knownSizes(context, { download: false });
  const plans = planRecipe(recipe, sizes, { threads: options.threads });
  const times = await estimateTimes(context, plans, sizes);
  const memory = await availableMemory();
  const disk = await freeDisk(existsSync(options.runs) ? options.runs : ".");
  output.result(
    planText(recipe.name, plans, times, {
      memory,
      disk,
      dIn: sizes.dIn,
      isHarvestedOnCpu: recipe.model.device === "cpu" && recipe.activations.import === null,
    }),
    { recipe, sizes, plans, times, memory, disk },
  );
}

interface Machine {
  readonly memory: number;
  readonly disk: number;
  readonly dIn: number | null;
  readonly isHarvestedOnCpu: boolean;
}

const LONG_HARVEST_SECONDS = 3600;

function planText(
  name: string,
  plans: readonly StagePlan[],
  times: readonly StageTime[],
  machine: Machine,
): string {
  const header = ["stage", "tokens", "steps", "disk", "memory", "time", "how the time was found"];
  const rows = plans.map((plan, i) => [
    plan.part === undefined ? plan.stage : `${plan.stage}: ${plan.part}`,
    count(plan.tokens),
    plan.steps === null ? "" : count(plan.steps),
    plan.diskBytes === null ? "?" : plan.diskBytes === 0 ? "" : formatBytes(plan.diskBytes),
    plan.memoryBytes === null ? "?" : formatBytes(plan.memoryBytes),
    times[i].seconds === null ? "?" : formatSeconds(times[i].seconds),
    times[i].basis,
  ]);
  const totalDisk = plans.reduce((sum, { diskBytes }) => sum + (diskBytes ?? 0), 0);
  const known = times
    .filter(({ seconds }) => seconds !== null)
    .reduce((sum, { seconds }) => sum + (seconds ?? 0), 0);
  const lines = [`Plan of ${name} (nothing is written):`, "", ...table([header, ...rows]), ""];
  lines.push(
    `Disk ${formatBytes(totalDisk)} in all, ${formatBytes(machine.disk)} free here; ${formatBytes(machine.memory)} of memory free; time ${formatSeconds(known)}${times.some(({ seconds }) => seconds === null) ? " and what could not be estimated" : ""}.`,
  );
  const training = plans.find(({ memoryParts: parts }) => parts !== undefined);
  if (training?.memoryParts !== undefined)
    lines.push(`Memory of training: ${memoryParts(training.memoryParts, training.memoryBytes ?? 0)}.`);
  const harvest = times.filter(({ stage }) => stage === "harvest");
  const harvestSeconds = harvest.reduce((sum, { seconds }) => sum + (seconds ?? 0), 0);
  const isUnknown = harvest.some(({ seconds }) => seconds === null);
  if (machine.isHarvestedOnCpu && (isUnknown || harvestSeconds > LONG_HARVEST_SECONDS)) {
    const share = isUnknown || harvestSeconds > known / 2 ? "the larger part" : "a large part";
    lines.push(
      "",
      `On a CPU the harvest is ${share} of the time. The way round: dump the activations where a GPU is`,
      "(docs/formats/import.md has 20 lines of Python for it), bring them here with `lapidary import`, or name the dumps in",
      "the recipe (activations.import), and train from them.",
    );
  }
  return lines.join("\n");
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const isNumber = (column: number) => column > 0 && column < 6;
  return rows.map((row) =>
    row
      .map((cell, column) => (isNumber(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
      .join("  ")
      .trimEnd(),
  );
}
