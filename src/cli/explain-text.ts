/** What `lapidary explain` tells people: its plan before anything is sent, and what came of it. */
import type { ChatRequest } from "../explain/chat.ts";
import type { ExplainPlan } from "../explain/plan.ts";
import type { ExplainSummary } from "../explain/run.ts";
import { count } from "./progress.ts";

const ROWS_SHOWN = 20;

export function planText(plan: ExplainPlan): string {
  const { explaining, scoring, tokens, cap } = plan;
  const lines = [
    `${count(plan.nLatents)} latents to explain${plan.nSilent > 0 ? `, of which ${count(plan.nSilent)} never fire` : ""}: ${count(explaining.requests)} requests, about ${count(explaining.tokens)} tokens`,
    `${count(plan.nToScore - plan.nUnscorable)} to score${plan.nUnscorable > 0 ? ` (${count(plan.nUnscorable)} more cannot be)` : ""}: ${count(scoring.requests)} requests, about ${count(scoring.tokens)} tokens`,
    `About ${count(tokens)} tokens in all, less what is in the cache; the cap is ${count(cap)}.`,
  ];
  if (tokens > cap)
    lines.push(
      "The cap is below that: what does not fit is left out, and a larger --max-tokens-total goes on.",
    );
  return lines.join("\n");
}

export function promptsText(samples: readonly ChatRequest[]): string {
  return samples
    .map(({ messages }, i) => {
      const title = i === 0 ? "An explaining request" : "A judging request";
      return `── ${title} ──\n${messages.map(({ role, content }) => `[${role}]\n${content}`).join("\n\n")}`;
    })
    .join("\n\n");
}

export function summaryText(
  { rows, manifest, counts, isCapped, askedWithout }: ExplainSummary,
  folder: string,
): string {
  const own = manifest.runs.find(
    ({ method, model }) => method === rows[0]?.method && model === rows[0]?.model,
  );
  const lines = rows
    .slice(0, ROWS_SHOWN)
    .map(
      (row) =>
        `  ${String(row.latent).padStart(7)}  ${score(row.detection_accuracy)}  ${score(row.fuzzing_accuracy)}  ${row.explanation ?? `— ${row.failure}`}`,
    );
  if (lines.length > 0) lines.unshift("   latent  detect  fuzz    explanation");
  if (rows.length > ROWS_SHOWN) lines.push(`  … and ${count(rows.length - ROWS_SHOWN)} more`);
  if (own !== undefined && own.counts.scored > 0) {
    const { means } = own;
    lines.push(
      `Means of ${count(own.counts.scored)} scored: detection ${score(means.detection_accuracy)} (control ${score(means.detection_control)}${besideBaseline(means.detection_baseline)}), ` +
        `fuzzing ${score(means.fuzzing_accuracy)} (control ${score(means.fuzzing_control)}${besideBaseline(means.fuzzing_baseline)}). 0.5 is chance.`,
    );
  }
  const failed = rows.filter(({ explanation }) => explanation === null).length;
  if (failed > 0)
    lines.push(`${count(failed)} without an explanation; the reasons stand in ${manifest.file.name}.`);
  lines.push(
    `${count(counts.sent)} requests sent, ${count(counts.spentTokens)} tokens; ${count(counts.cached)} answers were in the cache, ${count(counts.failed)} requests failed.`,
  );
  if (askedWithout.length > 0)
    lines.push(`The endpoint does not take ${askedWithout.join(", ")}, and was asked without.`);
  if (isCapped)
    lines.push(
      `The cap on tokens was reached${own === undefined || own.counts.leftOut === 0 ? "" : ` with ${count(own.counts.leftOut)} latents left out`}: a larger --max-tokens-total goes on from there.`,
    );
  lines.push(`Written: ${folder}/${manifest.file.name}, ${count(manifest.file.nRows)} rows in all`);
  return lines.join("\n");
}

function score(value: number | string | null | undefined): string {
  return typeof value === "number" ? value.toFixed(3) : "  –  ";
}

function besideBaseline(value: number | null | undefined): string {
  return typeof value === "number" ? `, baseline label ${value.toFixed(3)}` : "";
}
