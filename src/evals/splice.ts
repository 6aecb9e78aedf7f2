/**
 * What SAEs do to the model's own predictions when their reconstructions take the place of the residual stream: next-token
 * cross-entropy and KL, against the clean model, zeros and the mean activation.
 */
import type { WindowBatch } from "../corpus/windows.ts";
import type { SplicedModel } from "../models/spliced-model.ts";
import type { Reconstructor } from "./evaluate.ts";
import type { SpliceResult } from "./splice-result.ts";

/** The windows of a set, or of a text: a `WindowSet` fits after `spliceWindows`. */
export interface SpliceWindows {
  readonly set: string;
  /** identity of the windows */
  readonly hash: string;
  readonly nWindows: number;
  read(from: number, to: number): Promise<WindowBatch>;
}

export interface SpliceOptions {
  readonly model: SplicedModel;
  readonly windows: SpliceWindows;
  /** SAEs by layer; each must be one of the model's */
  readonly saes: ReadonlyMap<number, Reconstructor>;
  /** kept tokens; whole windows are taken until there are so many. Default 32 768 */
  readonly tokens?: number;
  /** with several SAEs, also all of them at once; default true */
  readonly together?: boolean;
  /** mean activations [dIn] by layer; default: computed from the same windows, in a pass of the lower half */
  readonly means?: ReadonlyMap<number, Float32Array>;
  /** also SAELens' own numbers, whose ablation covers excluded positions too: one more run; default false */
  readonly saelens?: boolean;
  /** of the confidence intervals; default 0 */
  readonly seed?: number;
  /** bootstrap replicates; default 1000 */
  readonly replicates?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SpliceProgress) => void;
}

/** How far a splice evaluation is, in kept tokens of a pass. */
export interface SpliceProgress {
  readonly pass: "mean" | "splice";
  readonly done: number;
  readonly total: number;
}

/** One result for each SAE alone, by layer, and, with several, one for all at once. */
export type EvaluateSplice = (options: SpliceOptions) => Promise<SpliceResult[]>;
