/** `lapidary import`: activations made elsewhere (a GPU box, SAELens' cache) become a store that recipes can train from. */
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { addCommonOptions, type CommonOptions, interruptSignal, wholeNumber } from "../options.ts";
import { createOutput } from "../output.ts";
import { count } from "../progress.ts";

interface ImportCommandOptions extends CommonOptions {
  readonly hook?: string;
  readonly name: string;
  readonly dtype?: "bf16" | "f32";
  readonly exclude?: number[];
  readonly model?: string;
}

export function addImportCommand(program: Command): void {
  addCommonOptions(program.command("import"))
    .description("make a store of activations made elsewhere: a SAELens cache, or safetensors files")
    .argument("<source>", "CacheActivationsRunner folder, a .safetensors file, or a folder of them")
    .argument("<store>", "folder of the store to make")
    .option("--hook <name>", "hook point, where the source does not say: blocks.4.hook_resid_post")
    .option("--name <set>", "name of the set", "train")
    .option("--dtype <type>", "bf16 or f32 (default: what keeps every bit of the source)", dtype)
    .option("--exclude <ids>", "leave out rows of these token ids: 0,1,2", (text) =>
      text.split(",").map(wholeNumber),
    )
    .option("--model <name>", "which model the activations come from, for the record")
    .addHelpText(
      "after",
      `
docs/formats/import.md has the Python that dumps activations from Hugging Face transformers. A recipe trains from such
dumps with  activations: { import: "dumps/{set}/layer_{layer}" }  in place of corpus and harvest.

Example:
  $ lapidary import dumps/train/layer_4 stores/train --hook blocks.4.hook_resid_post`,
    )
    .action(importCommand);
}

async function importCommand(source: string, store: string, options: ImportCommandOptions): Promise<void> {
  const output = createOutput(options);
  const { importActivations } = await import("../../activations/import.ts");
  output.event({ kind: "begin", unit: "import", title: `import ${source}`, resumed: false });
  const manifest = await importActivations(
    {
      source: resolve(source),
      out: resolve(store),
      hookName: options.hook,
      set: options.name,
      dtype: options.dtype,
      excludedTokenIds: options.exclude,
      modelName: options.model,
    },
    {
      signal: interruptSignal(),
      onProgress: ({ phase, done, total }) =>
        output.event({
          kind: "progress",
          unit: "import",
          progress: { done, total, unit: phase === "check" ? "files" : "rows" },
        }),
    },
  );
  output.result(
    `${count(manifest.nRows)} rows of ${manifest.dIn} ${manifest.dtype} at ${manifest.hookName}: ${store}`,
    manifest,
  );
}

function dtype(text: string): "bf16" | "f32" {
  if (text !== "bf16" && text !== "f32") throw new InvalidArgumentError("bf16 or f32 is wanted");
  return text;
}
