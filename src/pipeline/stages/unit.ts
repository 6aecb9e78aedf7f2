/** A unit of work: the smallest thing a run records as done. A stage is the units of one kind, one a set or one a layer. */
import type { Progress } from "../context.ts";

/** The stages of a run, in order. A polish includes its own export and evaluation. */
export const STAGES = [
  "corpus",
  "harvest",
  "before",
  "train",
  "export",
  "after",
  "polish",
  "latents",
  "verify",
  "splice",
  "card",
  "report",
] as const;
/** Name of a stage. */
export type StageName = (typeof STAGES)[number];

export interface Unit {
  /** "train:4", "harvest:model:prose" */
  readonly id: string;
  readonly stage: StageName;
  readonly layer: number | null;
  /** for people: "train layer 4" */
  readonly title: string;
  /** Everything that decides the result; a unit done with equal inputs is skipped. */
  inputs(): Promise<Record<string, unknown>>;
  /** Files that must exist for the unit to count as done. */
  files(): readonly string[];
  /** Is what lies there still what the unit left? Where later units replace it; false: it is made again. */
  isIntact?(): Promise<boolean>;
  /** Quickly made from what the run records: with other inputs it is made anew without asking. */
  readonly isDerived?: boolean;
  /** False: nothing to do in this run (a polish that is not needed). */
  isWanted?(): Promise<boolean>;
  /** Removes what the unit left when it was run with other inputs. */
  clear(): Promise<void>;
  /** Does the work, resuming from what is on disk. Returns what later units depend on. */
  run(report: (progress: Progress) => void): Promise<Record<string, unknown>>;
}
