/** What an evaluation says: plain JSON, each number with its definition, and hashes of the SAE and the data it is about. */
import { createHash } from "node:crypto";
import type { Sae } from "../sae/sae.ts";
import { canonicalJson } from "../storage/json.ts";
import { bytesOf } from "../tensor/typed-array.ts";
import type { LatentSummary } from "./firing.ts";
import type { MetricValues } from "./metrics.ts";
import type { SaebenchMetrics } from "./other-programs/saebench.ts";
import type { SaelensMetrics } from "./other-programs/saelens.ts";

/** Of result files: changes when the same SAE and data would give other contents. */
export const EVAL_VERSION = 2;

/** One SAE on one held-out set. */
export interface EvalResult {
  readonly format: "lapidary-eval";
  readonly version: typeof EVAL_VERSION;
  readonly set: string;
  /** hook point of the activations */
  readonly hookName: string;
  readonly sae: SaeIdentity;
  /** hash of the store's manifest, so of every activation; null for activations that were never on disk */
  readonly store: { readonly hash: string; readonly nRows: number } | null;
  readonly nTokens: number;
  readonly nDocuments: number;
  /** how every `interval` of this result was made */
  readonly intervals: IntervalMethod;
  readonly metrics: MetricValues;
  /** SAELens' and SAEBench's own numbers under names that say so, if they were asked for */
  readonly otherPrograms?: SaelensMetrics & SaebenchMetrics;
  readonly latents: LatentSummary;
  readonly threshold: ThresholdSummary | null;
  readonly outliers: OutlierSummary | null;
  /** one entry a way of dividing the tokens; ways that nothing is known about are left out */
  readonly slices: readonly SliceGroup[];
}

/** How confidence intervals were made; the same for every metric that has one. */
export interface IntervalMethod {
  readonly definition: string;
  /** e.g. 0.95 */
  readonly level: number;
  readonly replicates: number;
  readonly seed: number;
}

/** How unevenly the squared error lies on the tokens. */
export interface OutlierSummary {
  readonly definition: string;
  /** of the tokens' squared errors: 0 all equal, 1 all on one token */
  readonly gini: number;
  /** one entry a share of tokens left out: 0.0001, 0.001, 0.01 */
  readonly shares: readonly OutlierShare[];
  /** the concentration curve: the worst `tokenShare` of tokens carry `sseShare` of the total; ascending, ends at (1, 1) */
  readonly curve: readonly { readonly tokenShare: number; readonly sseShare: number }[];
  /** the tokens of largest squared error, worst first; at most 50 */
  readonly worst: readonly WorstToken[];
}

export interface OutlierShare {
  /** share of tokens left out */
  readonly share: number;
  /** tokens left out, rounded up */
  readonly nTokens: number;
  /** share of the total squared error that the worst of them carry */
  readonly sseShare: number;
  /** VE of the tokens that remain, about their own mean */
  readonly veWithout: number | null;
  /** of the same number of tokens of largest norm: their share of the squared error, and VE without them */
  readonly sseShareByNorm: number;
  readonly veWithoutByNorm: number | null;
}

/** A badly reconstructed token. Texts are null where the windows or the tokenizer are not known. */
export interface WorstToken {
  readonly sse: number;
  /** of the total */
  readonly sseShare: number;
  /** ‖x‖ */
  readonly norm: number;
  /** norm over the set's median norm */
  readonly normRatio: number;
  readonly tokenId: number;
  readonly source: string | null;
  readonly role: string | null;
  readonly document: number;
  readonly window: number;
  readonly position: number;
  readonly token: string | null;
  readonly before: string | null;
  readonly after: string | null;
}

/** The tokens of a set, divided one way. */
export interface SliceGroup {
  readonly by: "source" | "role" | "position" | "tokenClass" | "document";
  readonly definition: string;
  /** of documents: the twenty with most tokens' worth of squared error, worst first */
  readonly slices: readonly Slice[];
  /** documents only: VE at the 0, 10, 25, 50, 75, 90, 100th percentile of documents that have one */
  readonly quantiles?: readonly { readonly percentile: number; readonly ve: number }[];
}

export interface Slice {
  readonly name: string;
  readonly nTokens: number;
  /** about the slice's own mean; null where its tokens do not vary */
  readonly ve: number | null;
  readonly l0: number;
  readonly mse: number;
  /** of the set's squared error */
  readonly sseShare: number;
}

/** Which SAE was evaluated. */
export interface SaeIdentity {
  /** sha-256 over the weights, the thresholds and what decides the arithmetic; the same for equal SAEs however stored */
  readonly hash: string;
  readonly architecture: Sae["config"]["architecture"];
  readonly dIn: number;
  readonly dSae: number;
  readonly hookName: string | null;
  readonly modelName: string | null;
}

/** Spread of a JumpReLU SAE's thresholds over its latents, in units of pre-activations. */
export interface ThresholdSummary {
  readonly definition: string;
  readonly min: number;
  readonly median: number;
  readonly mean: number;
  readonly max: number;
}

export function saeIdentity(sae: Sae): SaeIdentity {
  const { architecture, dIn, dSae, hookName, modelName } = sae.config;
  return { hash: saeHash(sae), architecture, dIn, dSae, hookName, modelName };
}

/** Hashes are remembered for as long as the SAE lives: a large one takes a second, and is evaluated on several sets. */
const hashes = new WeakMap<Sae, string>();

function saeHash(sae: Sae): string {
  const known = hashes.get(sae);
  if (known !== undefined) return known;
  const hash = createHash("sha256");
  const { architecture, applyBDecToInput, normalization, reshape, k, rescaleActsByDecoderNorm } = sae.config;
  hash.update(
    canonicalJson({ architecture, applyBDecToInput, normalization, reshape, k, rescaleActsByDecoderNorm }),
  );
  const { wEnc, wDec, bEnc, bDec } = sae.weights;
  for (const tensor of [wEnc, wDec, bEnc, bDec, sae.threshold ?? new Float32Array(0)]) {
    const bytes = bytesOf(tensor);
    hash.update(`|${bytes.length}|`);
    for (let at = 0; at < bytes.length; at += 1 << 26) hash.update(bytes.subarray(at, at + (1 << 26)));
  }
  const hex = hash.digest("hex");
  hashes.set(sae, hex);
  return hex;
}

/** Null for an SAE without thresholds. */
export function thresholdSummary(sae: Sae): ThresholdSummary | null {
  if (sae.threshold === null || sae.threshold.length === 0) return null;
  const sorted = Float64Array.from(sae.threshold).sort();
  const middle = sorted.length >> 1;
  return {
    definition:
      "Thresholds of the latents: a latent is active where its pre-activation exceeds its threshold.",
    min: sorted[0],
    median: sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2,
    mean: sorted.reduce((a, b) => a + b, 0) / sorted.length,
    max: sorted[sorted.length - 1],
  };
}
