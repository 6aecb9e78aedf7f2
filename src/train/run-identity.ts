/**
 * What makes two training runs the same run. A folder that holds checkpoints may only be resumed with the same answer
 * to every question here; what differs is named.
 */
import { StateError } from "../errors.ts";
import type { TrainingForm } from "../sae/sae.ts";
import { describeDifferences, jsonDifferences } from "../storage/differences.ts";
import { hashValue } from "../storage/hash.ts";
import { DEFAULT_NEWCOMER_STEPS, DEFAULT_WATCH, type TrainConfig } from "./config.ts";

/** Everything that decides the bits of a run but the engine's numeric class, as JSON. */
export interface RunIdentity {
  readonly config: TrainConfig;
  readonly form: TrainingForm;
  /** what the EMA starts from */
  readonly threshold: number | "first-batch-cut";
  /** steps that Adam had taken before; absent: none */
  readonly adamSteps?: number;
  readonly dIn: number;
  readonly batchesPerEpoch: number;
  readonly totalSteps: number;
  /** the caller's: hashes of the store, of the starting SAE, … */
  readonly inputs: Readonly<Record<string, unknown>>;
}

/**
 * A configuration without what says the same as saying nothing: runs that were begun before there was a choice go on. A
 * watch as it is by default decides nothing but what is told.
 */
export function decidingConfig({ watch, resampling, ...rest }: TrainConfig): TrainConfig {
  const isUsual = watch === undefined || hashValue(watch) === hashValue(DEFAULT_WATCH);
  const { watchSteps, ...caps } = resampling ?? {};
  const isShort = watchSteps === undefined || watchSteps === DEFAULT_NEWCOMER_STEPS;
  return {
    ...rest,
    resampling: isShort && resampling !== null ? (caps as TrainConfig["resampling"]) : resampling,
    ...(isUsual ? {} : { watch }),
  };
}

/** @throws {StateError} listing what differs, old value and new */
export function checkSameRun(dir: string, before: RunIdentity, now: RunIdentity): void {
  const found = jsonDifferences(before, now);
  if (found.length === 0) return;
  throw new StateError(
    `${dir} holds another training run: ${describeDifferences(found, 6)}`,
    "give this run a folder of its own, or remove the old one to start over",
  );
}
