/** `lapidary index`: what each latent fires on, does and is near to, as Parquet files; of a run's layers, or of any SAE. */
import { stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { RecipeError } from "../../errors.ts";
import type { MadeIndex } from "../../pipeline/indexing/make-index.ts";
import {
  addCommonOptions,
  addThreadsOption,
  type CommonOptions,
  collect,
  interruptSignal,
  layerList,
  positiveInteger,
} from "../options.ts";
import { createOutput } from "../output.ts";
import { count, formatBytes, formatSeconds } from "../progress.ts";

interface IndexCommandOptions extends CommonOptions {
  readonly layers?: number[];
  readonly set?: string[];
  readonly tokens?: number;
  readonly overwrite?: boolean;
}

export function addIndexCommand(program: Command): void {
  addThreadsOption(addCommonOptions(program.command("index")))
    .description("index every latent: what it fires on, how often, what it promotes, what it is near to")
    .argument("<what>", "a run's folder; or an SAE folder or hf:owner/name/path, with --data or --text")
    .option("--layers <list>", "of a run: only these layers, e.g. 2,4", layerList)
    .option("--set <name>", "of a run: index this set's tokens (repeatable; default: train)", collect)
    .option(
      "--tokens <n>",
      "tokens that are indexed, all sets together (default: 3 000 000)",
      positiveInteger,
    )
    .option("--overwrite", "make anew an index of something else that lies there")
    .addHelpText("after", HELP)
    .action(index);
}

const HELP = `
Each token is encoded once. What is written, table by table, is in docs/formats/index.md: pandas, polars and DuckDB read
it directly. Run it again and it says that nothing is to be done.

Examples:
  $ lapidary index runs/tiny-gemma
  $ lapidary index runs/tiny-gemma --layers 4 --set train --set chat --tokens 500000`;

async function index(what: string, options: IndexCommandOptions): Promise<void> {
  const output = createOutput(options);
  const dir = resolve(what);
  const isRun = (await stat(join(dir, "run.json")).catch(() => null)) !== null;
  const common = {
    ...(options.tokens !== undefined && { tokens: options.tokens }),
    ...(options.overwrite !== undefined && { overwrite: options.overwrite }),
    ...(options.threads !== undefined && { threads: options.threads }),
    signal: interruptSignal(),
    onEvent: output.event,
  };
  try {
    if (!isRun) throw new RecipeError(`${what} is no run`, "name a run's folder");
    const { loadRecipe } = await import("../../pipeline/recipe/file.ts");
    const { indexRun } = await import("../../pipeline/indexing/index-run.ts");
    const loaded = await loadRecipe(join(dir, "recipe.yaml"), [`name=${JSON.stringify(basename(dir))}`]);
    const made = await indexRun(loaded, dirname(dir), {
      ...common,
      ...(options.layers && { layers: options.layers }),
      ...(options.set && { sets: options.set }),
    });
    output.result(summary(made), made);
  } finally {
    output.clear();
  }
}

function summary(made: readonly MadeIndex[]): string {
  const lines = made.map(({ dir, manifest, made, seconds }) => {
    const { sae, data, files } = manifest;
    const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
    const how = made ? `in ${formatSeconds(seconds)}` : "there already, of the same";
    return `${relative(".", dir) || "."}: ${count(sae.dSae)} latents on ${count(data.nTokens)} tokens, ${formatBytes(bytes)}, ${how}`;
  });
  const first = relative(".", made[0].dir) || ".";
  return [
    ...lines,
    `What is in it:  npx lapidary inspect ${first}     the tables: docs/formats/index.md`,
  ].join("\n");
}
