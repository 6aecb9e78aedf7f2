/** `lapidary publish <run> hf:owner/name`: a run to the hub, and that it is there as it was measured. */
import { basename, dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { RecipeError } from "../../errors.ts";
import type { PublishPlan } from "../../pipeline/publishing/plan.ts";
import { addCommonOptions, addThreadsOption, type CommonOptions, interruptSignal } from "../options.ts";
import { createOutput } from "../output.ts";
import { formatBytes } from "../progress.ts";
import { findRun } from "./verify.ts";

interface PublishCommandOptions extends CommonOptions {
  readonly branch: string;
  readonly private?: boolean;
  readonly dryRun?: boolean;
  readonly belowGate?: boolean;
  readonly license?: string;
  readonly xet?: boolean;
}

export function addPublishCommand(program: Command): void {
  addThreadsOption(addCommonOptions(program.command("publish")))
    .description(
      "upload a run's SAEs, card, results and logs to the hub, download them again and verify them",
    )
    .argument("<run>", "run folder")
    .argument("<repository>", "hf:owner/name; made if it does not exist")
    .option("--dry-run", "print what would be sent, and send nothing")
    .option("--private", "make the repository private; one that is public is refused")
    .option("--branch <name>", "branch to publish to; made if it does not exist", "main")
    .option(
      "--license <id>",
      "licence of the SAEs (default: output.license of the recipe, else the source's)",
    )
    .option("--below-gate", "publish even if a layer is below the recipe's gate")
    .option("--xet", "send large files through the hub's Xet storage instead of LFS")
    .addHelpText(
      "after",
      `
Needs a token with write access, from HF_TOKEN or the hub's token file. Run it again after any interruption and it goes on.
Exits 3 if a layer is below the gate, 4 if what is published is not what was measured.

Examples:
  $ lapidary publish runs/tiny-gemma hf:me/tiny-gemma-saes --license other --dry-run
  $ lapidary publish runs/tiny-gemma hf:me/tiny-gemma-saes --license other --private`,
    )
    .action(publish);
}

async function publish(dir: string, place: string, options: PublishCommandOptions): Promise<void> {
  const output = createOutput(options);
  const { parseSource } = await import("../../hub/source.ts");
  const { loadRecipe } = await import("../../pipeline/recipe/file.ts");
  const { planPublication } = await import("../../pipeline/publishing/plan.ts");
  const { publishRun } = await import("../../pipeline/publishing/publish.ts");
  const source = parseSource(place);
  if (
    source.kind !== "hub" ||
    source.subPath !== "" ||
    source.revision !== undefined ||
    !source.name.includes("/")
  )
    throw new RecipeError(`cannot publish to ${JSON.stringify(place)}`, "name a repository: hf:owner/name");
  const run = await findRun(resolve(dir));
  const loaded = await loadRecipe(join(run, "recipe.yaml"), [`name=${JSON.stringify(basename(run))}`]);
  const wanted = {
    repository: source.name,
    branch: options.branch,
    isPrivate: options.private,
    belowGate: options.belowGate,
    license: options.license,
    xet: options.xet,
    threads: options.threads,
    signal: interruptSignal(),
    onEvent: output.event,
  };
  try {
    if (options.dryRun) {
      const plan = await planPublication(loaded, wanted, dirname(run));
      output.result(planText(plan), plan);
      return;
    }
    const done = await publishRun(loaded, wanted, dirname(run));
    const sent =
      done.nSent === 0
        ? "Nothing to send: all of it is there already"
        : `Sent ${done.nSent} files, ${formatBytes(done.sentBytes)}`;
    output.result(
      `${sent}.\nPublished: hf:${done.repository}@${done.commit}\nVerified: revision ${done.verified}, downloaded again, is what was measured.`,
      done,
    );
  } finally {
    output.clear();
  }
}

/** What would be sent, line by line; `then`: what would follow. */
export function planText(
  { repository, branch, exists, license, files, sentBytes }: PublishPlan,
  then = "After the verification: README.md again, and verification.json.",
): string {
  const width = Math.max(...files.map(({ bytes }) => String(bytes).length));
  const lines = files.map(
    ({ path, bytes, isLfs, isThere }) =>
      `  ${String(bytes).padStart(width)}  ${isLfs ? "LFS" : "   "}  ${path}${isThere ? "  (there already: not sent)" : ""}`,
  );
  const sent = files.filter(({ isThere }) => !isThere);
  const state =
    exists === null
      ? "the hub could not be asked what is there"
      : exists
        ? "the repository exists"
        : "the repository would be made";
  return [
    `To hf:${repository}, branch ${branch} (${state}), licence ${license}; nothing is sent. Bytes:`,
    ...lines,
    `${sent.length} file${sent.length === 1 ? "" : "s"} to send, ${sentBytes} bytes in all. ${then}`.trimEnd(),
  ].join("\n");
}
