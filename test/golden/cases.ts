/**
 * Finds golden cases by scanning a folder: `test/fixtures/golden`, or the one that LAPIDARY_GOLDEN names. A case is a
 * folder with a manifest.json; its kind is read from the manifest, never from its name. Tests take shapes, steps and
 * hyperparameters from there too, so that cases made the same way with other shapes and seeds run unchanged.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { it } from "vitest";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import type { TypedArray } from "../../src/tensor/typed-array.ts";

export const goldenFolder = resolve(
  process.env.LAPIDARY_GOLDEN ?? fileURLToPath(new URL("../fixtures/golden", import.meta.url)),
);
if (!existsSync(goldenFolder)) throw new Error(`LAPIDARY_GOLDEN: there is no folder ${goldenFolder}`);

export interface Case<M> {
  readonly name: string;
  readonly dir: string;
  readonly manifest: M;
}

interface TensorFile {
  readonly file: string;
}

/** manifest.json of a real training run. */
export interface TrainingManifest {
  readonly sae_config: {
    readonly architecture: string;
    readonly d_in: number;
    readonly d_sae: number;
    readonly k?: number;
    readonly matryoshka_widths?: readonly number[];
    readonly apply_b_dec_to_input: boolean;
    readonly rescale_acts_by_decoder_norm?: boolean;
    readonly aux_loss_coefficient?: number;
    readonly topk_threshold_lr?: number;
    readonly lp_norm?: number;
    readonly jumprelu_bandwidth?: number;
    readonly jumprelu_sparsity_loss_mode?: "step" | "tanh";
    readonly jumprelu_tanh_scale?: number;
    readonly pre_act_loss_coefficient?: number | null;
  };
  readonly trainer: {
    readonly lr: number;
    readonly lr_end?: number;
    readonly n_restart_cycles?: number;
    readonly betas: readonly [number, number];
    readonly eps: number;
    readonly grad_clip_global_norm: number;
    readonly lr_scheduler_name: string;
    readonly lr_warm_up_steps: number;
    readonly lr_decay_steps: number;
    readonly total_training_steps: number;
    readonly dead_feature_window: number;
    readonly batch_size: number;
    readonly steps: number;
    /** "l1" or "l0" */
    readonly coefficient_schedulers?: Readonly<
      Record<string, { readonly final: number; readonly warm_up_steps: number }>
    >;
  };
  readonly fp32_vs_fp64: Readonly<Record<string, unknown>>;
  readonly files: Readonly<Record<string, TensorFile>>;
}

/** manifest.json of a real save with inputs and outputs. */
export interface InferenceManifest {
  readonly architecture: string;
  readonly loaded_cfg: Readonly<Record<string, unknown>>;
  readonly checks: Readonly<Record<string, unknown>>;
  readonly files: { readonly io: TensorFile };
}

export interface ScheduleFile {
  readonly lr: readonly {
    readonly name: string;
    readonly training_steps: number;
    readonly warm_up_steps: number;
    readonly decay_steps: number;
    readonly lr: number;
    readonly lr_end: number;
    readonly num_cycles: number;
    readonly lr_used_by_step: readonly number[];
  }[];
  readonly coefficient: readonly {
    readonly warm_up_steps: number;
    readonly final_value: number;
    readonly value_used_by_step: readonly number[];
  }[];
}

/** expected.json of a real `run_evals`. */
export interface EvalExpectations {
  readonly cases: readonly EvalCase[];
}

export interface EvalCase {
  readonly name: string;
  /** true: BOS and EOS */
  readonly exclude_special_tokens: boolean | readonly number[];
  readonly activation_scale: number | null;
  /** windows of each batch, those of the first phase (CE and KL) before those of the second (sparsity and variance) */
  readonly rows_used_per_batch: readonly (readonly number[])[];
  /** group → name → value */
  readonly metrics: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** name → [d_sae] */
  readonly feature_metrics: Readonly<Record<string, readonly number[]>>;
}

/** Every folder below the golden folder, itself included. */
function folders(dir: string = goldenFolder): string[] {
  const inner = readdirSync(dir)
    .map((name) => join(dir, name))
    .filter((path) => statSync(path).isDirectory());
  return [dir, ...inner.sort().flatMap((path) => folders(path))];
}

function json<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

function casesWith<M>(is: (manifest: Record<string, unknown>, dir: string) => boolean): Case<M>[] {
  return folders()
    .filter((dir) => existsSync(join(dir, "manifest.json")))
    .map((dir) => ({
      name: basename(dir),
      dir,
      manifest: json<Record<string, unknown>>(join(dir, "manifest.json")),
    }))
    .filter(({ manifest, dir }) => is(manifest, dir))
    .map((found) => found as Case<M>);
}

export function trainingCases(): Case<TrainingManifest>[] {
  return casesWith((manifest) => "trainer" in manifest && "sae_config" in manifest);
}

export function inferenceCases(): Case<InferenceManifest>[] {
  return casesWith((manifest, dir) => "loaded_cfg" in manifest && existsSync(join(dir, "sae", "cfg.json")));
}

export function scheduleFiles(): { name: string; schedules: ScheduleFile }[] {
  return folders()
    .filter((dir) => existsSync(join(dir, "schedules.json")))
    .map((dir) => ({ name: basename(dir), schedules: json<ScheduleFile>(join(dir, "schedules.json")) }));
}

/** Folders in which a real SAELens runner left its output and its final checkpoint. */
export function runnerOutputs(): { name: string; dir: string }[] {
  return folders()
    .filter((dir) => ["output", "checkpoint_final"].every((part) => existsSync(join(dir, part, "cfg.json"))))
    .map((dir) => ({ name: basename(dir), dir }));
}

/** Folders in which a real `run_evals` left what it measured of a toy model and its SAE. */
export function evalFolders(): { name: string; dir: string; cases: readonly EvalCase[] }[] {
  return folders()
    .filter((dir) => ["expected.json", "toy_model.safetensors"].every((file) => existsSync(join(dir, file))))
    .map((dir) => ({ name: basename(dir), dir, ...json<EvalExpectations>(join(dir, "expected.json")) }));
}

/** Makes the absence of a kind visible in the count of skipped tests. */
export function countAbsent(kind: string, cases: readonly unknown[]): void {
  if (cases.length === 0) it.skip(`absent: no ${kind} in the golden folder`, () => {});
}

/** All tensors of a case's file; f32 where they are, else as stored. */
export async function tensors(dir: string, file: string): Promise<Map<string, TypedArray>> {
  const opened = await openSafetensors(join(dir, file));
  try {
    const all = new Map<string, TypedArray>();
    for (const name of opened.tensors.keys()) all.set(name, await opened.read(name));
    return all;
  } finally {
    await opened.close();
  }
}

export function f32(all: ReadonlyMap<string, TypedArray>, name: string): Float32Array {
  const found = all.get(name);
  if (!(found instanceof Float32Array)) throw new Error(`no f32 tensor ${name}`);
  return found;
}

export function f64(all: ReadonlyMap<string, TypedArray>, name: string): Float64Array {
  const found = all.get(name);
  if (!(found instanceof Float64Array)) throw new Error(`no f64 tensor ${name}`);
  return found;
}
