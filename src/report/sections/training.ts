/** How training went: what each step measured, held-out watch points, and what happened when, layer by layer. */
import { type Line, lineChart, type Moment } from "../charts/lines.ts";
import { linear } from "../charts/scale.ts";
import type { LayerFacts, ReportFacts, TrainingFacts } from "../facts.ts";
import { figure, ofLayer, type Section, type Table } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { count, counted, fixed, short } from "../numbers.ts";
import { courses, heldOut, incidentsOf, isNote, momentsOf, thin } from "../training-log.ts";

export function trainingSection(facts: ReportFacts): Section {
  const trained = facts.layers.filter(({ trainings }) => trainings.some(({ metrics }) => metrics.length > 0));
  return {
    id: "training",
    title: "How training went",
    body:
      trained.length === 0
        ? null
        : [
            html`<p>Values are of each step’s batch, before its update; <i>held out</i> are readings on texts that training does not see. Upright lines mark what happened: <b class="resampling">R</b> a resampling of dead latents, <b class="rollback">↶</b> a rollback, <b class="incident">!</b> another incident, <b class="resampling">i</b> a note.</p>
`,
            trained.map((layer) =>
              ofLayer(
                layer.layer,
                layer.trainings.map((training) => trainingFigure(layer, training)),
              ),
            ),
          ],
  };
}

function trainingFigure(layer: LayerFacts, training: TrainingFacts): Markup {
  const { final, undone } = courses(training.metrics);
  const moments = momentsOf(training.events);
  const lastStep = Math.max(...training.metrics.map(({ step }) => step));
  const panel = (
    name: string,
    yLabel: string,
    pick: (line: (typeof final)[number]) => number,
    { more = [], isCount = false }: { more?: readonly Line[]; isCount?: boolean } = {},
  ) => {
    const { points, band } = thin(final.map((line) => [line.step, pick(line)] as const));
    const faint = undone.map(
      (course): Line => ({
        series: "faint",
        name: "",
        points: thin(course.map((line) => [line.step, pick(line)] as const)).points,
      }),
    );
    const lines: Line[] = [
      ...faint,
      { series: "after", name: more.length > 0 ? "batch" : "", points, band },
      ...more.filter((line) => line.points.length > 0),
    ];
    return chartOf({
      name,
      yLabel,
      isCount,
      lines,
      moments,
      lastStep,
      subject: `layer ${layer.layer}, ${training.name}`,
    });
  };
  const watched = heldOut(training.events);
  const charts = [
    panel("Loss", "loss, squared units a token", (line) => line.loss),
    panel("Variance explained", "VE", (line) => line.ve, {
      more: [
        {
          series: "neutral",
          name: "held out",
          points: watched.map(({ step, ve }) => [step, ve] as const),
          dots: watched.length <= 40,
        },
      ],
    }),
    panel("L0", "L0, latents a token", (line) => line.l0, { isCount: true }),
    panel("Threshold", "threshold, units of pre-activation", (line) => line.threshold),
    panel("Dead latents", "latents dead by the count of tokens", (line) => line.dead, { isCount: true }),
  ];
  return figure({
    title: `${training.name === "polish" ? "Polish" : "Training"} of layer ${layer.layer}.`,
    caption: caption(training, undone.length > 0),
    charts: html`<div class="panels">${charts}</div>`,
    table: numbers(final, watched),
  });
}

interface Panel {
  readonly name: string;
  readonly subject: string;
  readonly yLabel: string;
  /** shown from 0, and at least up to 4, so that the labels are whole numbers where nothing was counted */
  readonly isCount: boolean;
  readonly lines: readonly Line[];
  readonly moments: readonly Moment[];
  readonly lastStep: number;
}

function chartOf({ name, subject, yLabel, isCount, lines, moments, lastStep }: Panel): Markup {
  const values = lines.flatMap(({ points, band }) => [
    ...points.map(([, value]) => value),
    ...(band ?? []).flatMap(([, low, high]) => [low, high]),
  ]);
  const [low, high] = isCount ? [0, Math.max(4, ...values)] : [Math.min(...values), Math.max(...values)];
  return lineChart({
    title: `${name} over training, ${subject}`,
    description: `A line from ${short(lines.find(({ series }) => series === "after")?.points[0]?.[1])} at the first step to ${short(lines.find(({ series }) => series === "after")?.points.at(-1)?.[1])} at the last.`,
    lines,
    moments,
    xLabel: "step",
    yLabel,
    nameWidth: 54,
    x: (range) => linear(0, lastStep, range, { exact: true }),
    y: (range) => linear(low, high, range),
  });
}

function caption(training: TrainingFacts, hasUndone: boolean): string {
  const end = training.events.find(({ event }) => event === "end");
  const resamplings = training.events.filter(({ event }) => event === "resampling");
  const incidents = incidentsOf(training.events).filter((event) => !isNote(event));
  const newcomers = resamplings.reduce((sum, { newcomers: n }) => sum + (typeof n === "number" ? n : 0), 0);
  const [best] = heldOut(training.events).sort((a, b) => b.ve - a.ve || a.step - b.step);
  return [
    `${counted(lastStepOf(training), "step")}${end === undefined ? ", not finished" : ""};`,
    resamplings.length === 0
      ? "no latents resampled;"
      : `${counted(resamplings.length, "resampling")} with ${counted(newcomers, "newcomer")} together;`,
    incidents.length === 0 ? "no incidents." : `${counted(incidents.length, "incident")}.`,
    best === undefined ? "" : `Best held-out VE: ${fixed(best.ve, 4)}, at step ${count(best.step)}.`,
    hasUndone ? "Faint lines: steps that a rollback undid." : "",
  ]
    .filter((part) => part !== "")
    .join(" ");
}

function lastStepOf({ metrics }: TrainingFacts): number {
  return metrics.at(-1)?.step ?? 0;
}

const MOST_ROWS = 40;

function numbers(
  final: readonly TrainingFacts["metrics"][number][],
  watched: readonly { step: number; ve: number }[],
): Table {
  const every = Math.max(1, Math.ceil(final.length / MOST_ROWS));
  const shown = final.filter((_, i) => i % every === 0 || i === final.length - 1);
  return {
    caption: `Training, ${every === 1 ? "every logged step" : `every ${every}th of ${final.length} logged steps`}; held-out VE is the last reading up to a step`,
    columns: [
      "step",
      "loss",
      "VE",
      "held-out VE",
      "L0",
      "threshold",
      "dead",
      "gradient norm",
      "learning rate",
    ],
    rows: shown.map((line) => [
      count(line.step),
      short(line.loss),
      fixed(line.ve, 4),
      fixed(watched.findLast(({ step }) => step <= line.step)?.ve, 4),
      fixed(line.l0, 2),
      short(line.threshold),
      count(line.dead),
      short(line.gradNorm),
      short(line.learningRate),
    ]),
  };
}
