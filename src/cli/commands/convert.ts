/** `lapidary convert`: an SAE in any format that is read, in the format of SAELens or of another library. */
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type { Target } from "../../sae/writers/write.ts";
import { addCommonOptions, type CommonOptions } from "../options.ts";
import { createOutput } from "../output.ts";
import { formatBytes } from "../progress.ts";

interface ConvertOptions extends CommonOptions {
  readonly to: Target;
  readonly dtype: "float32" | "bfloat16";
}

/** `TARGETS` of sae/writers, which is loaded only when something is converted. */
const FORMATS = ["saelens", "sparsify", "dictionary-learning", "gemma-scope"] as const satisfies Target[];

export function addConvertCommand(program: Command): void {
  addCommonOptions(program.command("convert"))
    .description("write an SAE or a transcoder of any format that is read in another")
    .argument("<source>", "a folder or file, or hf:owner/name/path")
    .argument("<folder>", "the directory to make")
    .option("--to <format>", FORMATS.join(", "), target, "saelens")
    .option("--dtype <type>", "float32, or bfloat16, which rounds", dtype, "float32")
    .addHelpText(
      "after",
      `
docs/formats/saes.md lists the formats. Weights are written as they are read; what the new format cannot say is listed as
lost, and what would mean something else in it is refused.

Examples:
  $ lapidary convert hf:google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82 sae/layer_12
  $ lapidary convert trainer_0/ae.pt sae/layer_3
  $ lapidary convert runs/mine/sae/layer_4 layers.4 --to sparsify`,
    )
    .action(convert);
}

async function convert(source: string, folder: string, options: ConvertOptions): Promise<void> {
  const output = createOutput(options);
  const { loadSae, loadSparsity } = await import("../../sae/load.ts");
  const { writeSae } = await import("../../sae/writers/write.ts");
  const location = source.startsWith("hf:") ? source : resolve(source);
  const sae = await loadSae(location, { transcoders: "read" });
  const origin = { dialect: sae.origin?.dialect, architecture: sae.origin?.architecture };
  const { architecture, bytes, sha256, lost } = await writeSae(resolve(folder), sae, options.to, {
    dtype: options.dtype,
    sparsity: (await loadSparsity(location)) ?? undefined,
    extraMetadata: { lapidary_converted_from: origin },
  });
  const lines = [
    `${folder}: ${options.to}, ${architecture}, ${options.dtype}, ${formatBytes(bytes)}`,
    `  from  ${origin.dialect}: ${origin.architecture}, ${sae.config.dtype}`,
    ...(sae.origin?.notes ?? []).map((note) => `  note  ${note}`),
    ...lost.map((what) => `  lost  ${what}`),
  ];
  output.result(lines.join("\n"), {
    kind: "converted",
    folder,
    to: options.to,
    architecture,
    origin,
    bytes,
    sha256,
    lost,
  });
}

function target(text: string): Target {
  const found = FORMATS.find((format) => format === text);
  if (found === undefined) throw new InvalidArgumentError(`one of ${FORMATS.join(", ")} is wanted`);
  return found;
}

function dtype(text: string): "float32" | "bfloat16" {
  if (text !== "float32" && text !== "bfloat16")
    throw new InvalidArgumentError("float32 or bfloat16 is wanted");
  return text;
}
