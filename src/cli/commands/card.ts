/** `lapidary card <run>`: the model card anew, with links; where the run is published, there too. */
import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import type { LoadedRecipe } from "../../pipeline/recipe/file.ts";
import { addCommonOptions, type CommonOptions, collect, interruptSignal } from "../options.ts";
import { createOutput } from "../output.ts";
import { planText } from "./publish.ts";
import { findRun } from "./verify.ts";

interface CardCommandOptions extends CommonOptions {
  readonly link?: string[];
  readonly publish?: boolean;
  readonly dryRun?: boolean;
  readonly set?: string[];
  readonly runs: string;
}

export function addCardCommand(program: Command): void {
  addCommonOptions(program.command("card"))
    .description("write the model card anew from the run's result files; send it where the run is published")
    .argument("<run>", "run folder, or its recipe")
    .option(
      "--link <name=url>",
      "a page about these SAEs elsewhere, https; kept for later cards (repeatable)",
      collect,
    )
    .option("--publish", "send the card alone to where the run was published (default with --link)")
    .option("--no-publish", "write it here, send nothing (default without --link)")
    .option("--dry-run", "print the card and what would be sent; write and send nothing")
    .option("--set <key=value>", "override a key of the recipe (repeatable)", collect)
    .option("--runs <folder>", "where run folders lie, for a recipe", "runs")
    .addHelpText(
      "after",
      `
With --link, the card of a run that \`lapidary publish\` published is sent there, alone, as one commit: nothing if it says
the same there, an error if anything else there is not what the run has, or if the branch moves meanwhile.

Examples:
  $ lapidary card runs/tiny-gemma
  $ lapidary card runs/tiny-gemma --link neuronpedia=https://www.neuronpedia.org/my-model --dry-run`,
    )
    .action(card);
}

async function card(place: string, options: CardCommandOptions): Promise<void> {
  const output = createOutput(options);
  const { parseLink } = await import("../../pipeline/card-notes.ts");
  const { planCard, renewCard } = await import("../../pipeline/publishing/publish-card.ts");
  const links = (options.link ?? []).map(parseLink);
  const { loaded, runsFolder } = await runOf(place, options);
  const wanted = {
    links,
    send: options.publish ?? (links.length > 0 ? undefined : false),
    signal: interruptSignal(),
    onEvent: output.event,
  };
  try {
    if (options.dryRun) {
      const { text, ...found } = await planCard(loaded, wanted, runsFolder);
      const sent = found.plan === null ? "Nothing would be sent." : planText(found.plan, "");
      output.result(`${text}\n${sent}`, { card: text, ...found });
      return;
    }
    const done = await renewCard(loaded, wanted, runsFolder);
    output.result(`Card: ${done.card}\n${sentText(done.sent, wanted.send)}`.trimEnd(), done);
  } finally {
    output.clear();
  }
}

function sentText(
  sent: { repository: string; commit: string; nSent: number } | null,
  wanted: boolean | undefined,
): string {
  if (sent === null) return wanted === false ? "" : "Not sent: this run is not published as it is now.";
  const { repository, commit, nSent } = sent;
  return nSent === 0
    ? `Nothing to send: hf:${repository}@${commit} says the same.`
    : `Sent: hf:${repository}@${commit}`;
}

/** A run by its folder, or by its recipe. */
async function runOf(
  place: string,
  { set = [], runs }: CardCommandOptions,
): Promise<{ loaded: LoadedRecipe; runsFolder: string }> {
  const { loadRecipe } = await import("../../pipeline/recipe/file.ts");
  const isFolder = (await stat(place).catch(() => null))?.isDirectory() === true;
  if (!isFolder) return { loaded: await loadRecipe(place, set), runsFolder: runs };
  const run = await findRun(resolve(place));
  const name = `name=${JSON.stringify(basename(run))}`;
  return { loaded: await loadRecipe(join(run, "recipe.yaml"), [...set, name]), runsFolder: dirname(run) };
}
