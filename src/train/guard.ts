/**
 * The guard: looks at held-out rows every so many steps (`held-out.ts`), and says when resampling has gone wrong.
 *
 * A resampling is on probation until the check at the next epoch boundary passes. A breach on probation undoes it
 * (the trainer goes back to the checkpoint before it and resamples no more). Without a probation there is nothing whose
 * undoing would change the course of a deterministic run: a fall of VE is then noted as an incident, and its new level
 * becomes the reference.
 */
import type { GuardConfig } from "./config.ts";
import type { HeldOutReading } from "./held-out.ts";
import type { Incident } from "./progress.ts";

/** What a check decides by. */
export type GuardReading = Pick<HeldOutReading, "ve" | "cut">;

/** What the guard remembers; part of every checkpoint. */
export interface GuardState {
  readonly bestVe: number;
  /** the cut at the last check that passed */
  readonly cut: number | null;
  /** steps done when the resampling on probation happened; null: none is */
  readonly probation: number | null;
}

/** A limit that was passed. */
export interface Breach {
  readonly limit: "ve" | "threshold";
  readonly what: string;
}

/** The guard's memory when a reading is its new reference: before the first step, and after a breach that was noted. */
export function firstGuardState(reading: GuardReading): GuardState {
  return { bestVe: reading.ve, cut: reading.cut, probation: null };
}

/**
 * The first limit that a reading passes, or null.
 * VE: `ve < bestVe − maxVeDrop`, always. Threshold: `cut > maxThresholdRise · cut at the last good check`, only on
 * probation (otherwise cuts rise as weights grow, which is no fault).
 */
export function findBreach(state: GuardState, reading: GuardReading, config: GuardConfig): Breach | null {
  if (reading.ve < state.bestVe - config.maxVeDrop) {
    const fall = `from ${state.bestVe.toFixed(4)} to ${reading.ve.toFixed(4)}`;
    return { limit: "ve", what: `held-out VE fell ${fall}, at most ${config.maxVeDrop} is allowed` };
  }
  if (state.probation === null || state.cut === null || reading.cut === null) return null;
  const rise = reading.cut / state.cut;
  if (rise <= config.maxThresholdRise) return null;
  const factor = `${state.cut.toPrecision(4)} → ${reading.cut.toPrecision(4)}, a factor of ${rise.toFixed(2)}`;
  return {
    limit: "threshold",
    what: `the threshold rose ${factor}, at most ${config.maxThresholdRise} is allowed`,
  };
}

/** Memory after a check that passed; at an epoch boundary a probation ends. */
export function afterGoodCheck(state: GuardState, reading: GuardReading, atBoundary: boolean): GuardState {
  return {
    bestVe: Math.max(state.bestVe, reading.ve),
    cut: reading.cut,
    probation: atBoundary ? null : state.probation,
  };
}

/** The record of a breach at `step`: undone if a resampling was on probation, else noted. */
export function incidentOf(breach: Breach, state: GuardState, reading: GuardReading, step: number): Incident {
  const details = {
    limit: breach.limit,
    ve: reading.ve,
    bestVe: state.bestVe,
    cut: reading.cut,
    goodCut: state.cut,
    backTo: state.probation,
  };
  if (state.probation === null) {
    const what = `${breach.what}; no resampling was on probation, so training went on`;
    return { kind: "guard-noted", step, what, details };
  }
  const what = `${breach.what}; training went back to step ${state.probation}, before the resampling there, and resampled no more`;
  return { kind: "guard-rollback", step, what, details };
}
