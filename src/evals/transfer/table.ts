/** One SAE on models and texts as tables for a terminal: protocols side by side, and what closed-form fixes do. Pure text. */
import type { Metric } from "../metrics.ts";
import type { FixScore } from "./fixes.ts";
import type { Protocol, TransferCell } from "./report.ts";

/** Which fixes are asked for. */
export interface FixTableOptions {
  readonly recentre?: boolean;
  readonly rescale?: boolean;
}

/** Columns under one heading. */
interface Group {
  readonly heading: string;
  readonly columns: readonly Column[];
}

interface Column {
  readonly heading: string;
  readonly cell: (row: Row) => string;
  /** numbers stand to the right */
  readonly isText?: boolean;
}

/** The cells of one model and text. */
interface Row {
  readonly byProtocol: ReadonlyMap<Protocol, TransferCell>;
  /** full contexts where there are any: what the diagnosis is of */
  readonly main: TransferCell;
}

const ABSENT = "–";

/** A row a (model, text), in the order of the cells; the columns of the diagnosis are those of full contexts. */
export function formatTransferTable(cells: readonly TransferCell[]): string {
  const protocols = (["short", "full", "store"] as const).filter((protocol) =>
    cells.some((cell) => cell.protocol === protocol),
  );
  return formatted(rowsOf(cells), [
    SUBJECT,
    ...protocols.map((protocol) => protocolGroup(protocol, cells)),
    { heading: "what comes in", columns: diagnosisColumns(cells) },
    ...(cells.some(({ splice }) => splice !== null) ? [SPLICED] : []),
  ]);
}

/** VE and L0 of each model and text on the half of its tokens that no fix was fitted on. */
export function formatFixTable(
  cells: readonly TransferCell[],
  { recentre, rescale }: FixTableOptions,
): string {
  const columns = [
    fixColumn("as it is", "none"),
    ...(recentre ? [fixColumn("re-centred", "recentred")] : []),
    ...(rescale ? [fixColumn("rescaled", "rescaled")] : []),
    ...(recentre && rescale ? [fixColumn("both", "both")] : []),
  ];
  return formatted(rowsOf(cells), [
    SUBJECT,
    { heading: "VE (L0) on the half of the tokens that no fix was fitted on", columns },
  ]);
}

/** The interval of CE's rise would be that of a difference; the score has its own. */
const SPLICED: Group = {
  heading: "spliced in",
  columns: [
    {
      heading: "CE",
      cell: ({ main: { splice } }) =>
        splice === null
          ? ABSENT
          : `+${(splice.metrics.ceSpliced.value - splice.metrics.ceClean.value).toFixed(3)}`.replace(
              "+-",
              "−",
            ),
    },
    {
      heading: "KL",
      cell: ({ main: { splice } }) => (splice === null ? ABSENT : splice.metrics.klSpliced.value.toFixed(3)),
    },
    {
      heading: "CE score",
      cell: ({ main: { splice } }) => (splice === null ? ABSENT : withInterval(splice.metrics.ceScore)),
    },
  ],
};

const SUBJECT: Group = {
  heading: "",
  columns: [
    { heading: "model", cell: ({ main }) => main.model, isText: true },
    { heading: "text", cell: ({ main }) => main.text, isText: true },
  ],
};

function formatted(rows: readonly Row[], groups: readonly Group[]): string {
  const texts = groups.map(({ columns }) =>
    columns.map(({ heading, cell, isText }) => {
      const all = [heading, ...rows.map(cell)];
      const width = Math.max(...all.map((text) => text.length));
      return all.map((text) => (isText ? text.padEnd(width) : text.padStart(width)));
    }),
  );
  const widths = texts.map((columns, g) =>
    Math.max(groups[g].heading.length, columns.map((column) => column[0]).join("  ").length),
  );
  const line = (at: number) =>
    texts.map((columns, g) =>
      columns
        .map((column) => column[at])
        .join("  ")
        .padEnd(widths[g]),
    );
  const headings = groups.map(({ heading }, g) => heading.padEnd(widths[g]));
  return [
    headings.join(" │ ").trimEnd(),
    line(0).join(" │ ").trimEnd(),
    widths.map((width) => "─".repeat(width)).join("─┼─"),
    ...rows.map((_, row) =>
      line(row + 1)
        .join(" │ ")
        .trimEnd(),
    ),
  ].join("\n");
}

/** The cell that a model and text are judged by: full contexts, or the store, else short texts. */
export function mainCells(cells: readonly TransferCell[]): TransferCell[] {
  return rowsOf(cells).map(({ main }) => main);
}

function rowsOf(cells: readonly TransferCell[]): Row[] {
  const rows = new Map<string, Map<Protocol, TransferCell>>();
  for (const cell of cells) {
    const key = JSON.stringify([cell.model, cell.text]);
    const row = rows.get(key) ?? new Map();
    rows.set(key, row.set(cell.protocol, cell));
  }
  return [...rows.values()].map((byProtocol) => ({
    byProtocol,
    main: (byProtocol.get("full") ?? byProtocol.get("store") ?? byProtocol.get("short"))!,
  }));
}

function protocolGroup(protocol: Protocol, cells: readonly TransferCell[]): Group {
  const size = cells.find((cell) => cell.protocol === protocol)?.windowTokens;
  const heading = {
    short: `short texts, at most ${size} tokens`,
    full: `full contexts, ${size} tokens`,
    store: "stores",
  }[protocol];
  const of = (show: (cell: TransferCell) => string) => ({
    cell: ({ byProtocol }: Row) => {
      const cell = byProtocol.get(protocol);
      return cell === undefined ? ABSENT : show(cell);
    },
  });
  return {
    heading,
    columns: [
      { heading: "VE", ...of(({ result }) => withInterval(result.metrics.ve)) },
      { heading: "L0", ...of(({ result }) => result.metrics.l0.value.toFixed(1)) },
      {
        heading: "worst 0.1 %",
        ...of(({ diagnosis: { outliers } }) => (outliers === null ? ABSENT : percent(outliers.sseShare))),
      },
    ],
  };
}

function diagnosisColumns(cells: readonly TransferCell[]): Column[] {
  const of = (show: (diagnosis: TransferCell["diagnosis"]) => string) => ({
    cell: ({ main }: Row) => show(main.diagnosis),
  });
  const scale: Column = {
    heading: "scale",
    ...of(({ scaleRatio }) => (scaleRatio === null ? ABSENT : `×${scaleRatio.toFixed(2)}`)),
  };
  return [
    { heading: "mean shift", ...of(({ meanShift }) => meanShift?.toFixed(2) ?? ABSENT) },
    ...(cells.some(({ diagnosis }) => diagnosis.scaleRatio !== null) ? [scale] : []),
    { heading: "silent", ...of(({ silentShare }) => percent(silentShare)) },
  ];
}

function fixColumn(heading: string, fix: "none" | "recentred" | "rescaled" | "both"): Column {
  const show = ({ ve, l0 }: FixScore) => `${ve === null ? ABSENT : ve.toFixed(3)} (${l0.toFixed(1)})`;
  return {
    heading,
    cell: ({ main: { diagnosis } }) => (diagnosis.fixes === null ? ABSENT : show(diagnosis.fixes[fix])),
  };
}

/** "0.853 ±0.004", half the interval's width. */
function withInterval({ value, interval }: Metric<number | null>): string {
  if (value === null) return ABSENT;
  const spread = interval === null ? "" : ` ±${((interval.high - interval.low) / 2).toFixed(3)}`;
  return `${value.toFixed(3)}${spread}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}
