/** A campaign's verdicts as a table: kinds down, stages across, then what came of them. */
import type { CampaignReport } from "./campaign.ts";
import { OUTCOMES } from "./trial.ts";

export function problemsOf({ verdicts }: CampaignReport): string[] {
  return verdicts.flatMap(({ kind, stage, told, problems }) =>
    problems.map((problem) => `${kind} in ${stage}, ${told}\n  ${problem}`),
  );
}

export function campaignTable(report: CampaignReport): string {
  const { verdicts, stages, notRun } = report;
  const kinds = [...new Set(verdicts.map(({ kind }) => kind))];
  const places = [...new Set([...stages, ...verdicts.map(({ stage }) => stage)])];
  const heads = [...places, "faults", ...OUTCOMES, "problems"];
  const row = (name: string, of: typeof verdicts) => [
    name,
    ...places.map((place) => of.filter(({ stage }) => stage === place).length),
    of.length,
    ...OUTCOMES.map((outcome) => of.filter((verdict) => verdict.outcome === outcome).length),
    of.filter(({ problems }) => problems.length > 0).length,
  ];
  const rows = [
    ["", ...heads],
    ...kinds.map((kind) =>
      row(
        kind,
        verdicts.filter((verdict) => verdict.kind === kind),
      ),
    ),
    row("all", verdicts),
  ].map((cells) => cells.map((cell) => (cell === 0 ? "·" : String(cell))));
  const widths = rows[0].map((_, i) => Math.max(...rows.map((cells) => cells[i].length)));
  const lines = rows.map((cells) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  "),
  );
  return [...lines, ...notRun.map(({ what, why }) => `not run: ${what} (${why})`)].join("\n");
}
