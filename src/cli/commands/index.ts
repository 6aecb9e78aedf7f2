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
  wholeNumber,
} from "../options.ts";
import { createOutput, type Output } from "../output.ts";
import { count, formatBytes, formatSeconds } from "../progress.ts";
import { openText } from "../text-option.ts";

interface IndexCommandOptions extends CommonOptions {
  readonly layers?: number[];
  readonly set?: string[];
  readonly tokens?: number;
  readonly overwrite?: boolean;
  readonly logits: boolean;
  readonly finalNorm?: boolean;
  readonly data?: string[];
  readonly text?: string[];
  readonly model?: string;
  readonly out?: string;
  readonly base?: string;
  readonly baseSae?: string;
  readonly layer?: number;
  readonly context?: number;
  readonly device?: "cpu" | "cuda" | "webgpu" | "coreml" | "dml";
  readonly dtype?: string;
}

export function addIndexCommand(program: Command): void {
  addThreadsOption(addCommonOptions(program.command("index")))
    .description("index every latent: what it fires on, how often, what it promotes, what it is near to")
    .argument("<what>", "a run's folder; or an SAE folder or hf:owner/name/path, with --data or --text")
    .option(
      "--layers <list>",
      "of a run: only these layers, e.g. 2,4 (default: all that are finished)",
      layerList,
    )
    .option("--set <name>", "of a run: index this set's tokens (repeatable; default: train)", collect)
    .option(
      "--tokens <n>",
      "tokens that are indexed, all sets together (default: 3 000 000; of texts 65 536)",
      positiveInteger,
    )
    .option("--no-logits", "leave out what latents promote through the model's head")
    .option("--final-norm", "multiply decoder rows by the final norm's weight before the head")
    .option("--overwrite", "make anew an index of something else that lies there")
    .option("--data <store>", "of an SAE: an activation store (repeatable)", collect)
    .option(
      "--text <file>",
      "of an SAE: plain text, or documents or chats in .jsonl, .parquet (repeatable)",
      collect,
    )
    .option("--model <folder>", "reads the texts; with --data: what its head and tokens are taken from")
    .option("--out <folder>", "of an SAE: where the index goes")
    .option("--base <index>", "of an SAE: an index of the SAE it comes from, on the same tokens")
    .option("--base-sae <sae>", "of an SAE: the SAE it comes from, to measure how far latents moved")
    .option(
      "--layer <n>",
      "with --text: whose output the SAE reads (default: what the SAE says)",
      wholeNumber,
    )
    .option(
      "--context <n>",
      "with --text: tokens a window (default: the SAE's context size)",
      positiveInteger,
    )
    .option("--device <name>", "with --text: cpu, cuda, webgpu, coreml, dml (default: cpu)")
    .option("--dtype <suffix>", "of models with several variants: which")
    .addHelpText("after", HELP)
    .action(index);
}

const HELP = `
Each token is encoded once. A run's indexes lie in its folder, under index/: each layer's SAE, and the SAE that it was
trained from, on the same tokens. The tables are described in docs/formats/index.md: pandas, polars and DuckDB read them
directly. Run it again and it says that nothing is to be done; after an interruption it begins again.

Examples:
  $ lapidary index runs/tiny-gemma
  $ lapidary index runs/tiny-gemma --layers 4 --set train --set chat --tokens 500000
  $ lapidary index <sae> --data <store> --model <model folder> --out <folder>
  $ lapidary index <sae> --text notes.txt --model <model folder> --out <folder> --base-sae <sae>`;

const OF_A_RUN = ["layers", "set"];
const OF_AN_SAE = ["data", "text", "model", "out", "base", "baseSae", "layer", "context", "device", "dtype"];

async function index(what: string, options: IndexCommandOptions, command: Command): Promise<void> {
  const dir = resolve(what);
  const isRun = (await stat(join(dir, "run.json")).catch(() => null)) !== null;
  const idle = (isRun ? OF_AN_SAE : OF_A_RUN).find((name) => command.getOptionValueSource(name) === "cli");
  if (idle !== undefined)
    throw new RecipeError(
      isRun
        ? `${what} is a run: it has no --${spelled(idle)}`
        : `${what} is no run: it has no --${spelled(idle)}`,
      "lapidary index --help shows which options go with which",
    );
  const output = createOutput(options);
  try {
    const made = isRun ? await ofRun(dir, options, output) : [await ofSae(what, options, output)];
    output.result(summary(made), made);
  } finally {
    output.clear();
  }
}

