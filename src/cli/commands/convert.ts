/** `lapidary convert`: an SAE in any format that is read, as a SAELens directory. */
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { addCommonOptions, type CommonOptions } from "../options.ts";
import { createOutput } from "../output.ts";
import { formatBytes } from "../progress.ts";

interface ConvertOptions extends CommonOptions {
  readonly dtype: "float32" | "bfloat16";
}

export function addConvertCommand(program: Command): void {
  addCommonOptions(program.command("convert"))
    .description("write an SAE or a transcoder of any format that is read as a SAELens directory")
    .argument("<source>", "a folder or file, or hf:owner/name/path")
    .argument("<folder>", "the directory to make")
    .option("--dtype <type>", "float32, or bfloat16, which rounds", dtype, "float32")
    .addHelpText(
      "after",
      `
docs/formats/saes.md lists the formats. Weights are written as they are read: in float32 no reconstruction changes.

Examples:
  $ lapidary convert hf:google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82 sae/layer_12
  $ lapidary convert trainer_0/ae.pt sae/layer_3`,
    )
    .action(convert);
}

async function convert(source: string, folder: string, options: ConvertOptions): Promise<void> {
  const output = createOutput(options);
  const { loadSae, loadSparsity } = await import("../../sae/load.ts");
  const { saelensArchitecture, saveSae } = await import("../../sae/save.ts");
  const location = source.startsWith("hf:") ? source : resolve(source);
  const sae = await loadSae(location, { transcoders: "read" });
  const origin = { dialect: sae.origin?.dialect, architecture: sae.origin?.architecture };
  const { bytes, sha256 } = await saveSae(resolve(folder), sae, {
    dtype: options.dtype,
    sparsity: (await loadSparsity(location)) ?? undefined,
    extraMetadata: { lapidary_converted_from: origin },
  });
  const architecture = saelensArchitecture(sae);
  const lines = [
    `${folder}: ${architecture}, ${options.dtype}, ${formatBytes(bytes)}`,
    `  from  ${origin.dialect}: ${origin.architecture}, ${sae.config.dtype}`,
    ...(sae.origin?.notes ?? []).map((note) => `  note  ${note}`),
    ...(options.dtype === "bfloat16" && sae.config.dtype !== "bfloat16"
      ? [`  lost  weights were rounded from ${sae.config.dtype} to bfloat16`]
      : []),
  ];
  output.result(lines.join("\n"), { kind: "converted", folder, architecture, origin, bytes, sha256 });
}

function dtype(text: string): "float32" | "bfloat16" {
  if (text !== "float32" && text !== "bfloat16")
    throw new InvalidArgumentError("float32 or bfloat16 is wanted");
  return text;
}
