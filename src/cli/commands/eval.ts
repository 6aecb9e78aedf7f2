/** `lapidary eval`: does this SAE fit these models? On texts in seconds, on stores, or the eval stages of a recipe. */
import { basename, resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { RecipeError } from "../../errors.ts";
import type { TransferReport } from "../../evals/transfer/report.ts";
import type { TransferText } from "../../pipeline/transfer/texts.ts";
import type { Named } from "../../pipeline/transfer/transfer.ts";
import {
  addRecipeOptions,
  collect,
  interruptSignal,
  positiveInteger,
  type RecipeOptions,
  wholeNumber,
} from "../options.ts";
import { createOutput } from "../output.ts";
import { named, openText } from "../text-option.ts";
import { runStages } from "./run.ts";

interface EvalOptions extends RecipeOptions {
  readonly model?: string[];
  readonly base?: string;
  readonly text?: string[];
  readonly embedded?: string[];
  readonly data?: string[];
  readonly baseData?: string[];
  readonly protocols?: ("short" | "full")[];
  readonly tokens?: number;
  readonly recentre?: boolean;
  readonly rescale?: boolean;
  readonly splice?: boolean;
  readonly layer?: number;
  readonly context?: number;
  readonly device?: "cpu" | "cuda" | "webgpu" | "coreml" | "dml";
  readonly dtype?: string;
}

const DEFAULT_TOKENS = 16_384;
const PROTOCOLS = ["short", "full"] as const;
const EMBEDDED = ["prose", "chat", "code", "multilingual", "long"];

export function addEvalCommand(program: Command): void {
  addRecipeOptions(program.command("eval"))
    .description("does an SAE fit a model? How well, if not why, and what to do")
    .argument(
      "<sae>",
      "SAE folder or hf:owner/name/path, {layer} in it with --layers; or a recipe, to run its before and after stages",
    )
    .option(
      "--model <[name=]folder>",
      "a language model: folder with ONNX files, or hf:owner/name (repeatable)",
      collect,
    )
    .option("--base <[name=]folder>", "the model the SAE was made for: the others are compared with it")
    .option(
      "--text <[name=]file>",
      "plain text, or documents or chats in .jsonl, .jsonl.zst, .parquet (repeatable)",
      collect,
    )
    .option("--embedded <list>", `embedded held-out texts: ${EMBEDDED.join(",")} or all`, embeddedList)
    .option("--tokens <n>", `tokens of each text (default: ${DEFAULT_TOKENS})`, positiveInteger)
    .option(
      "--protocols <list>",
      "short: the first 64 tokens of each document; full: packed contexts (default: short,full)",
      protocolList,
    )
    .option("--data <[name=]store>", "an activation store (repeatable)", collect)
    .option(
      "--base-data <[name=]store>",
      "a store of the base model's, compared with the --data of the same set; a single one with all",
      collect,
    )
    .option("--recentre", "show VE with inputs moved to the mean that the SAE expects")
    .option(
      "--rescale",
      "show VE with inputs stretched to the scale that the SAE expects; with both: both at once",
    )
    .option("--splice", "also run the whole model with the SAE spliced in: rise of cross-entropy, KL")
    .option("--layer <n>", "whose output the SAE reads (default: what the SAE says)", wholeNumber)
    .option("--context <n>", "tokens a full window (default: the SAE's context size)", positiveInteger)
    .option("--device <name>", "cpu, cuda, webgpu, coreml, dml (default: cpu)")
    .option("--dtype <suffix>", "of models with several variants: which")
    .addHelpText("after", HELP)
    .action(async (sae: string, options: EvalOptions, command: Command) => {
      const isRecipe = /\.ya?ml$/.test(sae);
      refuseOptions(command, isRecipe ? OF_AN_SAE : OF_A_RECIPE, isRecipe ? "an SAE" : "a recipe");
      await (isRecipe ? runStages(sae, options, ["before", "after"]) : evalSae(sae, options));
    });
}

const HELP = `
Each text is run through each model up to the SAE's layer, in memory; nothing is written. Said for each: VE, L0, the
share of the squared error on the worst 0.1 % of tokens, how far mean and scale are from what the SAE expects (the base
model's, or its own bDec without --base), and in words whether it fits, why not (a moved mean, another scale, a few
outliers, another distribution) and what to do: use it, re-centre, rescale, adapt, look at outliers. --splice adds what
the SAE does to the model's predictions. --json has every number with its definition, and the limits that the words go by.

Examples:
  $ lapidary eval assets/tiny-gemma/sae-base/layer_4 --model assets/tiny-gemma/it --text README.md
  $ lapidary eval <sae> --base <folder> --model it=<folder> --model mine=<folder> --text notes.txt --text chats.jsonl
  $ lapidary eval <sae> --base <folder> --model <folder> --embedded prose,chat --recentre --rescale
  $ lapidary eval assets/tiny-gemma/sae-base/layer_{layer} --layers 2,4,6 --model assets/tiny-gemma/it --embedded all
  $ lapidary eval <sae> --data runs/tiny-gemma/activations/model/chat/blocks.4.hook_resid_post
  $ lapidary eval recipes/tiny-gemma.yaml`;

const OF_AN_SAE = [
  "model",
  "base",
  "text",
  "embedded",
  "data",
  "baseData",
  "tokens",
  "protocols",
  "recentre",
  "rescale",
  "splice",
  "layer",
  "context",
  "device",
  "dtype",
];
const OF_A_RECIPE = ["set", "runs", "overwrite", "allowOtherBits"];

/** @throws {RecipeError} an option was given that means nothing here */
function refuseOptions(command: Command, names: readonly string[], whose: string): void {
  const given = names.find((name) => command.getOptionValueSource(name) === "cli");
  if (given === undefined) return;
  throw new RecipeError(
    `--${spelled(given)} belongs to the evaluation of ${whose}`,
    "lapidary eval --help shows both",
  );
}

async function evalSae(location: string, options: EvalOptions): Promise<void> {
  refuseIdleOptions(options);
  const output = createOutput(options);
  const { evaluateTransfer } = await import("../../pipeline/transfer/transfer.ts");
  const { loadSae } = await import("../../sae/load.ts");
  const { selectEngine } = await import("../../kernels/select.ts");
  const { transferText } = await import("../transfer-text.ts");
  const { create: createEngine } = await selectEngine("auto");
  const signal = interruptSignal();
  const reports: TransferReport[] = [];
  try {
    const saes = saesOf(location, options);
    const texts = await textsOf(options);
    const base = options.base === undefined ? null : await modelOf(options.base, options);
    const models = await Promise.all((options.model ?? []).map((model) => modelOf(model, options)));
    for (const { name, layer } of saes) {
      reports.push(
        await evaluateTransfer({
          name,
          sae: await loadSae(name),
          base,
          models,
          texts,
          protocols: options.protocols ?? PROTOCOLS,
          tokens: options.tokens ?? DEFAULT_TOKENS,
          splice: options.splice,
          contextSize: options.context,
          layer,
          baseStores: (options.baseData ?? []).map(storeOf),
          stores: (options.data ?? []).map(storeOf),
          createEngine,
          threads: options.threads,
          device: options.device,
          dtype: options.dtype,
          signal,
          onEvent: (event) => output.event(event),
        }),
      );
    }
    const text = reports.map((report) => transferText(report, options)).join("\n\n");
    output.result(text, reports.length === 1 ? reports[0] : reports);
  } finally {
    output.clear();
  }
}

/** @throws {RecipeError} nothing to evaluate on, or an option that means nothing beside the others */
function refuseIdleOptions(options: EvalOptions): void {
  const { model, base, text, embedded, data, baseData } = options;
  const hasTexts = text !== undefined || embedded !== undefined;
  const hasModels = model !== undefined || base !== undefined;
  if (hasTexts !== hasModels || (!hasTexts && data === undefined && baseData === undefined))
    throw new RecipeError(
      hasTexts ? "which model shall read the texts?" : "what shall the SAE be evaluated on?",
      hasTexts ? "--model FOLDER (repeatable)" : "--model FOLDER --text FILE, or --data STORE",
    );
  if (hasTexts) return;
  const idle = (["tokens", "protocols", "splice", "layer", "context", "device", "dtype"] as const).find(
    (name) => options[name] !== undefined,
  );
  if (idle !== undefined)
    throw new RecipeError(`--${idle} goes with --text`, "lapidary eval --help shows what goes with --data");
}

/** One SAE, or one a layer where the location has a place for it. */
function saesOf(location: string, { layer, layers }: EvalOptions): { name: string; layer?: number }[] {
  const hasPlace = location.includes("{layer}");
  if (hasPlace !== (layers !== undefined))
    throw new RecipeError(
      hasPlace
        ? `${location}: which layers?`
        : "--layers goes with {layer} in the SAE's place, or with a recipe",
      hasPlace ? "--layers 2,4" : "--layer N, for the one layer that this SAE reads",
    );
  if (layers === undefined) return [{ name: location, layer }];
  if (layer !== undefined) throw new RecipeError("--layer and --layers were both given", "leave one out");
  return layers.map((each) => ({ name: location.replaceAll("{layer}", String(each)), layer: each }));
}

async function modelOf(text: string, { dtype }: EvalOptions): Promise<Named> {
  const { resolveSource } = await import("../../hub/source.ts");
  const { choosePaths } = await import("../../pipeline/model-identity.ts");
  const { name, place } = named(text);
  return {
    name: name ?? basename(place.replace(/\/+$/, "")),
    path: await resolveSource(place, { choose: choosePaths(dtype) }),
  };
}

function storeOf(text: string): Named {
  const { name, place } = named(text);
  return { name: name ?? place, path: resolve(place) };
}

/** Texts in the order of the options, the embedded ones last. */
async function textsOf({ text = [], embedded = [] }: EvalOptions): Promise<TransferText[]> {
  const { embeddedText } = await import("../../pipeline/transfer/texts.ts");
  const texts: TransferText[] = [];
  for (const each of text) texts.push(await openText(each));
  for (const name of embedded) texts.push(await embeddedText(name));
  return texts;
}

function embeddedList(text: string): string[] {
  const names = text === "all" ? EMBEDDED : text.split(",");
  const unknown = names.find((name) => !EMBEDDED.includes(name));
  if (unknown !== undefined) throw new InvalidArgumentError(`"${unknown}" is none of ${EMBEDDED.join(", ")}`);
  return names;
}

function protocolList(text: string): ("short" | "full")[] {
  return text.split(",").map((name) => {
    const protocol = PROTOCOLS.find((each) => each === name);
    if (protocol === undefined)
      throw new InvalidArgumentError(`"${name}" is none of ${PROTOCOLS.join(", ")}`);
    return protocol;
  });
}

function spelled(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
