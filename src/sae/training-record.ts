/**
 * What an inference SAE's files say about how it was trained: `runner_cfg.json` (SAELens nests it under `sae`, others
 * write it flat), else notes in cfg.json's metadata. Inference saves drop all of it from cfg.json itself.
 */
import type { Sae } from "./sae.ts";

export interface Recorded<T> {
  readonly value: T;
  /** the file, or the key in it, for messages */
  readonly source: string;
}

export interface TrainingRecord {
  readonly architecture: Recorded<string> | null;
  readonly k: Recorded<number> | null;
  /** as recorded: the last may be below dSae */
  readonly widths: Recorded<readonly number[]> | null;
  readonly rescale: boolean | null;
  readonly auxCoefficient: number | null;
  readonly thresholdLr: number | null;
}

/** Reads each fact from the first place that has it with the right type. */
export function trainingRecord({
  config,
  runnerConfig,
}: Pick<Sae, "config" | "runnerConfig">): TrainingRecord {
  const places = [
    { source: "runner_cfg.json", json: inner(runnerConfig, "sae") },
    { source: "runner_cfg.json", json: runnerConfig },
    { source: "metadata.training_note", json: inner(config.metadata, "training_note") },
    { source: "metadata.lapidary", json: inner(config.metadata, "lapidary") },
    {
      source: "cfg.json",
      json: config.k === null ? null : { k: config.k, architecture: config.architecture },
    },
  ];
  const find = <T>(key: string, is: (value: unknown) => value is T): Recorded<T> | null => {
    for (const { source, json } of places) {
      const value = json?.[key];
      if (is(value)) return { value, source };
    }
    return null;
  };
  return {
    architecture: find("architecture", isTrainingArchitecture),
    k: find("k", isNumber),
    widths: find("matryoshka_widths", isWidths),
    rescale: find("rescale_acts_by_decoder_norm", isBoolean)?.value ?? null,
    auxCoefficient: find("aux_loss_coefficient", isNumber)?.value ?? null,
    thresholdLr: find("topk_threshold_lr", isNumber)?.value ?? null,
  };
}

type Json = Readonly<Record<string, unknown>>;

function inner(json: Json | null, key: string): Json | null {
  const value = json?.[key];
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : null;
}

function isTrainingArchitecture(value: unknown): value is string {
  return value === "topk" || value === "batchtopk" || value === "matryoshka_batchtopk";
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function isBoolean(value: unknown): value is boolean {
  return typeof value === "boolean";
}

/** Contents are checked where they are used; here only that it is a short list of numbers. */
function isWidths(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 && value.length <= 1000 && value.every(isNumber);
}
