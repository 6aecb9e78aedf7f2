/** `lapidary compare A B`: two SAEs on the same activations, and what changed between them. */
import { basename, resolve } from "node:path";
import type { Command } from "commander";
import { RecipeError } from "../../errors.ts";
import type { ComparedData, NamedSae } from "../../pipeline/compare/compare.ts";
import {
  addCommonOptions,
  addThreadsOption,
  type CommonOptions,
  collect,
  interruptSignal,
  positiveInteger,
  wholeNumber,
} from "../options.ts";
import { createOutput, type Output } from "../output.ts";
import { readText } from "../text-file.ts";

interface CompareCommandOptions extends CommonOptions {
  readonly data?: string[];
  readonly model?: string;
  readonly text?: string[];
  readonly layer?: number;
  readonly context?: number;
  readonly device?: "cpu" | "cuda" | "webgpu" | "coreml" | "dml";
  readonly dtype?: string;
  readonly out?: string;
}

const DEFAULT_CONTEXT = 256;

export function addCompareCommand(program: Command): void {
  addThreadsOption(addCommonOptions(program.command("compare")))
    .description(
      "two SAEs on the same activations: metrics with paired intervals, and what became of the latents",
    )
    .argument("<a>", "SAE folder, hf:owner/name/path, or a run: its final SAE; a run alone: before and after")
    .argument("[b]", "the other one")
    .option(
      "--data <store>",
      "compare on this activation store (repeatable; default: a run's held-out sets)",
      collect,
    )
    .option("--model <folder>", "with --text: the language model, a folder with ONNX files or hf:owner/name")
    .option("--text <file>", "compare on this text, in memory (repeatable: each is a document)", collect)
    .option("--layer <n>", "which SAE of a run; with --text: whose output is read", wholeNumber)
    .option(
      "--context <n>",
      "with --text: tokens a window (default: the SAE's context size)",
      positiveInteger,
    )
    .option("--device <name>", "with --text: cpu, cuda, webgpu, coreml, dml (default: cpu)")
    .option("--dtype <suffix>", "with --text: of a model with several variants, which")
    .option("--out <file.json>", "write everything there, too")
    .addHelpText(
      "after",
      `
Differences are B − A. Their intervals draw the same documents for both, so what the two have in common cancels.

Examples:
  $ lapidary compare runs/tiny-gemma --layer 4
  $ lapidary compare runs/tiny-gemma-seed-0 runs/tiny-gemma-seed-1 --layer 4
  $ lapidary compare <sae> <sae> --data runs/tiny-gemma/activations/model/chat/blocks.4.hook_resid_post
  $ lapidary compare <sae> <sae> --model assets/tiny-gemma/it --text README.md --text docs/GLOSSARY.md`,
    )
    .action(compare);
}

async function compare(a: string, b: string | undefined, options: CompareCommandOptions): Promise<void> {
  refuseIdleOptions(options);
  const output = createOutput(options);
  const { loadSides } = await import("../../pipeline/compare/sides.ts");
  const { compareSaes } = await import("../../pipeline/compare/compare.ts");
  const { selectEngine } = await import("../../kernels/select.ts");
  const { comparisonText } = await import("../compare-text.ts");
  const sides = await loadSides(a, b, options.layer);
  if (options.layer !== undefined && sides.heldOut === null && options.text === undefined)
    throw new RecipeError(
      "--layer says which SAE of a run is meant, or with --text whose output is read",
      "leave it out",
    );
  try {
    const data = await dataOf(options, sides.a, sides.heldOut, output);
    const { create: createEngine } = await selectEngine("auto");
    let doing = "";
    const comparison = await compareSaes(sides.a, sides.b, data, {
      createEngine,
      threads: options.threads,
      signal: interruptSignal(),
      onProgress: ({ what, ...progress }) => {
        if (what !== doing) output.event({ kind: "begin", unit: "compare", title: what, resumed: false });
        doing = what;
        output.event({ kind: "progress", unit: "compare", progress });
      },
    });
    if (options.out !== undefined) {
      const { writeJson } = await import("../../storage/atomic.ts");
      await writeJson(resolve(options.out), comparison);
    }
    output.result(comparisonText(comparison), comparison);
  } finally {
    output.clear();
  }
}

/** @throws {RecipeError} an option was given that means nothing beside the others */
function refuseIdleOptions({ data, text, model, context, device, dtype }: CompareCommandOptions): void {
  if (data !== undefined && text !== undefined)
    throw new RecipeError("--data and --text were both given", "compare on stores, or on texts");
  if (text !== undefined && model === undefined)
    throw new RecipeError("--text needs a model that reads it", "--model FOLDER");
  if (text !== undefined) return;
  const idle = Object.entries({ model, context, device, dtype }).find(([, value]) => value !== undefined);
  if (idle !== undefined)
    throw new RecipeError(`--${idle[0]} goes with --text`, "lapidary compare --help shows both ways");
}

async function dataOf(
  options: CompareCommandOptions,
  a: NamedSae,
  heldOut: (() => Promise<ComparedData[]>) | null,
  output: Output,
): Promise<readonly ComparedData[]> {
  const { storeData, textData } = await import("../../pipeline/compare/data.ts");
  if (options.data !== undefined) return Promise.all(options.data.map((dir) => storeData(resolve(dir))));
  if (options.text === undefined) {
    if (heldOut !== null) return heldOut();
    throw new RecipeError(
      "what shall the SAEs be compared on?",
      "--data STORE (repeatable), or --model FOLDER --text FILE",
    );
  }
  const { resolveSource } = await import("../../hub/source.ts");
  const { choosePaths } = await import("../../pipeline/model-identity.ts");
  const { model = "", dtype, device } = options;
  output.event({ kind: "begin", unit: "harvest", title: "harvest texts", resumed: false });
  return [
    await textData({
      texts: await Promise.all(
        options.text.map(async (path) => ({ name: basename(path), text: await readText(path) })),
      ),
      modelFolder: await resolveSource(model, { choose: choosePaths(dtype) }),
      layer: options.layer ?? (await layerOf(a)),
      contextSize: options.context ?? a.sae.config.contextSize ?? DEFAULT_CONTEXT,
      device,
      dtype,
      onProgress: (at) =>
        output.event({ kind: "progress", unit: "harvest", progress: { ...at, unit: "texts" } }),
    }),
  ];
}

/** @throws {RecipeError} the SAE's configuration does not say whose output it reads */
async function layerOf({ name, sae }: NamedSae): Promise<number> {
  const { parseHookName } = await import("../../sae/hook-name.ts");
  if (sae.config.hookName === null)
    throw new RecipeError(
      `${name} does not record its hook point`,
      "say which layer's output it reads: --layer N",
    );
  return parseHookName(sae.config.hookName).layer;
}
