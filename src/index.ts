/**
 * Lapidary's public face that needs no Node: SAE arithmetic, conversions, schedules, recipes. Everything here runs in a
 * browser. `lapidary/node` adds files, models, the native engine and whole runs.
 */

export * from "./errors.ts";
/** Tables of results. */
export {
  type BeforeAfterRow,
  formatBeforeAfterMarkdown,
  formatBeforeAfterTable,
  type SetScore,
} from "./evals/table.ts";
/** The engine interface and the plain engine. */
export type * from "./kernels/kernels.ts";
export { createReferenceEngine } from "./kernels/reference/engine.ts";
/** Recipes. */
export { type Recipe, recipeJsonSchema, recipeSchema } from "./pipeline/recipe.ts";
/** Counter-based randomness. */
export { Philox } from "./random/philox.ts";
export { type InferenceFacts, toInferenceForm, withoutInputScale } from "./sae/convert.ts";
export { canonicalHookName, parseHookName, sameHook } from "./sae/hook-name.ts";
export { type InferenceSae, openInference } from "./sae/inference.ts";
export { type InitOptions, initTrainingSae } from "./sae/init.ts";
/** SAEs: forms, conversions, warm start, inference. */
export type * from "./sae/sae.ts";
export { type WarmStart, type WarmStartOptions, warmStart } from "./sae/warm-start.ts";
/** Element types and half precision. */
export { bytesPerElement, type DType } from "./tensor/dtype.ts";
export { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "./tensor/half.ts";
/** Learning rates as SAELens composes them. */
export type { ScheduleConfig } from "./train/config.ts";
export { coefficientAt, learningRateAt } from "./train/schedule.ts";
