/**
 * The table people look at first: each layer's SAE before and after, set by set, as plain text for a terminal or as
 * Markdown for the card. Pure text from numbers; columns that no row fills are left out.
 */
import type { Interval } from "./metrics.ts";
import type { EvalResult } from "./result.ts";

/** VE and L0 on one set. */
export interface SetScore {
  readonly set: string;
  readonly ve: number | null;
  /** confidence interval of VE; shown in Markdown */
  readonly veInterval?: Interval | null;
  readonly l0: number | null;
}

/** One row of the table. */
export interface BeforeAfterRow {
  readonly layer: number | string;
  /** the source SAE on the model it was made for; empty or absent if that was not measured */
  readonly base?: readonly SetScore[];
  /** the source SAE on the user's model */
  readonly before: readonly SetScore[];
  /** the adapted SAE on the user's model; absent before there is one */
  readonly after?: readonly SetScore[];
  /** latents dead in training, as the trainer counts them */
  readonly dead?: number | null;
  /** VE is below the recipe's gate on some set; said in the last column */
  readonly belowGate?: boolean;
}

/** What the table's heading calls the model. */
export interface TableOptions {
  /** how the user's model is called in the heading; for instance "the it model"; default "the model" */
  readonly model?: string;
}

/** VE and L0 of a result, under the name of its set. */
export function scoreOf({ set, metrics }: EvalResult): SetScore {
  return { set, ve: metrics.ve.value, veInterval: metrics.ve.interval, l0: metrics.l0.value };
}

/**
 * `layer │ base SAE on its own model: VE (L0) │ before, on the it model: prose / chat │ after: prose / chat │ dead`.
 * Cells read `0.853 (39.2) / 0.819 (39.9)`: VE and, in brackets, L0, one pair a set in the heading's order.
 */
export function formatBeforeAfterTable(rows: readonly BeforeAfterRow[], options: TableOptions = {}): string {
  return terminal(tableColumns(rows.map(withoutIntervals), options));
}

/**
 * The same table in Markdown, for the card, where there is room for intervals: `0.853 ± 0.004 (39.2)`, the half width of
 * the 95 % interval of VE.
 */
export function formatBeforeAfterMarkdown(
  rows: readonly BeforeAfterRow[],
  options: TableOptions = {},
): string {
  return markdown(tableColumns(rows, options));
}

function tableColumns(rows: readonly BeforeAfterRow[], options: TableOptions): Column[] {
  const base = rows.map((row) => row.base ?? []);
  const before = rows.map((row) => row.before);
  const after = rows.map((row) => row.after ?? []);
  const sets = setsOf(before).join(" / ");
  const baseSets = setsOf(base).join(" / ");
  const hasIntervals = [base, before, after].flat(2).some(({ veInterval }) => veInterval);
  const unit = hasIntervals ? "VE ± half its 95 % interval (L0)" : "VE (L0)";
  const columns: Column[] = [
    { heading: "layer", cells: rows.map((row) => String(row.layer)) },
    {
      heading: `base SAE on its own model: ${unit}${baseSets === sets ? "" : `, ${baseSets}`}`,
      cells: scoreCells(base),
    },
    {
      heading: `before, on ${options.model ?? "the model"}: ${baseSets === "" ? `${unit}, ` : ""}${sets}`,
      cells: scoreCells(before),
    },
    { heading: `after: ${setsOf(after).join(" / ")}`, cells: scoreCells(after) },
    {
      heading: "dead",
      cells: rows.map(({ dead, belowGate }) =>
        belowGate ? `${dead ?? ABSENT}, below gate` : String(dead ?? ""),
      ),
    },
  ];
  return columns
    .filter(({ cells }) => cells.some((cell) => cell !== ""))
    .map(({ heading, cells }) => ({ heading, cells: cells.map((cell) => cell || ABSENT) }));
}

const ABSENT = "–";

interface Column {
  readonly heading: string;
  readonly cells: readonly string[];
}

type Scores = readonly (readonly SetScore[])[];

/** Every set scored in some row, in order of appearance. */
function setsOf(scores: Scores): string[] {
  return [...new Set(scores.flatMap((row) => row.map(({ set }) => set)))];
}

function scoreCells(scores: Scores): string[] {
  const sets = setsOf(scores);
  return scores.map((row) =>
    row.length === 0 ? "" : sets.map((set) => show(row.find((score) => score.set === set))).join(" / "),
  );
}

function show(score: SetScore | undefined): string {
  if (score === undefined) return ABSENT;
  const { ve, veInterval, l0 } = score;
  const spread = veInterval ? ` ± ${((veInterval.high - veInterval.low) / 2).toFixed(3)}` : "";
  return `${ve === null ? ABSENT : `${ve.toFixed(3)}${spread}`} (${l0 === null ? ABSENT : l0.toFixed(1)})`;
}

function withoutIntervals(row: BeforeAfterRow): BeforeAfterRow {
  const plain = (scores: readonly SetScore[] | undefined) =>
    scores?.map((score) => ({ ...score, veInterval: null }));
  return { ...row, base: plain(row.base), before: plain(row.before) ?? [], after: plain(row.after) };
}

function terminal(columns: readonly Column[]): string {
  const widths = columns.map(({ heading, cells }) =>
    Math.max(...[heading, ...cells].map((text) => text.length)),
  );
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => text.padEnd(widths[i]))
      .join(" │ ")
      .trimEnd();
  const nRows = columns[0].cells.length;
  return [
    line(columns.map(({ heading }) => heading)),
    widths.map((width) => "─".repeat(width)).join("─┼─"),
    ...Array.from({ length: nRows }, (_, row) => line(columns.map(({ cells }) => cells[row]))),
  ].join("\n");
}

function markdown(columns: readonly Column[]): string {
  const line = (texts: readonly string[]) => `| ${texts.map(escapeCell).join(" | ")} |`;
  const nRows = columns[0].cells.length;
  return [
    line(columns.map(({ heading }) => heading)),
    `|${columns.map(() => "---|").join("")}`,
    ...Array.from({ length: nRows }, (_, row) => line(columns.map(({ cells }) => cells[row]))),
  ].join("\n");
}

function escapeCell(text: string): string {
  return text
    .replace(/[\\|]/g, "\\$&")
    .replace(/[\r\n]+/g, " ")
    .replace(/</g, "&lt;");
}
