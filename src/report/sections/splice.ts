/** What the model predicts with the SAE spliced in: cross-entropy and KL, beside the clean model and two ablations. */
import type { Metric } from "../../evals/metrics.ts";
import type { SpliceMetrics, SpliceResult } from "../../evals/splice/result.ts";
import { type Bar, barChart } from "../charts/bars.ts";
import type { Series } from "../charts/svg.ts";
import { PHASES, type Phase, type ReportFacts, type SpliceFacts } from "../facts.ts";
import { figure, grid, type Section, type Table } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { count, fixed, listOf, short } from "../numbers.ts";
import { withInterval } from "./fit.ts";

export function spliceSection(facts: ReportFacts): Section {
  const groups = grouped(facts.splices);
  return {
    id: "predictions",
    title: "What the model predicts with the SAE spliced in",
    body:
      groups.length === 0
        ? null
        : [
            html`<p>The residual stream of kept positions is replaced by its reconstruction, or by zeros, or by the set’s mean activation. The closer to the clean model, the more of what the model uses survives. CE score and KL score: 1 is the clean model, 0 the ablation.</p>
`,
            groups.map((group) => {
              const { layers } = group[0].result;
              const parts = grid([lossFigure(group), divergenceFigure(group)]);
              return layers.length === 1
                ? html`<div class="layer" data-layer="${layers[0]}"><h3>${titleOf(group)}</h3>${parts}</div>
`
                : html`<div class="layer"><h3>${titleOf(group)}</h3>${parts}</div>
`;
            }),
          ],
  };
}

type Group = readonly SpliceFacts[];

/** Results about the same layers and set, one a phase. */
function grouped(splices: readonly SpliceFacts[]): Group[] {
  const groups = new Map<string, SpliceFacts[]>();
  for (const splice of splices) {
    const key = `${splice.result.layers.join(",")} ${splice.result.set}`;
    groups.set(key, [...(groups.get(key) ?? []), splice]);
  }
  return [...groups.values()];
}

function titleOf(group: Group): string {
  const { layers, set } = group[0].result;
  return `${layers.length === 1 ? `Layer ${layers[0]}` : `Layers ${listOf(layers)} at once`}, ${set}`;
}

function bar(label: string, series: Series, { value, interval }: Metric): Bar {
  return { label, series, value, low: interval?.low, high: interval?.high };
}

function lossFigure(group: Group): Markup {
  const { metrics } = last(group).result;
  const bars = [
    bar("clean", "neutral", metrics.ceClean),
    ...group.map(({ phase, result }) => bar(`spliced, ${PHASES[phase]}`, phase, result.metrics.ceSpliced)),
    bar("mean", "faint", metrics.ceMean),
    bar("zero", "faint", metrics.ceZero),
  ];
  return figure({
    title: "Next-token cross-entropy.",
    caption: `CE score against zero: ${scoresOf(group, "ceScore")}.`,
    charts: barChart({
      title: `Cross-entropy, ${titleOf(group)}`,
      description: bars.map(({ label, value }) => `${label}: ${short(value)}`).join("; "),
      bars,
      xLabel: "nats a token; the line is the clean model",
      reference: metrics.ceClean.value,
    }),
    table: numbers(group),
  });
}

function divergenceFigure(group: Group): Markup {
  const { metrics } = last(group).result;
  const bars = [
    ...group.map(({ phase, result }) => bar(`spliced, ${PHASES[phase]}`, phase, result.metrics.klSpliced)),
    bar("mean", "faint", metrics.klMean),
    bar("zero", "faint", metrics.klZero),
  ];
  return figure({
    title: "KL divergence from the clean model.",
    caption: `KL score against zero: ${scoresOf(group, "klScore")}.`,
    charts: barChart({
      title: `KL divergence, ${titleOf(group)}`,
      description: bars.map(({ label, value }) => `${label}: ${short(value)}`).join("; "),
      bars,
      xLabel: "nats a token",
    }),
    table: numbers(group),
  });
}

function last(group: Group): SpliceFacts {
  return group[group.length - 1];
}

function scoresOf(group: Group, name: "ceScore" | "klScore"): string {
  return group
    .map(({ phase, result }) => `${fixed(result.metrics[name].value, 3)} ${PHASES[phase]}`)
    .join(", ");
}

function numbers(group: Group): Table {
  const phases: readonly Phase[] = group.map(({ phase }) => phase);
  const names = Object.keys(group[0].result.metrics) as (keyof SpliceMetrics)[];
  return {
    caption: `Splice-in results, ${titleOf(group)}`,
    columns: ["metric", ...phases.map((phase) => PHASES[phase]), "unit"],
    texts: [1 + phases.length],
    rows: [
      ...names.map((name) => [
        name,
        ...group.map(({ result }) => withInterval(result.metrics[name], short)),
        group[0].result.metrics[name].unit,
      ]),
      ["tokens", ...group.map(({ result }: { result: SpliceResult }) => count(result.nTokens)), ""],
    ],
  };
}
