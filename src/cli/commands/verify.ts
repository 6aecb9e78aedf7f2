/** `lapidary verify <dir>`: is a saved SAE, byte for byte and number for number, what the run measured? */
import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { StateError } from "../../errors.ts";
import { EXIT } from "../exit-codes.ts";
import { addCommonOptions, addThreadsOption, type CommonOptions } from "../options.ts";
import { createOutput } from "../output.ts";

export function addVerifyCommand(program: Command): void {
  addThreadsOption(addCommonOptions(program.command("verify")))
    .description("load a saved SAE afresh, evaluate it again, compare with the recorded results to 1e-6")
    .argument("<dir>", "a saved SAE inside its run folder, or the run folder for all layers")
    .addHelpText(
      "after",
      "\nExits 4 on any difference.\n\nExamples:\n  $ lapidary verify runs/tiny-gemma/sae/btk-mat-layer-4-k-32\n  $ lapidary verify runs/tiny-gemma",
    )
    .action(verify);
}

async function verify(dir: string, options: CommonOptions): Promise<void> {
  const output = createOutput(options);
  const { loadRecipe } = await import("../../pipeline/recipe/file.ts");
  const { openRun } = await import("../../pipeline/run.ts");
  const { verifyLayer } = await import("../../pipeline/stages/verify.ts");
  const { exportedId } = await import("../../pipeline/stages/export.ts");
  const { finishedLayers } = await import("../../pipeline/stages/finished.ts");
  const run = await findRun(resolve(dir));
  const loaded = await loadRecipe(join(run, "recipe.yaml"), [`name=${JSON.stringify(basename(run))}`]);
  const context = await openRun(loaded, { runsFolder: dirname(run), threads: options.threads });
  const wanted = finishedLayers(context).filter(
    (layer) => resolve(dir) === run || context.dir.sae(exportedId(context, layer)) === resolve(dir),
  );
  if (wanted.length === 0)
    throw new StateError(
      `${dir} is not an SAE that this run has finished`,
      `lapidary inspect ${run} shows what it has`,
    );
  const reports = [];
  for (const layer of wanted) {
    const title = `verify layer ${layer}`;
    output.event({ kind: "begin", unit: `verify:${layer}`, title, resumed: false });
    const differences = await verifyLayer(context, layer, (progress) =>
      output.event({ kind: "progress", unit: `verify:${layer}`, progress }),
    );
    reports.push({ layer, id: exportedId(context, layer), differences });
  }
  const failed = reports.filter(({ differences }) => differences.length > 0);
  const lines = reports.flatMap(({ id, differences }) =>
    differences.length === 0
      ? [`${id}: verified; files and metrics are what the run recorded`]
      : [
          `${id}: DIFFERS`,
          ...differences.map(
            ({ what, recorded, found }) => `  ${what}: recorded ${recorded}, found ${found}`,
          ),
        ],
  );
  output.result(lines.join("\n"), reports);
  if (failed.length > 0) process.exitCode = EXIT.notVerified;
}

/** The run folder that holds `dir`: itself, or the nearest above with a run.json. */
export async function findRun(dir: string): Promise<string> {
  for (let folder = dir; ; folder = dirname(folder)) {
    if ((await stat(join(folder, "run.json")).catch(() => null)) !== null) return folder;
    if (dirname(folder) === folder) break;
  }
  throw new StateError(
    `${dir} lies in no run folder: there are no recorded results to compare with`,
    "lapidary eval <sae> --model … --text … measures any SAE",
  );
}
