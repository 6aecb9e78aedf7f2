/** What stands in the tables: protocols side by side, a row a model and text, nothing where nothing is known. */
import { expect, it } from "vitest";
import type { Metric } from "../metrics.ts";
import type { EvalResult } from "../result.ts";
import { TRANSFER_LIMITS } from "./limits.ts";
import type { TransferCell } from "./report.ts";
import { formatFixTable, formatTransferTable, mainCells } from "./table.ts";
import type { TransferDiagnosis } from "./transfer.ts";

function cell(
  changes: Partial<TransferCell>,
  ve: number,
  diagnosis: Partial<TransferDiagnosis> = {},
): TransferCell {
  const metric = (value: number): Metric => ({
    value,
    definition: "",
    unit: "1",
    n: 100,
    interval: { low: value - 0.004, high: value + 0.006 },
  });
  return {
    model: "it",
    isBase: false,
    text: "prose",
    protocol: "full",
    windowTokens: 256,
    result: { nTokens: 100, metrics: { ve: metric(ve), l0: metric(31.66) } } as unknown as EvalResult,
    diagnosis: {
      meanShift: 0.146,
      scaleRatio: 0.919,
      silentShare: 0.54,
      outliers: { sseShare: 0.0123 },
      fixes: null,
      ...diagnosis,
    } as TransferDiagnosis,
    verdict: { cause: "none", action: "fine as it is", lines: [], evidence: [] },
    splice: null,
    ...changes,
  };
}
const fixes = {
  none: { ve: 0.764, l0: 33 },
  recentred: { ve: 0.776, l0: 32.8 },
  rescaled: { ve: null, l0: 40 },
  both: { ve: 0.785, l0: 39.4 },
} as TransferDiagnosis["fixes"];
const CELLS = [
  cell({ model: "base", isBase: true, protocol: "short", windowTokens: 64 }, 0.846),
  cell({ model: "base", isBase: true }, 0.8563, { scaleRatio: null, meanShift: null, outliers: null }),
  cell({}, 0.764, { fixes }),
];

it("one row a model and text, protocols beside each other, dashes for what is not there", () => {
  expect(formatTransferTable(CELLS)).toBe(
    [
      "             │ short texts, at most 64 tokens  │ full contexts, 256 tokens       │ what comes in",
      "model  text  │           VE    L0  worst 0.1 % │           VE    L0  worst 0.1 % │ mean shift  scale  silent",
      "─────────────┼─────────────────────────────────┼─────────────────────────────────┼──────────────────────────",
      "base   prose │ 0.846 ±0.005  31.7        1.2 % │ 0.856 ±0.005  31.7            – │          –      –    54 %",
      "it     prose │            –     –            – │ 0.764 ±0.005  31.7        1.2 % │       0.15  ×0.92    54 %",
    ].join("\n"),
  );
});

it("fixes beside the SAE as it is, only those asked for", () => {
  const lines = (options: object) =>
    formatFixTable(CELLS, options)
      .split("\n")
      .map((line) => line.split("│")[1]?.trim().split(/ {2,}/));
  expect(lines({ recentre: true, rescale: true })[1]).toEqual(["as it is", "re-centred", "rescaled", "both"]);
  expect(lines({ recentre: true, rescale: true })[4]).toEqual([
    "0.764 (33.0)",
    "0.776 (32.8)",
    "– (40.0)",
    "0.785 (39.4)",
  ]);
  expect(lines({ rescale: true })[1]).toEqual(["as it is", "rescaled"]);
  expect(lines({ recentre: true })[3]).toEqual(["–", "–"]);
});

it("a model and text are judged by full contexts where there are any", () => {
  expect(mainCells(CELLS).map(({ protocol }) => protocol)).toEqual(["full", "full"]);
  expect(mainCells(CELLS.slice(0, 1)).map(({ protocol }) => protocol)).toEqual(["short"]);
  expect(Object.values(TRANSFER_LIMITS).every(({ definition }) => definition.endsWith("."))).toBe(true);
});
