/**
 * What makes two training runs the same run. A folder that holds checkpoints may only be resumed with the same answer
 * to every question here; what differs is named.
 */
import { StateError } from "../errors.ts";
import type { TrainingForm } from "../sae/sae.ts";
import { describeDifferences, jsonDifferences } from "../storage/differences.ts";
import type { TrainConfig } from "./config.ts";

/** Everything that decides the bits of a run but the engine's numeric class, as JSON. */
export interface RunIdentity {
  readonly config: TrainConfig;
  readonly form: TrainingForm;
  /** what the EMA starts from */
  readonly threshold: number | "first-batch-cut";
  readonly dIn: number;
  readonly batchesPerEpoch: number;
  readonly totalSteps: number;
  /** the caller's: hashes of the store, of the starting SAE, … */
  readonly inputs: Readonly<Record<string, unknown>>;
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
