/**
 * Learning rates step by step, to the last bit as SAELens 6.18 gets them from torch: [warm-up, main, decay] chained by
 * `SequentialLR`. Torch computes each rate from the one before it, so the numbers carry that recursion's rounding (a
 * decay may end at −5·10⁻²¹ and not at 0) and so do ours. Source: spec §1.9; torch 2.13 `lr_scheduler.py`, as behaviour.
 */
import { RecipeError } from "../errors.ts";
import type { ScheduleConfig } from "./config.ts";

/** Rates found so far, by configuration object: the recursion is walked once, not once a step. */
const remembered = new WeakMap<ScheduleConfig, Map<number, number[]>>();

/**
 * The learning rate used by step `step` (0-based) of `totalSteps`. Steps beyond the end follow the main schedule on
 * (a cosine rises again) or, with a decay, stay where the decay ended.
 * @throws {RecipeError} phases that do not fit into `totalSteps`, or a decay that starts at 0
 */
export function learningRateAt(config: ScheduleConfig, totalSteps: number, step: number): number {
  let byLength = remembered.get(config);
  if (byLength === undefined) {
    byLength = new Map();
    remembered.set(config, byLength);
  }
  let rates = byLength.get(totalSteps);
  if (rates === undefined) {
    checkSchedule(config, totalSteps);
    rates = [];
    byLength.set(totalSteps, rates);
  }
  if (!Number.isSafeInteger(step) || step < 0)
    throw new RecipeError(`learning rate of step ${step}: steps are counted from 0`);
  const phases = phasesOf(config, totalSteps);
  while (rates.length <= step) rates.push(nextRate(phases, rates.length, rates[rates.length - 1]));
  return rates[step];
}

/** Coefficient of a sparsity loss at step `step` (0-based): final · min(step / warmUpSteps, 1); no warm-up: final. */
export function coefficientAt(finalValue: number, warmUpSteps: number, step: number): number {
  return step < warmUpSteps ? finalValue * (step / warmUpSteps) : finalValue;
}

/** One scheduler: its rate at its own step t, given the rate of the step before (unused at t = 0). */
type RateOf = (t: number, before: number) => number;

interface Phase {
  readonly firstStep: number;
  readonly rate: RateOf;
}

function nextRate(phases: readonly Phase[], step: number, before: number): number {
  const phase = phases.findLast(({ firstStep }) => firstStep <= step) as Phase;
  return phase.rate(step - phase.firstStep, before);
}

function phasesOf(config: ScheduleConfig, totalSteps: number): Phase[] {
  const { lr, warmUpSteps, decaySteps } = config;
  const phases: Phase[] = [];
  if (warmUpSteps > 0) phases.push({ firstStep: 0, rate: linear(lr, 1 / warmUpSteps, 1, warmUpSteps - 1) });
  phases.push({ firstStep: warmUpSteps, rate: mainRate(config, totalSteps - warmUpSteps - decaySteps) });
  if (decaySteps > 0) {
    const start = config.name === "constant" ? lr : config.lrEnd;
    phases.push({ firstStep: totalSteps - decaySteps, rate: linear(lr, start / lr, 0, decaySteps) });
  }
  return phases;
}

function mainRate({ name, lr, lrEnd, nCycles }: ScheduleConfig, steps: number): RateOf {
  switch (name) {
    case "constant":
      return () => lr;
    case "cosineannealing":
      return cosine(lr, lrEnd, steps);
    case "cosineannealingwarmrestarts": {
      const period = Math.floor(steps / nCycles);
      return (t) => lrEnd + ((lr - lrEnd) * (1 + Math.cos((Math.PI * (t % period)) / period))) / 2;
    }
  }
}

/** From lr·start to lr·end over `steps` steps, then level. */
function linear(lr: number, start: number, end: number, steps: number): RateOf {
  return (t, before) => {
    if (t === 0) return lr * start;
    if (t > steps) return before;
    return before * (1 + (end - start) / (steps * start + (t - 1) * (end - start)));
  };
}

/** Half a cosine from lr to lrEnd over `steps` steps, then up and down again. */
function cosine(lr: number, lrEnd: number, steps: number): RateOf {
  return (t, before) => {
    if (t === 0) return lr;
    if ((t - 1 - steps) % (2 * steps) === 0)
      return before + ((lr - lrEnd) * (1 - Math.cos(Math.PI / steps))) / 2;
    const ratio = (1 + Math.cos((Math.PI * t) / steps)) / (1 + Math.cos((Math.PI * (t - 1)) / steps));
    return ratio * (before - lrEnd) + lrEnd;
  };
}

function checkSchedule(config: ScheduleConfig, totalSteps: number): void {
  const { name, lr, lrEnd, warmUpSteps, decaySteps, nCycles } = config;
  for (const [what, n] of [
    ["total steps", totalSteps],
    ["warm-up steps", warmUpSteps],
    ["decay steps", decaySteps],
  ] as const)
    if (!Number.isSafeInteger(n) || n < 0) throw new RecipeError(`${what} must be a whole number, got ${n}`);
  if (!(Number.isFinite(lr) && lr > 0)) throw new RecipeError(`lr must be positive, got ${lr}`);
  if (!(Number.isFinite(lrEnd) && lrEnd >= 0))
    throw new RecipeError(`lrEnd must not be negative, got ${lrEnd}`);
  const mainSteps = totalSteps - warmUpSteps - decaySteps;
  const needed = name === "constant" ? 0 : name === "cosineannealing" ? 1 : nCycles;
  if (mainSteps < needed)
    throw new RecipeError(
      `${totalSteps} steps leave ${mainSteps} for the ${name} schedule after ${warmUpSteps} of warm-up and ${decaySteps} of decay`,
      "train longer, or shorten the warm-up or the decay",
    );
  if (!Number.isSafeInteger(nCycles) || nCycles < 1)
    throw new RecipeError(`nCycles must be a positive whole number, got ${nCycles}`);
  if (decaySteps > 0 && name !== "constant" && lrEnd === 0)
    throw new RecipeError(
      "a decay after a cosine starts at lrEnd, which is 0",
      "set lrEnd above 0, or decaySteps to 0",
    );
}
