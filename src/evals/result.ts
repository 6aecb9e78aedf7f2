/** What an evaluation says: plain JSON, each number with its definition, and hashes of the SAE and the data it is about. */
import { createHash } from "node:crypto";
import type { Sae } from "../sae/sae.ts";
import { canonicalJson } from "../storage/json.ts";
import { bytesOf } from "../tensor/typed-array.ts";
import type { LatentSummary } from "./firing.ts";
import type { MetricValues } from "./metrics.ts";

/** One SAE on one held-out set. */
export interface EvalResult {
  readonly format: "lapidary-eval";
  readonly version: 1;
  readonly set: string;
  /** hook point of the activations */
  readonly hookName: string;
  readonly sae: SaeIdentity;
  /** hash of the store's manifest, so of every activation; null for activations that were never on disk */
  readonly store: { readonly hash: string; readonly nRows: number } | null;
  readonly nTokens: number;
  readonly metrics: MetricValues;
  readonly latents: LatentSummary;
  readonly threshold: ThresholdSummary | null;
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