function common({ tokens, overwrite, threads, logits, finalNorm }: IndexCommandOptions, output: Output) {
  return {
    logits,
    ...(finalNorm !== undefined && { finalNorm }),
    ...(tokens !== undefined && { tokens }),
    ...(overwrite !== undefined && { overwrite }),
    ...(threads !== undefined && { threads }),
    signal: interruptSignal(),
    onEvent: output.event,
  };
}

async function ofRun(dir: string, options: IndexCommandOptions, output: Output): Promise<MadeIndex[]> {
  const { loadRecipe } = await import("../../pipeline/recipe/file.ts");
  const { indexRun } = await import("../../pipeline/indexing/index-run.ts");
  const loaded = await loadRecipe(join(dir, "recipe.yaml"), [`name=${JSON.stringify(basename(dir))}`]);
  return indexRun(loaded, dirname(dir), {
    ...common(options, output),
    ...(options.layers && { layers: options.layers }),
    ...(options.set && { sets: options.set }),
  });
}

async function ofSae(sae: string, options: IndexCommandOptions, output: Output): Promise<MadeIndex> {
  const { out, data, text, model, base, baseSae, layer, context, device, dtype } = options;
  if (out === undefined) throw new RecipeError("where shall the index go?", "--out FOLDER");
  if (data === undefined && text === undefined)
    throw new RecipeError(
      "what shall the SAE be indexed on?",
      "--data STORE, or --text FILE --model FOLDER; or name a run's folder",
    );
  if (data !== undefined && text !== undefined)
    throw new RecipeError("--data and --text were both given", "leave one out");
  if (text !== undefined && model === undefined)
    throw new RecipeError("which model shall read the texts?", "--model FOLDER");
  const unread = (["layer", "context", "device"] as const).find((name) => options[name] !== undefined);
  if (text === undefined && unread !== undefined)
    throw new RecipeError(`--${unread} goes with --text`, "leave it out");
  const { indexSae } = await import("../../pipeline/indexing/index-sae.ts");
  const { selectEngine } = await import("../../kernels/select.ts");
  return indexSae({
    ...common(options, output),
    sae,
    out: resolve(out),
    ...(data && { stores: data.map((store) => resolve(store)) }),
    ...(text && { texts: await Promise.all(text.map(openText)) }),
    ...(model !== undefined && { model: await modelFolder(model, dtype) }),
    ...(base !== undefined && { baseIndex: resolve(base) }),
    ...(baseSae !== undefined && { baseSae }),
    ...(layer !== undefined && { layer }),
    ...(context !== undefined && { contextSize: context }),
    ...(device !== undefined && { device }),
    ...(dtype !== undefined && { dtype }),
    createEngine: (await selectEngine("auto")).create,
  });
}

async function modelFolder(place: string, dtype: string | undefined): Promise<string> {
  const { resolveSource } = await import("../../hub/source.ts");
  const { choosePaths } = await import("../../pipeline/model-identity.ts");
  return resolveSource(place, { choose: choosePaths(dtype) });
}

function summary(made: readonly MadeIndex[]): string {
  const lines = made.map(({ dir, manifest, made, seconds }) => {
    const { sae, data, files } = manifest;
    const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
    const how = made ? `in ${formatSeconds(seconds)}` : "there already, of the same";
    return `${relative(".", dir) || "."}: ${count(sae.dSae)} latents on ${count(data.nTokens)} tokens, ${formatBytes(bytes)}, ${how}`;
  });
  const last = relative(".", made[made.length - 1].dir) || ".";
  return [
    ...lines,
    `What is in it:  npx lapidary inspect ${last}     the tables: docs/formats/index.md`,
  ].join("\n");
}

function spelled(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
