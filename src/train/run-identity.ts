/**
 * What makes two training runs the same run. A folder that holds checkpoints may only be resumed with the same answer
 * to every question here; what differs is named.
 */
import { StateError } from "../errors.ts";
import type { TrainingForm } from "../sae/sae.ts";
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

const SHOWN = 6;

/** @throws {StateError} listing what differs, old value and new */
export function checkSameRun(dir: string, before: RunIdentity, now: RunIdentity): void {
  const found = differences(before, JSON.parse(JSON.stringify(now)), "");
  if (found.length === 0) return;
  const more = found.length > SHOWN ? `; and ${found.length - SHOWN} more` : "";
  throw new StateError(
    `${dir} holds another training run: ${found.slice(0, SHOWN).join("; ")}${more}`,
    "give this run a folder of its own, or remove the old one to start over",
  );
}

function differences(before: unknown, now: unknown, path: string): string[] {
  if (isRecord(before) && isRecord(now)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
    return keys.flatMap((key) => differences(before[key], now[key], path === "" ? key : `${path}.${key}`));
  }
  const [was, is] = [brief(before), brief(now)];
  return JSON.stringify(before) === JSON.stringify(now) ? [] : [`${path} was ${was}, now ${is}`];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? "absent";
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
