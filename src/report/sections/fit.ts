/** Does it fit? VE at home, before and after at a glance, the reasons in words, and the before/after table. */
import { type DotMark, type DotRow, dotPlot } from "../charts/dots.ts";
import type { LayerFacts, Phase, ReportedResult, ReportFacts } from "../facts.ts";
import { measured, PHASES } from "../facts.ts";
import { figure, paragraph, type Section, type Table, table } from "../figure.ts";
import { type Content, html, type Markup } from "../html.ts";
import { ABSENT, count, fixed, listOf, short, signed } from "../numbers.ts";
import { judgeLayer, reasons, ruleSentences, type Verdict } from "../verdict.ts";
import { setsOf } from "./per-set.ts";

const SHOWN: readonly Phase[] = ["home", "before", "prepolish", "after"];

export function fitSection(facts: ReportFacts): Section {
  return {
    id: "fit",
    title: "Does it fit?",
    body: [
      html`<div class="beside"><div>${glance(facts)}</div><div>${why(facts)}</div></div>
`,
      table(scores(facts)),
      paragraph(intervalNote(facts)),
      html`<details><summary>Every metric of every set</summary>${table(everyMetric(facts))}</details>
`,
    ],
  };
}

/** Phases that some layer has. */
function phasesOf(facts: ReportFacts): Phase[] {
  return SHOWN.filter((phase) =>
    facts.layers.some(({ measurements }) => measurements.some((m) => m.phase === phase)),
  );
}

function glance(facts: ReportFacts): Markup {
  const phases = phasesOf(facts).filter((phase) => phase !== "prepolish");
  const sets = setsOf(facts);
  const rows = facts.layers.flatMap((layer): DotRow[] => [
    { heading: `Layer ${layer.layer}` },
    ...sets
      .filter((set) => phases.some((phase) => measured(layer, phase, set)))
      .map((set) => ({ label: set, marks: phases.flatMap((phase) => veMark(layer, phase, set)) })),
  ]);
  return figure({
    title: "Variance explained, layer by layer and set by set.",
    caption: html`${key(phases)} Further right is better. Lines through marks: confidence intervals, where they are wider than the mark.`,
    charts: dotPlot({
      title: "Variance explained by layer and held-out set",
      description: `A dot plot of VE ${listOf(phases.map((phase) => PHASES[phase]))}.`,
      rows,
      xLabel: "VE",
      references: facts.gate === null ? [] : [{ value: facts.gate, label: `gate ${facts.gate}` }],
      floor: -0.5,
      ceiling: 1,
    }),
    table: scores(facts),
  });
}

/** Each phase's mark and what it stands for; a series in a chart always looks like this. */
export function key(phases: readonly Phase[]): Markup {
  const says: Readonly<Record<Phase, string>> = {
    home: "the source SAE on its own model",
    before: "before: the source SAE on this model",
    prepolish: "trained, before its polish",
    after: "after: the adapted SAE on this model",
  };
  const shape = (phase: Phase) =>
    phase === "before"
      ? html`<path class="mark before" d="M7 2l5 5l-5 5l-5 -5z"/>`
      : phase === "prepolish"
        ? html`<rect class="mark prepolish" x="3.5" y="3.5" width="7" height="7"/>`
        : html`<circle class="mark ${phase}" cx="7" cy="7" r="4.3"/>`;
  return html`${phases.map((phase) => html`<span class="key"><svg viewBox="0 0 14 14" aria-hidden="true">${shape(phase)}</svg> ${says[phase]}.</span> `)}`;
}

function veMark(layer: LayerFacts, phase: Phase, set: string): DotMark[] {
  const result = measured(layer, phase, set);
  if (result === undefined) return [];
  const { value, interval } = result.metrics.ve;
  return [
    {
      series: phase,
      value,
      low: interval?.low,
      high: interval?.high,
      tip: `layer ${layer.layer}, ${set}, ${PHASES[phase]}: VE ${fixed(value, 4)}${interval === null ? "" : ` (${fixed(interval.low, 4)} to ${fixed(interval.high, 4)})`}`,
    },
  ];
}

function why(facts: ReportFacts): Content {
  const told = facts.layers.map((layer) => {
    const phases = (["before", "after"] as const).flatMap((phase) => {
      const [worst] = judgeLayer(layer, phase, facts.gate);
      return worst === undefined ? [] : [{ phase, worst }];
    });
    if (phases.length === 0) return null;
    return html`<div data-layer="${layer.layer}"><h3>Layer ${layer.layer}</h3><ul class="reasons">${phases.map(
      ({ phase, worst }) =>
        html`<li>${badge(worst.verdict)} <b>${phase === "before" ? "Before" : "After"}</b>, worst on <i>${worst.set}</i>: ${reasons(worst).join(" ")}</li>`,
    )}</ul></div>
`;
  });
  return html`${told}<details><summary>The rules behind these words</summary><ul>${ruleSentences(facts).map((sentence) => html`<li>${sentence}.</li>`)}</ul></details>`;
}

