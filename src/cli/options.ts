/** Options that several commands share, and how their values are read. */
import { type Command, InvalidArgumentError } from "commander";
import type { PipelineOptions } from "../pipeline/run.ts";
import { EXIT } from "./exit-codes.ts";

export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly threads?: number;
}

export interface RecipeOptions extends CommonOptions {
  readonly set?: string[];
  readonly runs: string;
  readonly layers?: number[];
  readonly overwrite?: boolean;
  readonly allowOtherBits?: boolean;
}

export function addCommonOptions(command: Command): Command {
  return command
    .option("--json", "one JSON object a line instead of text")
    .option("--quiet", "results only")
    .option("--verbose", "on errors, show the stack");
}

export function addThreadsOption(command: Command): Command {
  return command.option(
    "--threads <n>",
    "engine's worker threads; never changes a result (default: all cores). ONNX Runtime's: model.threads in a recipe",
    positiveInteger,
  );
}

export function addRecipeOptions(command: Command): Command {
  return addThreadsOption(addCommonOptions(command))
    .option(
      "--set <key=value>",
      "override a key of the recipe, e.g. --set train.epochs=1 (repeatable)",
      collect,
    )
    .option("--layers <list>", "only these layers, e.g. 2,4", layerList)
    .option("--runs <folder>", "where run folders lie", "runs")
    .option("--overwrite", "make anew what was made with other inputs")
    .option("--allow-other-bits", "resume training in another numeric class than it was begun in");
}

/** Of a run's latent indexes, which. */
export interface IndexChoice {
  readonly layer?: number;
  readonly before?: boolean;
}

/** A command about one latent index: its argument, and what chooses one of a run's. */
export function addIndexChoice(command: Command): Command {
  return command
    .argument("<what>", "a run that was indexed, or the folder of a latent index")
    .option("--layer <n>", "of a run: which layer's index (default: the only one)", wholeNumber)
    .option("--before", "of a run: the index of the SAE that the layer was trained from");
}

/** Command-line options as the pipeline takes them, with an abort signal wired to Ctrl-C. */
export function pipelineOptions(options: RecipeOptions): PipelineOptions {
  return {
    runsFolder: options.runs,
    layers: options.layers,
    overwrite: options.overwrite,
    allowOtherBits: options.allowOtherBits,
    threads: options.threads,
    signal: interruptSignal(),
  };
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
const listeners: (() => void)[] = [];

/** Aborts on the first Ctrl-C (or SIGTERM), so that the current step is saved; a second one ends the process at once. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    process.stderr.write("\nStopping after the current step …\n");
    controller.abort();
  };
  for (const signal of SIGNALS) process.on(signal, stop);
  listeners.push(stop);
  return controller.signal;
}

/** Leaves signals to whoever else listens, once the command has ended. */
export function stopListening(): void {
  for (const stop of listeners.splice(0)) for (const signal of SIGNALS) process.off(signal, stop);
}

export function positiveInteger(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n <= 0) throw new InvalidArgumentError("a positive whole number is wanted");
  return n;
}

export function wholeNumber(text: string): number {
  const n = Number(text);
  if (text.trim() === "" || !Number.isInteger(n) || n < 0)
    throw new InvalidArgumentError("a whole number is wanted");
  return n;
}

export function layerList(text: string): number[] {
  return text.split(",").map(wholeNumber);
}

/** Values of an option that may be given several times. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}
