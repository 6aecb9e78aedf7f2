/** `lapidary pull hf:owner/name <folder>`: a repository of the hub into a folder, every file checked. */
import type { Command } from "commander";
import { addCommonOptions, type CommonOptions, interruptSignal } from "../options.ts";
import { createOutput } from "../output.ts";
import { formatBytes } from "../progress.ts";

export function addPullCommand(program: Command): void {
  addCommonOptions(program.command("pull"))
    .description("download a repository of the hub into a folder, each file checked against the hub's hash")
    .argument("<source>", "hf:owner/name[/sub/path][@revision]")
    .argument(
      "<folder>",
      "where to; files that are there already are checked and kept, others never overwritten",
    )
    .addHelpText(
      "after",
      "\nRun it again after any interruption and it goes on.\n\nExamples:\n  $ lapidary pull hf:owner/saes saes\n  $ lapidary pull hf:owner/saes/layer_4@v1.0 saes",
    )
    .action(pullTo);
}

async function pullTo(source: string, folder: string, options: CommonOptions): Promise<void> {
  const output = createOutput(options);
  const { pull } = await import("../../hub/pull.ts");
  const title = `pull ${source}`;
  output.event({ kind: "begin", unit: "pull", title, resumed: false });
  try {
    const pulled = await pull(source, folder, {
      signal: interruptSignal(),
      onProgress: ({ doneBytes, totalBytes }) =>
        output.event({
          kind: "progress",
          unit: "pull",
          progress: { done: doneBytes, total: totalBytes, unit: "bytes" },
        }),
    });
    const bytes = pulled.files.reduce((sum, { size }) => sum + size, 0);
    const kept = pulled.nKept === 0 ? "" : `, ${pulled.nKept} of them there already`;
    output.result(
      `${pulled.files.length} files, ${formatBytes(bytes)}${kept}, of commit ${pulled.commit}, in ${pulled.folder}; every file has the hub's hash.`,
      pulled,
    );
  } finally {
    output.clear();
  }
}
