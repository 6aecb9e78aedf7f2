/** What `lapidary eval` says of an SAE on models and texts: plain JSON. Types only. */
import type { EvalResult, SaeIdentity } from "../result.ts";
import type { SpliceResult } from "../splice/result.ts";
import type { Verdict } from "./diagnosis.ts";
import type { TRANSFER_LIMITS } from "./limits.ts";
import type { TRANSFER_DEFINITIONS, TransferDiagnosis } from "./transfer.ts";

/**
 * How texts became windows. short: the beginning of each document (of a plain text: of each paragraph), one a window.
 * full: documents one after the other in windows of the context size. store: activations on disk.
 */
export type Protocol = "short" | "full" | "store";

/** One SAE on one model and text, under one protocol. */
export interface TransferCell {
  readonly model: string;
  /** the model that the others are compared with */
  readonly isBase: boolean;
  readonly text: string;
  readonly protocol: Protocol;
  /** tokens a window; null: a store */
  readonly windowTokens: number | null;
  readonly result: EvalResult;
  readonly diagnosis: TransferDiagnosis;
  readonly verdict: Verdict;
  /** null: not asked for */
  readonly splice: SpliceResult | null;
}

/** One SAE on all of them. */
export interface TransferReport {
  readonly format: "lapidary-transfer";
  readonly version: 1;
  /** as the user named it */
  readonly name: string;
  readonly sae: SaeIdentity;
  readonly layer: number | null;
  /** latents a token that it was trained to use; null: not recorded */
  readonly k: number | null;
  readonly definitions: typeof TRANSFER_DEFINITIONS;
  readonly limits: typeof TRANSFER_LIMITS;
  readonly cells: readonly TransferCell[];
}
