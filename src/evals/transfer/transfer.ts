/**
 * Does an SAE fit the activations of another model, and if not, why? Numbers that tell a moved mean, another scale, a few
 * outliers and a truly different distribution apart. `diagnosis.ts` says in words what follows from them.
 */
import { DataError } from "../../errors.ts";
import type { InferenceSae } from "../../sae/inference.ts";
import type { Evaluation } from "../evaluate.ts";
import type { OutlierShare } from "../result.ts";
import type { TokenSource } from "../token-source.ts";
import { type Expectation, type Fixes, tryFixes } from "./fixes.ts";
import { halvesOf } from "./halves.ts";
import { Moments } from "./moments.ts";
import { pickRows, sampleOf } from "./sample.ts";
import { type ThresholdPosition, thresholdPosition } from "./threshold.ts";

/** What each number of a `TransferDiagnosis` is. */
export const TRANSFER_DEFINITIONS = {
  expected:
    "Where the SAE expects its inputs. base: mean and spread of the base model's activations; sae: its bDec is its estimate of the mean, and nothing says the spread.",
  spread: "Root mean square distance of tokens from their mean, √(Σ‖x−x̄‖² / n).",
  meanShift: "‖x̄ − expected mean‖ / spread of these tokens.",
  topTenShare: "Share of ‖x̄ − expected mean‖² in its ten largest dimensions.",
  scaleRatio: "Spread of these tokens / expected spread.",
  silentShare: "Share of latents active on none of these tokens.",
  above10: "Share of latents active on more than 10 % of these tokens.",
  above50: "Share of latents active on more than half of these tokens.",
  threshold:
    "On a seeded sample: share of all pre-activations above their latent's threshold; share above zero; quantile of the thresholds among positive pre-activations; median threshold / smallest of the k·n largest pre-activations.",
  fixes:
    "VE with inputs mapped in closed form to where the SAE expects them and reconstructions mapped back: re-centred x − (x̄ − expected mean); rescaled x̄ + s·(x − x̄); both. Means and scale fitted on one half of the tokens, VE of the other half.",
} as const;

/** The share of worst tokens that a diagnosis looks at. */
const WORST_SHARE = 0.001;

/** The numbers; TRANSFER_DEFINITIONS says what each is. */
export interface TransferDiagnosis {
  readonly nTokens: number;
  readonly ve: number | null;
  readonly l0: number;
  readonly expected: "base" | "sae";
  /** VE and L0 of the SAE on the base model's activations of the same text; null: not known */
  readonly home: { readonly ve: number | null; readonly l0: number } | null;
  readonly spread: number;
  /** null: the tokens do not vary */
  readonly meanShift: number | null;
  /** the ten largest, largest first; `shift` in units of activations */
  readonly shiftedDimensions: readonly { readonly dimension: number; readonly shift: number }[];
  readonly topTenShare: number | null;
  /** null: no base model */
  readonly scaleRatio: number | null;
  readonly silentShare: number;
  readonly above10: number;
  readonly above50: number;
  /** null: an SAE without thresholds */
  readonly threshold: ThresholdPosition | null;
  /** of the worst 0.1 % of tokens */
  readonly outliers: OutlierShare | null;
  /** null: all tokens are of one window, so there is nothing to measure a fix on */
  readonly fixes: Fixes | null;
}

/** What an SAE meets on the model it was made for: what others are compared with. */
export interface Home {
  /** of all tokens, and of the half that fixes are fitted on */
  readonly all: Moments;
  readonly fit: Moments;
  readonly ve: number | null;
  readonly l0: number;
}

