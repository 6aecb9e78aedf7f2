/**
 * Newcomers under watch: for some steps after a resampling, the share of each step's selection that they take,
 *   share = Σ_{i new} fired_i / Σ_i fired_i,
 * from the firing counts the step returns anyway. Past a cap it is a breach, and training goes back to before them.
 */
import type { Incident, NewcomersFound, ResamplingNote } from "./progress.ts";
import type { ResamplingReport } from "./resampling.ts";

/** The EMA, and held-out VE (null: it was not looked at), at a moment. */
interface Before {
  readonly threshold: number;
  readonly ve: number | null;
}

/** Newcomers that are being watched; part of every checkpoint. */
export interface NewcomersState {
  /** steps done when they came */
  readonly since: number;
  /** ascending */
  readonly latents: readonly number[];
  /** before them */
  readonly before: Before;
  /** share of the latest step's selection */
  readonly latest: number;
  /** [step, share] of the first step, and of about 20 steps evenly spaced */
  readonly shares: readonly (readonly [step: number, share: number])[];
  readonly sum: number;
  readonly max: number;
}

const POINTS = 20;

export function newcomersArrive(since: number, latents: readonly number[], before: Before): NewcomersState {
  return { since, latents, before, latest: 0, shares: [], sum: 0, max: 0 };
}

/** Share of the selection that went to `latents`; 0 of an empty one. `fired` [dSae]. */
export function shareOf(fired: Uint32Array, latents: readonly number[]): number {
  let [all, theirs] = [0, 0];
  for (const count of fired) all += count;
  for (const latent of latents) theirs += fired[latent];
  return all === 0 ? 0 : theirs / all;
}

/** Takes in the share of step `step` (1-based); `watchSteps`: how many there will be. */
export function afterShare(
  state: NewcomersState,
  step: number,
  share: number,
  watchSteps: number,
): NewcomersState {
  const n = step - state.since;
  const isPoint = n === 1 || n % Math.ceil(watchSteps / POINTS) === 0;
  return {
    ...state,
    latest: share,
    shares: isPoint ? [...state.shares, [step, share]] : state.shares,
    sum: state.sum + share,
    max: Math.max(state.max, share),
  };
}

/** What became of them by `step`. */
export function foundOf(state: NewcomersState, now: Before, step: number): NewcomersFound {
  const steps = step - state.since;
  return {
    steps,
    meanShare: state.sum / steps,
    maxShare: state.max,
    threshold: [state.before.threshold, now.threshold],
    ve: [state.before.ve, now.ve],
  };
}

/** The notes when training goes back to `step`: what was done there or later is undone. */
export function undone(notes: readonly ResamplingNote[], step: number): ResamplingNote[] {
  return notes.map((note) => (note.step < step ? note : { ...note, undone: true }));
}

/** A resampling as its trial predicted it. */
export function noteOf(step: number, report: ResamplingReport): ResamplingNote {
  const kept = report.newcomers > 0 ? report.trials.at(-1) : undefined;
  const { dead, newcomers, cutBefore, veBefore } = report;
  return {
    step,
    dead,
    newcomers,
    predicted: {
      share: kept?.selectionShare ?? 0,
      cut: [cutBefore, kept?.cut ?? cutBefore],
      ve: [veBefore, kept?.ve ?? veBefore],
    },
  };
}

/** The record of newcomers that took more than they may, at `step`. */
export function shareIncident(
  { since, latents, latest: share }: NewcomersState,
  limit: number,
  step: number,
): Incident {
  return {
    kind: "guard-rollback",
    step,
    what: `${latents.length} newcomers took ${(100 * share).toFixed(1)} % of the selection, at most ${(100 * limit).toFixed(1)} % is allowed; training went back to step ${since}, before the resampling there, and resampled no more`,
    details: { limit: "share", share, maxWatchedShare: limit, newcomers: latents.length, backTo: since },
  };
}
