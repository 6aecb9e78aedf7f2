/** What `lapidary eval` prints of an SAE on models and texts: a table, then a verdict a model, in words. */

import type { WorstToken } from "../evals/result.ts";
import type { SpliceResult } from "../evals/splice/result.ts";
import { limit } from "../evals/transfer/limits.ts";
import type { TransferCell, TransferReport } from "../evals/transfer/report.ts";
import {
  type FixTableOptions,
  formatFixTable,
  formatTransferTable,
  mainCells,
} from "../evals/transfer/table.ts";
import { count } from "./progress.ts";

/** One SAE's part of the output. */
export function transferText(report: TransferReport, options: FixTableOptions): string {
  const { cells } = report;
  const main = mainCells(cells);
  return [
    heading(report),
    "",
    formatTransferTable(cells),
    footnote(cells),
    ...(options.recentre || options.rescale ? ["", formatFixTable(cells, options)] : []),
    ...modelsOf(main).flatMap((model) => ["", ...modelLines(model, cells)]),
    ...(main.length === 1 ? ["", ...metricLines(main[0])] : []),
  ].join("\n");
}

function heading({ name, sae, k }: TransferReport): string {
  const facts = [
    `reads ${sae.hookName ?? "an unnamed hook point"}`,
    ...(sae.modelName === null ? [] : [`made for ${sae.modelName}`]),
    `${count(sae.dSae)} latents`,
    ...(k === null ? [] : [`k ${k}`]),
  ];
  return `${name}: ${facts.join(", ")}`;
}

function footnote(cells: readonly TransferCell[]): string {
  const tokens = cells.map(({ result }) => result.nTokens);
  const [least, most] = [Math.min(...tokens), Math.max(...tokens)];
  const hasBase = cells.some(({ isBase }) => isBase);
  return [
    `${least === most ? "" : `${count(least)} to `}${count(most)} tokens each`,
    "worst 0.1 %: their share of the squared error",
    `mean shift: in root mean square distances from the mean, ${hasBase ? "to the base model's mean (the base: to bDec)" : "to bDec"}`,
  ].join(" · ");
}

/** Models in order; the base alone only if there is no other, since the others are compared with it. */
function modelsOf(main: readonly TransferCell[]): string[] {
  const others = main.filter(({ isBase }) => !isBase);
  return [...new Set((others.length === 0 ? main : others).map(({ model }) => model))];
}

/** The verdict on the text where a model loses most, and whether short texts would have hidden it. */
function modelLines(model: string, cells: readonly TransferCell[]): string[] {
  const own = cells.filter((cell) => cell.model === model);
  const main = mainCells(own);
  const worst = main.reduce((a, b) => (lossOf(b) > lossOf(a) ? b : a));
  const which = main.length === 1 ? worst.text : `${worst.text}, where it does worst of ${main.length} texts`;
  const hidden = protocolLine(own.filter(({ text }) => text === worst.text));
  const badToken = ["outliers", "flattered"].includes(worst.verdict.cause)
    ? (worst.result.outliers?.worst[0] ?? null)
    : null;
  return [
    `${model} on ${which}: ${worst.verdict.action}`,
    ...worst.verdict.lines.map((line) => `  ${line}`),
    `  ${latentsLine(worst)}`,
    ...(badToken === null ? [] : [`  ${tokenLine(badToken)}`]),
    ...(hidden === null ? [] : [`  ${hidden}`]),
    ...(worst.splice === null ? [] : [`  ${spliceLine(worst.splice)}`]),
  ];
}

function lossOf({ diagnosis, result }: TransferCell): number {
  return (diagnosis.home?.ve ?? 1) - (result.metrics.ve.value ?? 0);
}

/** The reference work's lesson: short clean texts have none of the tokens that full contexts fail on. */
function protocolLine(cells: readonly TransferCell[]): string | null {
  const [short, full] = ["short", "full"].map((name) => cells.find(({ protocol }) => protocol === name));
  const [a, b] = [short, full].map((cell) => cell?.result.metrics.ve.value ?? null);
  if (a === null || b === null || a - b < limit("protocolGap")) return null;
  const share = (cell?: TransferCell) => `${Math.round(100 * (cell?.diagnosis.outliers?.sseShare ?? 0))} %`;
  return `Short texts alone would have said VE ${a.toFixed(3)}: there the worst 0.1 % of tokens carry ${share(short)} of the squared error, in full contexts ${share(full)}.`;
}

function latentsLine({ diagnosis: { silentShare, above10, above50, threshold } }: TransferCell): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const latents = `Latents: ${percent(silentShare)} silent, ${percent(above10)} on more than a tenth of the tokens, ${percent(above50)} on more than half`;
  if (threshold?.quantile == null) return `${latents}.`;
  const cut =
    threshold.thresholdToCut === null
      ? ""
      : `, ${threshold.thresholdToCut.toFixed(2)} × the cut at which L0 is k = ${threshold.k}`;
  return `${latents}. Threshold: above ${percent(threshold.quantile)} of the positive pre-activations${cut}.`;
}

function spliceLine({ metrics }: SpliceResult): string {
  const { ceClean, ceSpliced, ceZero, ceScore, klSpliced } = metrics;
  const score = ceScore.value === null ? "" : `, score ${ceScore.value.toFixed(3)}`;
  return `Spliced in: cross-entropy ${ceClean.value.toFixed(3)} → ${ceSpliced.value.toFixed(3)} nats a token (zeros: ${ceZero.value.toFixed(3)}${score}), KL ${klSpliced.value.toFixed(3)}.`;
}

function tokenLine({ before, token, after, document, position, normRatio, sseShare }: WorstToken): string {
  const text =
    token === null
      ? ""
      : ` ${JSON.stringify(`${(before ?? "").slice(-30)}⟦${token}⟧${(after ?? "").slice(0, 30)}`)},`;
  return `The worst token:${text} document ${document}, position ${position}, ${normRatio.toFixed(1)} × the median norm, ${Math.round(100 * sseShare)} % of the squared error.`;
}

function metricLines({ model, text, result }: TransferCell): string[] {
  const { metrics, latents, nTokens, hookName } = result;
  const width = Math.max(...Object.keys(metrics).map((name) => name.length));
  return [
    `${model} on ${text}: ${count(nTokens)} tokens, ${hookName}`,
    ...Object.entries(metrics).map(
      ([name, { value, definition }]) =>
        `  ${name.padEnd(width)}  ${(value === null ? "undefined" : value.toPrecision(5)).padStart(10)}   ${definition}`,
    ),
    `  ${count(latents.nNeverFired)} of ${count(latents.nLatents)} latents did not fire on these tokens`,
  ];
}
