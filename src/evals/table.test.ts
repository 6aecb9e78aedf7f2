/** The before/after table as text: what stands in it for each shape of run. */
import { describe, expect, it } from "vitest";
import { type BeforeAfterRow, formatBeforeAfterMarkdown, formatBeforeAfterTable } from "./table.ts";

const pair = (prose: number, chat: number) => [
  { set: "prose", ve: prose, l0: 31.84 },
  { set: "chat", ve: chat, l0: 40.06 },
];

const rows: BeforeAfterRow[] = [
  { layer: 2, base: pair(0.9, 0.88), before: pair(0.7, 0.5), after: pair(0.8812, 0.8649), dead: 12 },
  {
    layer: 14,
    base: pair(0.85, 0.8),
    before: pair(0.6, 0.4),
    after: pair(0.79, 0.81),
    dead: 0,
    belowGate: true,
  },
];

describe("in a terminal", () => {
  it("shows base, before and after side by side", () => {
    expect(formatBeforeAfterTable(rows, { model: "the it model" })).toBe(
      [
        "layer │ base SAE on its own model: VE (L0) │ before, on the it model: prose / chat │ after: prose / chat         │ dead",
        "──────┼────────────────────────────────────┼───────────────────────────────────────┼─────────────────────────────┼──────────────",
        "2     │ 0.900 (31.8) / 0.880 (40.1)        │ 0.700 (31.8) / 0.500 (40.1)           │ 0.881 (31.8) / 0.865 (40.1) │ 12",
        "14    │ 0.850 (31.8) / 0.800 (40.1)        │ 0.600 (31.8) / 0.400 (40.1)           │ 0.790 (31.8) / 0.810 (40.1) │ 0, below gate",
      ].join("\n"),
    );
  });

  it("leaves out columns nobody fills, and then says elsewhere what the numbers are", () => {
    const before: BeforeAfterRow[] = [{ layer: 4, before: [{ set: "text", ve: 0.5, l0: 30 }] }];
    const [heading, , row] = formatBeforeAfterTable(before).split("\n");
    expect(heading).toBe("layer │ before, on the model: VE (L0), text");
    expect(row).toBe("4     │ 0.500 (30.0)");
  });

  it("names the base model's sets when they are others, and marks what is missing", () => {
    const mixed: BeforeAfterRow[] = [
      { ...rows[0], base: [{ set: "web", ve: 0.9, l0: null }], after: [], dead: null },
      { ...rows[1], base: [], before: [{ set: "code", ve: 0.4, l0: 9 }], belowGate: false },
    ];
    const [heading, , first, second] = formatBeforeAfterTable(mixed).split("\n");
    expect(heading).toContain("base SAE on its own model: VE (L0), web");
    expect(heading).toContain("prose / chat / code");
    expect(first.split("│").map((cell) => cell.trim())).toEqual([
      "2",
      "0.900 (–)",
      "0.700 (31.8) / 0.500 (40.1) / –",
      "–",
      "–",
    ]);
    expect(second).toContain("– / – / 0.400 (9.0)");
  });
});

it("becomes Markdown, with cells that cannot break it", () => {
  const text = formatBeforeAfterMarkdown([{ layer: 4, before: [{ set: "a|b\n<i>", ve: 0.5, l0: 3 }] }]);
  expect(text).toBe(
    "| layer | before, on the model: VE (L0), a\\|b &lt;i> |\n|---|---|\n| 4 | 0.500 (3.0) |",
  );
});

it("shows intervals of VE in Markdown, where there is room, and not in a terminal", () => {
  const score = { set: "prose", ve: 0.8912, l0: 34.84 };
  const scored: BeforeAfterRow[] = [
    { layer: 4, before: [{ ...score, veInterval: { low: 0.8861, high: 0.8941 } }], after: [score] },
  ];
  const [heading, , row] = formatBeforeAfterMarkdown(scored).split("\n");
  expect(heading).toBe(
    "| layer | before, on the model: VE ± half its 95 % interval (L0), prose | after: prose |",
  );
  expect(row).toBe("| 4 | 0.891 ± 0.004 (34.8) | 0.891 (34.8) |");
  expect(formatBeforeAfterTable(scored)).toContain("4     │ 0.891 (34.8)");
  expect(formatBeforeAfterTable(scored)).not.toContain("±");
});
