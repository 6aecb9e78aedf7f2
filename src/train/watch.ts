/**
 * The watch: what a run has to say of its own course. It looks at held-out rows at every checkpoint and every
 * `everySteps` steps (a *check*), and judges by checks alone:
 *
 *   best       the largest VE among checkpoints; that checkpoint is kept
 *   divergence VE fell at n checks in a row, by more than 0.005 together; or the mean training loss between checks rose n
 *              times in a row, by more than 2 %; or VE is not a number; or gradients explode:
 *              median of the last 8 norms > maxGradNormRise · median of the last 64
 *   plateau    best VE so far − best VE n checks ago < plateauImprovement
 *   early stop the same, with numbers of its own; training then ends as if it were over
 *
 * All of it is a function of `WatchState`, which is part of every checkpoint: an interrupted run decides alike. Nothing
 * here touches a weight.
 */
import type { EarlyStopConfig, WatchConfig } from "./config.ts";
import type { HeldOutReading } from "./held-out.ts";
import type { Incident, VeAt } from "./progress.ts";

/** A check, as later ones look back at it. */
export interface WatchCheck {
  readonly step: number;
  readonly ve: number;
  /** mean training loss of the steps since the check before; null: there were none */
  readonly loss: number | null;
  /** largest VE of this check and all before it */
  readonly bestVe: number;
}

/** What the watch remembers; part of every checkpoint. */
export interface WatchState {
  /** as many as any decision looks back, oldest first */
  readonly checks: readonly WatchCheck[];
  /** the latest reading, check or not */
  readonly last: VeAt | null;
  /** the checkpoint with the largest VE */
  readonly best: VeAt | null;
  /** training losses since the last check */
  readonly lossSum: number;
  readonly lossSteps: number;
  /** of the last 64 steps, oldest first */
  readonly gradNorms: readonly number[];
  /** what has been told and goes on: it is not told again until it has passed */
  readonly told: { readonly diverging: boolean; readonly exploding: boolean; readonly plateau: boolean };
}

export const NOTHING_WATCHED: WatchState = {
  checks: [],
  last: null,
  best: null,
  lossSum: 0,
  lossSteps: 0,
  gradNorms: [],
  told: { diverging: false, exploding: false, plateau: false },
};

/** Gradient norms remembered, those that count as recent, and those there must be for a judgement. */
const NORMS = 64;
const RECENT_NORMS = 8;
const NORMS_TO_JUDGE = 32;
/** Falls of VE that are noise, and the same of the training loss, as a share. */
const VE_NOISE = 0.005;
const LOSS_NOISE = 0.02;

/** Takes in a step; the incident is told once until gradients have calmed down. */
export function afterStep(
  state: WatchState,
  { step, loss, gradNorm }: { step: number; loss: number; gradNorm: number },
  { maxGradNormRise }: WatchConfig,
): { state: WatchState; incident: Incident | null } {
  const gradNorms = [...state.gradNorms, gradNorm].slice(-NORMS);
  const [usual, recent] = [median(gradNorms), median(gradNorms.slice(-RECENT_NORMS))];
  const exploding = gradNorms.length >= NORMS_TO_JUDGE && recent > maxGradNormRise * usual;
  const next: WatchState = {
    ...state,
    gradNorms,
    lossSum: state.lossSum + loss,
    lossSteps: state.lossSteps + 1,
    told: { ...state.told, exploding },
  };
  if (!exploding || state.told.exploding) return { state: next, incident: null };
  const what = `the gradient norm of the last ${RECENT_NORMS} steps (median ${recent.toPrecision(4)}) is ${(recent / usual).toFixed(1)} times that of the last ${gradNorms.length}`;
  return { state: next, incident: divergence(step, what, { sign: "gradients", recent, usual }) };
}

/** What a check found. */
export interface Findings {
  readonly state: WatchState;
  readonly incident: Incident | null;
  /** a plateau that begins: one sentence */
  readonly plateau: string | null;
  /** early stop: one sentence on why */
  readonly stop: string | null;
}

