/** What went wrong in training, what else is worth knowing, and every resampling: as simulated, and as it turned out. */
import type { ReportFacts, TrainingEvent } from "../facts.ts";
import { absent, type Section, table } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { ABSENT, count, fixed, percent, short } from "../numbers.ts";
import { incidentsOf, inWords, isNote } from "../training-log.ts";

/** Every incident of the run, or one line that says there was none; and every resampling with its effect. */
export function incidentsSection(facts: ReportFacts): Section {
  const all = facts.layers.flatMap((layer) =>
    layer.trainings.flatMap((training) =>
      training.events.map((event) => ({ layer: layer.layer, training: training.name, event })),
    ),
  );
  const told = all.filter(({ event }) => incidentsOf([event]).length > 0);
  const [incidents, notes] = [false, true].map((wanted) =>
    told.filter(({ event }) => isNote(event) === wanted),
  );
  const resamplings = all.filter(({ event }) => event.event === "resampling");
  return {
    id: "incidents",
    title: "Incidents and resamplings",
    body: [
      incidents.length === 0 ? absent("No incidents: the guard did not have to step in.") : list(incidents),
      notes.length === 0 ? null : list(notes),
      resamplings.length === 0 ? absent("No latents were resampled.") : resamplingTable(all),
    ],
  };
}

interface Happened {
  readonly layer: number;
  readonly training: string;
  readonly event: TrainingEvent;
}

function list(events: readonly Happened[]): Markup {
  return html`<ul>${events.map(
    ({ layer, training, event }) =>
      html`<li><b>Layer ${layer}, ${training}, step ${count(event.step)}:</b> ${inWords(event)}.</li>`,
  )}</ul>
`;
}

/** Each resampling as it was simulated beforehand, and as it turned out in the steps after. */
function resamplingTable(all: readonly Happened[]): Markup {
  return table({
    caption: "Resamplings of dead latents: as simulated on a batch before, and as seen in the steps after",
    columns: [
      "layer",
      "step",
      "dead",
      "newcomers",
      "share of the selection, simulated",
      "batch VE, simulated",
      "share seen, at most",
      "threshold, then",
      "held-out VE, then",
    ],
    rows: all
      .filter(({ event }) => event.event === "resampling")
      .map(({ layer, training, event }) => {
        const trial = Array.isArray(event.trials)
          ? (event.trials as Record<string, unknown>[]).at(-1)
          : undefined;
        const seen = all.findLast(
          (other) =>
            other.layer === layer &&
            other.training === training &&
            other.event.event === "newcomers" &&
            other.event.since === event.step,
        )?.event;
        return [
          String(layer),
          count(event.step),
          count(asNumber(event.dead)),
          count(asNumber(event.newcomers)),
          percent(asNumber(trial?.selectionShare)),
          change(event.veBefore, trial?.ve, (value) => fixed(value, 4)),
          percent(asNumber(seen?.maxShare)),
          changeOf(seen?.threshold, short),
          changeOf(seen?.ve, (value) => fixed(value, 4)),
        ];
      }),
  });
}

/** "0.84 → 0.85"; a dash where neither was recorded. */
function change(before: unknown, after: unknown, show: (value: number | null) => string): string {
  const [from, to] = [asNumber(before), asNumber(after)];
  return from === null && to === null ? ABSENT : `${show(from)} → ${show(to)}`;
}

/** The same of a pair as logs hold it. */
function changeOf(pair: unknown, show: (value: number | null) => string): string {
  return Array.isArray(pair) ? change(pair[0], pair[1], show) : ABSENT;
}

function asNumber(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