/** What is known beside the activations, and what is drawn. */
export interface DiagnoseOptions {
  /** the same SAE on the base model's activations of the same text; default: the SAE's bDec alone is known */
  readonly home?: Home | null;
  /** tokens whose pre-activations are looked at; default 512 */
  readonly sampleTokens?: number;
  /** of samples and halves; default 0 */
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

/**
 * Diagnoses the SAE on tokens, whose evaluation is given. Goes through them for the halves, the moments, the fixes;
 * holds a chunk, the sample and a number a window.
 * @returns the diagnosis, and what a diagnosis on another model compares itself with
 * @throws {DataError} no rows
 */
export async function diagnoseTransfer(
  inference: InferenceSae,
  source: TokenSource,
  evaluation: Evaluation,
  options: DiagnoseOptions = {},
): Promise<{ diagnosis: TransferDiagnosis; home: Home }> {
  const { seed = 0, sampleTokens = 512, signal } = options;
  if (source.total === 0) throw new DataError(`set "${source.set}" has no tokens to diagnose`);
  const halves = await halvesOf(source.chunks(), seed);
  const all = new Moments(source.dIn);
  const fit = new Moments(source.dIn);
  const wanted = sampleOf(source.total, sampleTokens, seed);
  const sample = new Float32Array(wanted.length * source.dIn);
  let first = 0;
  let taken = 0;
  for await (const rows of source.chunks()) {
    signal?.throwIfAborted();
    all.add(rows.activations);
    if (halves !== null) fit.add(rows.activations, halves.split(rows).fit);
    const here: number[] = [];
    for (; taken + here.length < wanted.length; here.push(wanted[taken + here.length] - first))
      if (wanted[taken + here.length] >= first + rows.nRows) break;
    sample.set(pickRows(rows.activations, source.dIn, here), taken * source.dIn);
    taken += here.length;
    first += rows.nRows;
  }
  const { metrics, latents, outliers } = evaluation.result;
  const home: Home = { all, fit, ve: metrics.ve.value, l0: metrics.l0.value };
  const expected = options.home ?? null;
  const fixes =
    halves === null
      ? null
      : await tryFixes(
          inference,
          source,
          { halves, fit, expected: expectationOf(inference, expected?.fit ?? null) },
          { seed, signal },
        );
  const diagnosis: TransferDiagnosis = {
    nTokens: all.n,
    ve: home.ve,
    l0: home.l0,
    expected: expected === null ? "sae" : "base",
    home: expected === null ? null : { ve: expected.ve, l0: expected.l0 },
    ...shiftOf(all, expectationOf(inference, expected?.all ?? null)),
    silentShare: latents.nNeverFired / latents.nLatents,
    above10: latents.nAbove10Percent / latents.nLatents,
    above50: evaluation.firingCounts.filter((count) => count > 0.5 * all.n).length / latents.nLatents,
    threshold: await thresholdPosition(inference, sample),
    outliers: outliers?.shares.find(({ share }) => share === WORST_SHARE) ?? null,
    fixes,
  };
  return { diagnosis, home };
}

function expectationOf({ sae }: InferenceSae, base: Moments | null): Expectation {
  if (base !== null && base.n > 0) return { mean: base.mean, spread: base.spread };
  return { mean: Float64Array.from(sae.weights.bDec), spread: null };
}

/** How far mean and spread are from what is expected, and in which dimensions. */
function shiftOf(
  { mean, spread }: Moments,
  expected: Expectation,
): Pick<TransferDiagnosis, "spread" | "meanShift" | "shiftedDimensions" | "topTenShare" | "scaleRatio"> {
  const shift = mean.map((value, j) => value - expected.mean[j]);
  const square = (values: Iterable<number>) => {
    let sum = 0;
    for (const value of values) sum += value * value;
    return sum;
  };
  const largest = Array.from(shift, (value, dimension) => ({ dimension, shift: value }))
    .sort((a, b) => Math.abs(b.shift) - Math.abs(a.shift) || a.dimension - b.dimension)
    .slice(0, 10);
  const whole = square(shift);
  return {
    spread,
    meanShift: spread === 0 ? null : Math.sqrt(whole) / spread,
    shiftedDimensions: largest,
    topTenShare: whole === 0 ? null : square(largest.map((each) => each.shift)) / whole,
    scaleRatio: expected.spread === null || expected.spread === 0 ? null : spread / expected.spread,
  };
}
