/** `lapidary check <sae>`: is this SAE the one that its contract describes? */
import type { Command } from "commander";
import { EXIT } from "../exit-codes.ts";
import { addCommonOptions, type CommonOptions } from "../options.ts";
import { createOutput } from "../output.ts";

export function addCheckCommand(program: Command): void {
  addCommonOptions(program.command("check"))
    .description("compare a published SAE with its contract.json: what it computes, and what cfg.json says")
    .argument("<sae>", "the folder of an SAE, or hf:owner/name[/path][@revision]")
    .option("--hashes", "every file's content too: sees weights that the golden vector does not use")
    .addHelpText(
      "after",
      "\nNo model and no run is needed; `lapidary verify` measures an SAE of a run again. Exits 4 on any difference.\n\nExamples:\n  $ lapidary check runs/tiny-gemma/sae/btk-mat-layer-4-k-32\n  $ lapidary check hf:owner/name/btk-mat-layer-4-k-32 --hashes",
    )
    .action(check);
}

async function check(location: string, options: CommonOptions & { hashes?: boolean }): Promise<void> {
  const output = createOutput(options);
  const { localSae } = await import("../../sae/location.ts");
  const { checkContract } = await import("../../publish/check.ts");
  const started = performance.now();
  const found = await checkContract(await localSae(location), options);
  const seconds = Math.round(performance.now() - started) / 1000;
  const { differences, nInputs, nLatents, hashed } = found;
  const lines =
    differences.length === 0
      ? [
          `${location}: as its contract says: ${nLatents} latents of ${nInputs} inputs and their reconstructions, cfg.json${hashed ? ", every file's hash" : ""} (${seconds.toFixed(1)} s)`,
        ]
      : [
          `${location}: NOT as its contract says`,
          ...differences.map(
            ({ what, expected, found }) => `  ${what}: expected ${expected}, found ${found}`,
          ),
        ];
  output.result(lines.join("\n"), { location, holds: differences.length === 0, ...found, seconds });
  if (differences.length > 0) process.exitCode = EXIT.notVerified;
}
