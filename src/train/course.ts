/**
 * How a run's state takes in what it sees of its own course: steps, looks at the held-out rows, newcomers. Pure functions
 * of the state that checkpoints hold, and what of it goes into the logs.
 */
import type { TrainStepResult } from "../kernels/kernels.ts";
import type { TrainState } from "./checkpoint.ts";
import { DEFAULT_NEWCOMER_STEPS, type TrainConfig } from "./config.ts";
import type { HeldOutReading } from "./held-out.ts";
import type { RunEvent } from "./log.ts";
import type { MetricsLine } from "./metrics.ts";
import { afterShare, foundOf, newcomersArrive, noteOf, shareOf, undone } from "./newcomers.ts";
import type { Incident } from "./progress.ts";
import type { ResamplingReport } from "./resampling.ts";
import { afterCheck, afterReading, afterStep, NOTHING_WATCHED } from "./watch.ts";

/** Before the first step. */
export const START: TrainState = {
  step: 0,
  tokens: 0,
  threshold: 0,
  dead: 0,
  guard: null,
  rollbacks: 0,
  incidents: [],
  seconds: 0,
};

export function newcomerSteps({ resampling }: TrainConfig): number {
  return resampling?.watchSteps ?? DEFAULT_NEWCOMER_STEPS;
}

/** After a step of training, which `state` already counts: newcomers' share, and what the watch makes of it. */
export function afterStepTaken(
  state: TrainState,
  { loss, gradNorm, fired }: TrainStepResult,
  config: TrainConfig,
): { state: TrainState; incident: Incident | null } {
  const { step, newcomers } = state;
  const next: TrainState =
    newcomers === undefined
      ? state
      : {
          ...state,
          newcomers: afterShare(newcomers, step, shareOf(fired, newcomers.latents), newcomerSteps(config)),
        };
  if (config.watch === undefined) return { state: next, incident: null };
  const watched = afterStep(state.watch ?? NOTHING_WATCHED, { step, loss, gradNorm }, config.watch);
  return { state: { ...next, watch: watched.state }, incident: watched.incident };
}

/**
 * After a look of the watch, which is a check every `everySteps` steps and may end training. `isCheckpoint`: this step's
 * state will be kept, and may be the best.
 */
export function afterLook(
  state: TrainState,
  reading: HeldOutReading,
  config: TrainConfig,
  isCheckpoint: boolean,
): { state: TrainState; events: RunEvent[]; incident: Incident | null } {
  const { step, rollbacks: attempt } = state;
  const { ve, l0, cut, mse } = reading;
  const look: RunEvent = { event: "watch", step, attempt, ve, l0, cut, mse };
  const before = state.watch ?? NOTHING_WATCHED;
  if (step % config.watch!.everySteps !== 0) {
    const watch = afterReading(before, step, reading, isCheckpoint);
    return { state: { ...state, watch }, events: [look], incident: null };
  }
  const found = afterCheck(before, step, reading, config.watch!, config.earlyStop);
  const { incident, plateau, stop } = found;
  const watch = afterReading(found.state, step, reading, isCheckpoint || stop !== null);
  return {
    state: { ...state, watch, ...(stop !== null && { stoppedEarly: stop }) },
    events: [look, ...(plateau === null ? [] : [{ event: "plateau", step, what: plateau }])],
    incident,
  };
}

/** After a resampling: its newcomers are watched from here on, and are on the guard's probation. */
export function afterResampling(
  state: TrainState,
  newcomers: readonly number[],
  report: ResamplingReport,
): TrainState {
  const { step, guard, threshold, watch, resamplings = [] } = state;
  if (newcomers.length === 0) return state;
  return {
    ...state,
    guard: guard && { ...guard, probation: step },
    newcomers: newcomersArrive(step, newcomers, { threshold, ve: watch?.last?.ve ?? null }),
    resamplings: [...resamplings, noteOf(step, report)],
  };
}

/** When newcomers have been watched long enough: what became of them. */
export function afterSettling(state: TrainState): { state: TrainState; event: RunEvent | null } {
  const { newcomers, ...rest } = state;
  if (newcomers === undefined) return { state, event: null };
  const { step, threshold, watch, resamplings = [] } = state;
  const ve = watch?.last?.step === step ? watch.last.ve : null;
  const found = foundOf(newcomers, { threshold, ve }, step);
  const { since, latents, shares } = newcomers;
  return {
    state: {
      ...rest,
      resamplings: resamplings.map((note) => (note.step === since ? { ...note, found } : note)),
    },
    event: { event: "newcomers", step, since, newcomers: latents.length, ...found, shares },
  };
}

/** Back at the state of a checkpoint, which is before the resampling that was undone; what was learnt from it is kept. */
export function afterRollBack(state: TrainState, checkpoint: TrainState): TrainState {
  const { incidents, rollbacks, audit, resamplings } = state;
  return {
    ...checkpoint,
    incidents,
    rollbacks: rollbacks + 1,
    ...(resamplings && { resamplings: undone(resamplings, checkpoint.step) }),
    ...(audit && { audit }),
  };
}

/** The last line of `events.jsonl`. */
export function endEvent({ step, threshold, dead, rollbacks, audit, stoppedEarly }: TrainState): RunEvent {
  return {
    ...{ event: "end", step, threshold, dead, rollbacks },
    ...(stoppedEarly !== undefined && { stoppedEarly }),
    ...(audit && { audit }),
  };
}

/** The line of `metrics.jsonl` of a step, which `state` already counts. */
export function metricsLine(
  { step, threshold, dead, rollbacks, newcomers, audit }: TrainState,
  { loss, mse, innerMse, aux, sparsity, l0, gradNorm, minPositive }: TrainStepResult,
  { ve, learningRate }: { ve: number; learningRate: number },
): MetricsLine {
  return {
    ...{ step, loss, ve, l0, threshold, dead, learningRate },
    ...{ attempt: rollbacks, mse, innerMse, aux, gradNorm, minPositive },
    ...(sparsity !== undefined && { sparsity }),
    ...(newcomers && { newcomers: newcomers.latest }),
    ...(audit && { audit }),
  };
}
