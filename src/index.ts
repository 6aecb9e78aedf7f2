/**
 * Lapidary's public face that needs no Node: SAE arithmetic, conversions, schedules, recipes. Everything here runs in a
 * browser. `lapidary/node` adds files, models, the native engine and whole runs.
 */

// ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Every error has a stable `code`, says what was got and what was wanted, and where it can, a `hint` what to try. */
export * from "./errors.ts";

// ── SAEs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Training form → inference form; an SAE trained on scaled inputs → one for the inputs as they are. */
export { type InferenceFacts, toInferenceForm, withoutInputScale, withThreshold } from "./sae/convert.ts";
/** Hook points and their many spellings. */
export { canonicalHookName, type HookPoint, parseHookName, sameHook } from "./sae/hook-name.ts";
/** An SAE at work: activations → sparse latents → reconstructions. */
export { type InferenceSae, openInference } from "./sae/inference.ts";
/** A fresh SAE, initialised as SAELens does, seeded. */
export { type InitOptions, initTrainingSae } from "./sae/init.ts";
/** An SAE in its inference form, and in its training form. */
export type * from "./sae/sae.ts";
/** Inference form → training form: where training goes on from what a hub ships. */
export { type ThresholdSpread, type WarmStart, type WarmStartOptions, warmStart } from "./sae/warm-start.ts";

// ── Engines ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What an engine takes and gives: weights, sparse activations, training steps. */
export type * from "./kernels/kernels.ts";
/** The engine in plain TypeScript: the equations, and what the others are tested against. */
export { createReferenceEngine } from "./kernels/reference/engine.ts";
/** The C++ engine as WebAssembly, from the bytes of `native/wasm/lapidary.wasm`; it computes on the thread that calls. */
export { wasmEngineFactory } from "./kernels/wasm/engine.ts";

// ── Schedules, recipes, results ──────────────────────────────────────────────────────────────────────────────────────

/** A number with its definition, unit and sample size. */
export type { Metric, MetricName } from "./evals/metrics.ts";
/** One evaluation's numbers, each with its definition. */
export type { EvalResult } from "./evals/result.ts";
/** Before and after as a table, for terminals and for Markdown. */
export {
  type BeforeAfterRow,
  formatBeforeAfterMarkdown,
  formatBeforeAfterTable,
  type SetScore,
  scoreOf,
  type TableOptions,
} from "./evals/table.ts";
/** The recipe's schema, for validation and, as JSON Schema, for editors. */
export { type Recipe, recipeJsonSchema, recipeSchema } from "./pipeline/recipe/recipe.ts";
/** A learning rate over a run. */
export type { ScheduleConfig } from "./train/config.ts";
/** Learning rates and coefficients at a step, as SAELens composes them. */
export { coefficientAt, learningRateAt } from "./train/schedule.ts";

// ── Numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Counter-based randomness: a number is a function of (seed, purpose, index). */
export { Philox } from "./random/philox.ts";
/** Element types of tensors on disk. */
export { bytesPerElement, type DType } from "./tensor/dtype.ts";
/** bfloat16 and float16 ⇄ float32. */
export { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "./tensor/half.ts";
/** Arrays of any element type. */
export type { TypedArray } from "./tensor/typed-array.ts";