/** Takes in a reading that is no check: of a checkpoint, or of newcomers. */
export function afterReading(
  state: WatchState,
  step: number,
  { ve }: HeldOutReading,
  isCheckpoint: boolean,
): WatchState {
  const isBest = isCheckpoint && (state.best === null || ve > state.best.ve);
  return { ...state, last: { step, ve }, best: isBest ? { step, ve } : state.best };
}

/** Takes in a check at `step`, and judges. */
export function afterCheck(
  state: WatchState,
  step: number,
  { ve }: HeldOutReading,
  config: WatchConfig,
  earlyStop: EarlyStopConfig | undefined,
): Findings {
  const lookBack = 1 + Math.max(config.divergenceChecks, config.plateauChecks, earlyStop?.checks ?? 0);
  const loss = state.lossSteps === 0 ? null : state.lossSum / state.lossSteps;
  const bestVe = Math.max(ve, state.checks.at(-1)?.bestVe ?? ve);
  const checks = [...state.checks, { step, ve, loss, bestVe }].slice(-lookBack);
  const sign = signOfDivergence(checks, config.divergenceChecks);
  const isLevel = improvedLess(checks, config.plateauChecks, config.plateauImprovement);
  const isOver = earlyStop !== undefined && improvedLess(checks, earlyStop.checks, earlyStop.minImprovement);
  return {
    state: {
      ...state,
      checks,
      lossSum: 0,
      lossSteps: 0,
      told: { ...state.told, diverging: sign !== null, plateau: isLevel },
    },
    incident:
      sign === null || state.told.diverging ? null : divergence(step, sign.what, { sign: sign.sign, checks }),
    plateau:
      isLevel && !state.told.plateau
        ? levelText(bestVe, config.plateauImprovement, config.plateauChecks)
        : null,
    stop: isOver ? levelText(bestVe, earlyStop.minImprovement, earlyStop.checks) : null,
  };
}

function signOfDivergence(checks: readonly WatchCheck[], n: number): { sign: string; what: string } | null {
  const now = checks[checks.length - 1];
  if (now.ve <= -1e300) return { sign: "non-finite", what: "held-out VE is not a number" };
  if (checks.length <= n) return null;
  const window = checks.slice(-n - 1);
  const first = window[0];
  const fell = window.every(({ ve }, i) => i === 0 || ve < window[i - 1].ve);
  if (fell && first.ve - now.ve > VE_NOISE)
    return {
      sign: "ve",
      what: `held-out VE fell at ${n} checks in a row, from ${first.ve.toFixed(4)} to ${now.ve.toFixed(4)}`,
    };
  const losses = window.map(({ loss }) => loss ?? Number.NaN);
  const rose = losses.every((loss, i) => i === 0 || loss > losses[i - 1]);
  if (rose && losses[n] > losses[0] * (1 + LOSS_NOISE))
    return {
      sign: "loss",
      what: `the mean training loss rose at ${n} checks in a row, from ${losses[0].toPrecision(4)} to ${losses[n].toPrecision(4)}`,
    };
  return null;
}

/** Over the last `n` checks the best VE improved by less than `least`. */
function improvedLess(checks: readonly WatchCheck[], n: number, least: number): boolean {
  return checks.length > n && checks[checks.length - 1].bestVe - checks[checks.length - 1 - n].bestVe < least;
}

function levelText(bestVe: number, least: number, n: number): string {
  return `held-out VE (best ${bestVe.toFixed(4)}) improved by less than ${least} over ${n} checks`;
}

function divergence(step: number, what: string, details: Incident["details"]): Incident {
  return { kind: "divergence", step, what: `${what}; training went on`, details };
}

/** Middle value, the upper one of two. */
function median(values: readonly number[]): number {
  return Float64Array.from(values).sort()[values.length >> 1];
}