function badge(verdict: Verdict): Markup {
  const words = { fits: "✓ fits", borderline: "≈ only just fits", fails: "✗ does not fit" };
  return html`<span class="badge ${verdict}">${words[verdict]}</span>`;
}

/** The table people look at first. */
function scores(facts: ReportFacts): Table {
  const phases = phasesOf(facts).filter((phase) => phase !== "prepolish");
  const { gate } = facts;
  const hasChanges = facts.layers.some(({ measurements }) =>
    measurements.some(({ change }) => change !== null),
  );
  return {
    caption: "VE and L0 of every layer and set",
    columns: [
      "layer, set",
      ...phases.flatMap((phase) => [`VE ${PHASES[phase]}`, "L0"]),
      ...(hasChanges ? ["change of VE"] : []),
      ...(gate === null ? [] : [`gate ${gate}`]),
      "dead in training",
    ],
    rows: facts.layers.flatMap((layer) =>
      setsOf(facts).map((set) => {
        return [
          `${layer.layer}, ${set}`,
          ...phases.flatMap((phase) => scoreCells(measured(layer, phase, set))),
          ...(hasChanges ? [changeCell(layer, set)] : []),
          ...(gate === null ? [] : [gateCell(layer, set, gate)]),
          count(layer.deadInTraining),
        ];
      }),
    ),
  };
}

/** Whether the last SAE measured reaches the gate; sets of other kinds of text are not gated. */
function gateCell(layer: LayerFacts, set: string, gate: number): string {
  const of = (phase: Phase) => layer.measurements.find((entry) => entry.phase === phase && entry.set === set);
  const last = of("after") ?? of("before");
  if (last === undefined || last.isDomain) return ABSENT;
  return last.result.metrics.ve.value >= gate ? "✓ reached" : "✗ below";
}

/** VE after less VE before, on the same tokens, with the interval of that difference. */
function changeCell(layer: LayerFacts, set: string): Content {
  const change = layer.measurements.find((entry) => entry.phase === "after" && entry.set === set)?.change;
  if (change === null || change === undefined) return ABSENT;
  return withInterval({ value: change.difference, interval: change.interval }, (value) => signed(value, 3));
}

function scoreCells(result: ReportedResult | undefined): Content[] {
  if (result === undefined) return [ABSENT, ABSENT];
  const { ve, l0 } = result.metrics;
  return [withInterval(ve, (value) => fixed(value, 3)), withInterval(l0, (value) => fixed(value, 1))];
}

/** A number with its interval beneath. */
export function withInterval(
  metric: { readonly value: number | null; readonly interval?: { low: number; high: number } | null },
  show: (value: number | null) => string,
): Content {
  const { value, interval } = metric;
  return interval === null || interval === undefined
    ? show(value)
    : html`${show(value)} <small>${show(interval.low)} to ${show(interval.high)}</small>`;
}

function intervalNote(facts: ReportFacts): string {
  const methods = facts.layers.flatMap(({ measurements }) =>
    measurements.map(({ result }) => result.intervals),
  );
  const method = methods.find((one) => one !== null && one.replicates > 0);
  return method === undefined || method === null
    ? "These results have no confidence intervals."
    : `Small numbers: ${method.level * 100} % confidence intervals. ${method.definition}`;
}

function everyMetric(facts: ReportFacts): Table {
  const phases = phasesOf(facts);
  return {
    caption: "Every metric of every layer, set and phase",
    columns: ["metric", "layer", "set", ...phases.map((phase) => PHASES[phase]), "unit"],
    texts: [2, 3 + phases.length],
    rows: facts.layers.flatMap((layer) =>
      setsOf(facts).flatMap((set) => {
        const results = phases.map((phase) => measured(layer, phase, set));
        const some = results.find((result) => result !== undefined);
        return Object.entries(some?.metrics ?? {}).map(([name, { unit }]) => [
          name,
          layer.layer,
          set,
          ...results.map((result) => {
            const metric = (result?.metrics as Record<string, { value: number | null }> | undefined)?.[name];
            return metric === undefined ? ABSENT : withInterval(metric, short);
          }),
          unit,
        ]);
      }),
    ),
  };
}
