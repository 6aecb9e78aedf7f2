/** `lapidary eval`: does this SAE fit this model? On a text file in seconds, on a store, or the eval stages of a recipe. */
import { basename, resolve } from "node:path";
import type { Command } from "commander";
import { RecipeError } from "../../errors.ts";
import type { EvalResult } from "../../evals/result.ts";
import type { EngineFactory } from "../../kernels/kernels.ts";
import type { Sae } from "../../sae/sae.ts";
import { addRecipeOptions, positiveInteger, type RecipeOptions, wholeNumber } from "../options.ts";
import { createOutput, type Output } from "../output.ts";
import { count } from "../progress.ts";
import { readText } from "../text-file.ts";
import { runStages } from "./run.ts";

interface EvalOptions extends RecipeOptions {
  readonly model?: string;
  readonly text?: string;
  readonly data?: string;
  readonly layer?: number;
  readonly context?: number;
  readonly device?: "cpu" | "cuda" | "webgpu" | "coreml" | "dml";
  readonly dtype?: string;
}

export function addEvalCommand(program: Command): void {
  addRecipeOptions(program.command("eval"))
    .description("how well an SAE fits a model: VE, L0, MSE, cosine, latents that never fire")
    .argument("<sae>", "SAE folder or hf:owner/name/path; or a recipe, to run its before and after stages")
    .option("--model <folder>", "the language model: folder with ONNX files, or hf:owner/name")
    .option("--text <file>", "evaluate on this text, in memory")
    .option("--data <store>", "evaluate on this activation store")
    .option("--layer <n>", "whose output the SAE reads (default: what the SAE says)", wholeNumber)
    .option("--context <n>", "tokens a window (default: the SAE's context size)", positiveInteger)
    .option("--device <name>", "cpu, cuda, webgpu, coreml, dml", "cpu")
    .option("--dtype <suffix>", "of a model with several variants: which")
    .addHelpText(
      "after",
      `
Examples:
  $ lapidary eval assets/tiny-gemma/sae-base/layer_4 --model assets/tiny-gemma/it --text README.md
  $ lapidary eval <sae> --data runs/tiny-gemma/activations/model/chat/blocks.4.hook_resid_post
  $ lapidary eval recipes/tiny-gemma.yaml`,
    )
    .action(async (sae: string, options: EvalOptions, command: Command) => {
      const isRecipe = /\.ya?ml$/.test(sae);
      refuseOptions(command, isRecipe ? OF_AN_SAE : OF_A_RECIPE, isRecipe ? "an SAE" : "a recipe");
      await (isRecipe ? runStages(sae, options, ["before", "after"]) : evalSae(sae, options));
    });
}

const OF_AN_SAE = ["model", "text", "data", "layer", "context", "device", "dtype"];
const OF_A_RECIPE = ["set", "layers", "runs", "overwrite", "allowOtherBits"];

/** @throws {RecipeError} an option was given that means nothing here */
function refuseOptions(command: Command, names: readonly string[], whose: string): void {
  const given = names.find((name) => command.getOptionValueSource(name) === "cli");
  if (given === undefined) return;
  const option = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new RecipeError(
    `--${option} belongs to the evaluation of ${whose}`,
    "lapidary eval --help shows both",
  );
}

async function evalSae(location: string, options: EvalOptions): Promise<void> {
  const output = createOutput(options);
  const { resolveSource } = await import("../../hub/source.ts");
  const { loadSae } = await import("../../sae/load.ts");
  const { selectEngine } = await import("../../kernels/select.ts");
  const isText = options.text !== undefined && options.model !== undefined && options.data === undefined;
  const isStore = options.data !== undefined && options.text === undefined;
  if (!isText && !isStore)
    throw new RecipeError(
      "what shall the SAE be evaluated on?",
      "--model FOLDER --text FILE, or --data STORE",
    );
  const sae = await loadSae(await resolveSource(location));
  const { create } = await selectEngine("auto");
  output.event({ kind: "begin", unit: "eval", title: "evaluate", resumed: false });
  const result = isText
    ? await onText(sae, create, options, output)
    : await onStore(sae, create, options, output);
  output.result(resultText(location, result), result);
}

async function onText(
  sae: Sae,
  createEngine: EngineFactory,
  options: EvalOptions,
  output: Output,
): Promise<EvalResult> {
  const { model, text, layer, context, threads, device, dtype } = options as EvalOptions & {
    model: string;
    text: string;
  };
  const { resolveSource } = await import("../../hub/source.ts");
  const { evaluateText } = await import("../../pipeline/evaluate-text.ts");
  const { choosePaths } = await import("../../pipeline/model-identity.ts");
  return evaluateText({
    sae,
    modelFolder: await resolveSource(model, { choose: choosePaths(dtype) }),
    text: await readText(text),
    name: basename(text),
    layer,
    contextSize: context,
    createEngine,
    threads,
    device,
    dtype,
    onProgress: (progress) => output.event({ kind: "progress", unit: "eval", progress }),
  });
}

async function onStore(
  sae: Sae,
  createEngine: EngineFactory,
  options: EvalOptions,
  output: Output,
): Promise<EvalResult> {
  const { openActivationStore } = await import("../../activations/store.ts");
  const { evaluate } = await import("../../evals/evaluate.ts");
  const { openInference } = await import("../../sae/inference.ts");
  const store = await openActivationStore(resolve(options.data ?? ""));
  const inference = await openInference(sae, createEngine, { threads: options.threads });
  try {
    const { result } = await evaluate(inference, store, {
      onProgress: ({ done, total }) =>
        output.event({ kind: "progress", unit: "eval", progress: { done, total, unit: "tokens" } }),
    });
    return result;
  } finally {
    await inference.dispose();
    await store.close();
  }
}

function resultText(location: string, { set, hookName, nTokens, metrics, latents }: EvalResult): string {
  const width = Math.max(...Object.keys(metrics).map((name) => name.length));
  return [
    `${location} on ${set}: ${count(nTokens)} tokens, ${hookName}`,
    ...Object.entries(metrics).map(
      ([name, { value, definition }]) =>
        `  ${name.padEnd(width)}  ${(value === null ? "undefined" : value.toPrecision(5)).padStart(10)}   ${definition}`,
    ),
    `  ${count(latents.nNeverFired)} of ${count(latents.nLatents)} latents did not fire on these tokens`,
  ].join("\n");
}
