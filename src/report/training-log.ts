/** Reading the logs of a training: which steps stood in the end, held-out readings, what happened when. */
import type { MetricsLine } from "../train/metrics.ts";
import type { Moment } from "./charts/lines.ts";
import type { TrainingEvent } from "./facts.ts";
import { count, counted } from "./numbers.ts";

export type Point = readonly [number, number];

/**
 * The steps that stood in the end, and those that a rollback undid, each course by itself. After a rollback earlier steps
 * appear again: a line stands where no later line has a step as early.
 */
export function courses(lines: readonly MetricsLine[]): { final: MetricsLine[]; undone: MetricsLine[][] } {
  const final: MetricsLine[] = [];
  const byAttempt = new Map<number, MetricsLine[]>();
  let earliest = Number.POSITIVE_INFINITY;
  for (const line of [...lines].reverse()) {
    if (line.step < earliest) final.push(line);
    else byAttempt.set(line.attempt, [...(byAttempt.get(line.attempt) ?? []), line]);
    earliest = Math.min(earliest, line.step);
  }
  return {
    final: final.reverse(),
    undone: [...byAttempt.values()].reverse().map((course) => course.reverse()),
  };
}

/** At most `most` points: means over equal numbers of neighbours, with the least and greatest value around each. */
export function thin(
  points: readonly Point[],
  most = 160,
): { points: Point[]; band?: (readonly [number, number, number])[] } {
  if (points.length <= most) return { points: [...points] };
  const size = Math.ceil(points.length / most);
  const groups = Array.from({ length: Math.ceil(points.length / size) }, (_, i) =>
    points.slice(i * size, (i + 1) * size),
  );
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const middle = (group: readonly Point[]) => mean(group.map(([x]) => x));
  return {
    points: groups.map((group) => [middle(group), mean(group.map(([, y]) => y))]),
    band: groups.map((group) => {
      const values = group.map(([, y]) => y);
      return [middle(group), Math.min(...values), Math.max(...values)];
    }),
  };
}

/**
 * Held-out VE in the order of steps, as the watch saw it, or the guard where nothing was watched; of a step read twice,
 * after a rollback, the later reading.
 */
export function heldOut(events: readonly TrainingEvent[]): { step: number; ve: number }[] {
  const reader = events.some(({ event }) => event === "watch") ? "watch" : "guard";
  const readings = new Map<number, number>();
  for (const { event, step, ve } of events)
    if (event === reader && typeof ve === "number") readings.set(step, ve);
  return [...readings].map(([step, ve]) => ({ step, ve })).sort((a, b) => a.step - b.step);
}

/** What went wrong, and what is worth knowing: every event that says `what` in words, and damaged checkpoints. */
export function incidentsOf(events: readonly TrainingEvent[]): TrainingEvent[] {
  return events.filter(isTold);
}

function isTold(event: TrainingEvent): boolean {
  return typeof event.what === "string" || event.event === "checkpoint-damaged" || stopOf(event) !== null;
}

/** Told in words, and nothing that went wrong. */
export function isNote(event: TrainingEvent): boolean {
  return event.event === "plateau" || stopOf(event) !== null;
}

/** Why a training ended before its last step; null: it did not. */
function stopOf({ event, stoppedEarly }: TrainingEvent): string | null {
  if (event !== "end" || typeof stoppedEarly !== "object" || stoppedEarly === null) return null;
  return String((stoppedEarly as { what?: unknown }).what);
}

/** What happened, in words. */
export function inWords(event: TrainingEvent): string {
  if (typeof event.what === "string") return event.what;
  const stop = stopOf(event);
  if (stop !== null) return `stopped early: ${stop}`;
  return event.event === "checkpoint-damaged"
    ? `a checkpoint was damaged (${String(event.file)}); training went on from this one`
    : event.event;
}

/** What is marked in the charts. */
export function momentsOf(events: readonly TrainingEvent[]): Moment[] {
  return events.flatMap((event): Moment[] => {
    const { step } = event;
    if (isTold(event)) {
      const kind = /rollback/.test(event.event) ? "rollback" : isNote(event) ? "note" : "incident";
      return [
        {
          x: step,
          kind,
          label: { rollback: "↶", note: "i", incident: "!" }[kind],
          tip: `step ${count(step)}: ${inWords(event)}`,
        },
      ];
    }
    if (event.event !== "resampling") return [];
    const newcomers = typeof event.newcomers === "number" ? event.newcomers : 0;
    return [
      {
        x: step,
        kind: "resampling",
        label: "R",
        tip: `step ${count(step)}: ${counted(newcomers, "latent")} resampled`,
      },
    ];
  });
}
