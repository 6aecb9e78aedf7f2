/** What a run ends with: the before/after table, where the SAEs are, and what to do next. */
import { dirname, relative, resolve } from "node:path";
import { formatBeforeAfterTable } from "../evals/table.ts";
import type { RunSummary } from "../pipeline/run.ts";
import { formatSeconds } from "./progress.ts";

export function summaryText(summary: RunSummary): string {
  const { model, rows, saved, belowGate, directory, nRun, nSkipped, seconds } = summary;
  const here = (path: string) => relative(process.cwd(), path) || ".";
  const lines: string[] = [];
  if (rows.length > 0) lines.push("", formatBeforeAfterTable(rows, { model }), "");
  if (belowGate.length > 0)
    lines.push(
      `Below the gate: layer${belowGate.length > 1 ? "s" : ""} ${belowGate.join(", ")}. Exported and marked, not finished.`,
      "",
    );
  const folders = Object.values(saved);
  if (folders.length > 0)
    lines.push("Saved (SAELens format):", ...folders.map((folder) => `  ${here(folder)}`), "");
  lines.push(
    nRun === 0
      ? `Nothing to do: ${nSkipped === 1 ? "the one step" : `all ${nSkipped} steps`} of this run ${nSkipped === 1 ? "was" : "were"} done before (${formatSeconds(seconds)}).`
      : `Done in ${formatSeconds(seconds)}; ${nRun} step${nRun === 1 ? "" : "s"} run, ${nSkipped} found done.`,
  );
  if (folders.length > 0)
    lines.push(
      `See more:  npx lapidary inspect ${here(directory)}     the card: ${here(directory)}/README.md`,
      `Look at it, in a browser:  npx lapidary serve ${here(directory)}     the report: ${here(directory)}/report/index.html`,
    );
  else lines.push(`Go on with:  npx lapidary run ${here(directory)}/recipe.yaml${elsewhere(directory)}`);
  return lines.join("\n");
}

/** What to add to a command so that it finds a run that is not under runs/. */
function elsewhere(directory: string): string {
  const folder = dirname(directory);
  return folder === resolve("runs") ? "" : ` --runs ${relative(process.cwd(), folder) || "."}`;
}
