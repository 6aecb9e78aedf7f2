/**
 * Inference form → training form of an SAE that selects by size (standard, gated and jumprelu that are trained on as such:
 * `dense-start.ts`): how training goes on from what the hub ships, which SAELens itself cannot do.
 * Norms of decoder rows are folded first, so thresholds come into the unit of p; k, widths and the rest of the
 * objective come from the SAE's own record of its training, else from the recipe, and are never guessed.
 */

import { RecipeError, UnsupportedError } from "../errors.ts";
import type { Weights } from "../kernels/kernels.ts";
import { decoderNorms } from "../kernels/reference/encode.ts";
import type { WeightRows } from "../kernels/weight-rows.ts";
import { decoderNormsOf, foldDecoderNorms, foldDecoderNormsOfRows } from "./fold.ts";
import type { OpenSae } from "./load.ts";
import type { Sae, SaeConfig, TopKForm } from "./sae.ts";
import { type TrainingRecord, trainingRecord } from "./training-record.ts";
import { reinitialiseRows, reinitialiseRowsOf } from "./zero-rows.ts";

/** Thresholds closer together than this, relatively, count as one. */
const THRESHOLD_AGREEMENT = 1e-5;

/** What the source's own record does not say, and what is decided anew. */
export interface WarmStartOptions {
  /** k, widths and rescaling for a source that records none; one that contradicts the record is refused */
  readonly k?: number;
  readonly widths?: readonly number[];
  readonly rescaleActsByDecoderNorm?: boolean;
  /** choices of this training; default: the record's, else 0 (no auxiliary loss) and 0.01 */
  readonly auxCoefficient?: number;
  readonly thresholdLr?: number;
  /** what becomes of latents whose decoder row is zero; default "refuse" */
  readonly zeroDecoderRows?: "refuse" | "reinitialise";
  /** for re-initialised rows; default 0 */
  readonly seed?: number;
}

/** How far the source's thresholds lie apart, in units of p. */
export interface ThresholdSpread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
  /** (max − min) / max |threshold|; 0: all equal */
  readonly relative: number;
}

/** What the trainer starts from. */
export interface WarmStart {
  readonly form: TopKForm;
  readonly weights: Weights;
  /** the EMA's start; "first-batch-cut": thresholds disagree, so take the batch-topk cut of the first seeded batch */
  readonly threshold: number | "first-batch-cut";
  /** null for topk SAEs, which have no threshold */
  readonly thresholdSpread: ThresholdSpread | null;
  /** where k and widths came from, for the run's record */
  readonly recordedIn: { readonly k: string; readonly widths: string };
}

/** The same for weights that stay in their file until they are wanted. */
export interface OpenWarmStart extends Omit<WarmStart, "weights"> {
  readonly rows: WeightRows;
}

/**
 * @throws {UnsupportedError} an SAE that normalises or reshapes its inputs
 * @throws {RecipeError} k or widths are nowhere to be found, or said twice and differently; zero decoder rows
 */
export function warmStart(sae: Sae, options: WarmStartOptions = {}): WarmStart {
  const norms = decoderNorms(sae.weights);
  const { start, zeroRows } = decide(sae, norms, options);
  const weights = start.form.rescaleActsByDecoderNorm ? foldDecoderNorms(sae.weights, norms) : sae.weights;
  return {
    ...start,
    weights: zeroRows.length === 0 ? weights : reinitialiseRows(weights, zeroRows, options.seed ?? 0),
  };
}

/**
 * The same in little memory: the decoder is read once for its norms, and again, with the encoder, by whoever wants the
 * rows. It takes `sae.rows` over: the caller closes the rows it gets, nobody those that were given. @throws as `warmStart`
 */
export async function openWarmStart(sae: OpenSae, options: WarmStartOptions = {}): Promise<OpenWarmStart> {
  try {
    const norms = await decoderNormsOf(sae.rows);
    const { start, zeroRows } = decide(sae, norms, options);
    const rows = start.form.rescaleActsByDecoderNorm ? foldDecoderNormsOfRows(sae.rows, norms) : sae.rows;
    return {
      ...start,
      rows: zeroRows.length === 0 ? rows : await reinitialiseRowsOf(rows, zeroRows, options.seed ?? 0),
    };
  } catch (error) {
    await sae.rows.close();
    throw error;
  }
}

/** All of a warm start but the weights, and which latents have no direction. `norms`: of the decoder's rows, [dSae]. */
function decide(
  sae: Omit<Sae, "weights">,
  norms: Float32Array,
  options: WarmStartOptions,
): { start: Omit<WarmStart, "weights">; zeroRows: number[] } {
  refuseUntrainable(sae.config);
  const { architecture, applyBDecToInput, dSae } = sae.config;
  const record = trainingRecord(sae);
  const k = agreed("k", record.k, options.k);
  const widths = agreed("widths", widthsOf(record, sae), options.widths);
  const rescale = rescaling(sae, record, options);
  const form: TopKForm = {
    selection: architecture === "topk" ? "topk" : "batch-topk",
    k: checkedK(k.value, dSae, architecture === "topk"),
    widths: checkedWidths(widths.value, dSae),
    applyBDecToInput,
    rescaleActsByDecoderNorm: rescale,
    auxCoefficient: options.auxCoefficient ?? record.auxCoefficient ?? 0,
    thresholdLr: options.thresholdLr ?? record.thresholdLr ?? 0.01,
  };
  const zeroRows = zeroRowsOf(norms, options);
  const spread = sae.threshold === null ? null : spreadOf(sae.threshold, norms, rescale);
  const start = {
    form,
    threshold: startingThreshold(sae, spread),
    thresholdSpread: spread,
    recordedIn: { k: k.source, widths: widths.source },
  };
  return { start, zeroRows };
}

/** @throws {UnsupportedError} a transcoder, or an SAE that normalises or reshapes its inputs */
export function refuseUntrainable({ output, normalization, reshape }: SaeConfig): void {
  if (output !== undefined)
    throw new UnsupportedError(
      `training from a transcoder (to ${output.hookName ?? "another activation"})`,
      "Lapidary trains SAEs, which reconstruct their own input; start from one",
    );
  if (normalization !== "none" || reshape !== "none")
    throw new UnsupportedError(
      `training from an SAE with normalize_activations "${normalization}", reshape_activations "${reshape}"`,
      "Lapidary trains on activations as they are; start from an SAE with both set to none",
    );
}

/** Latents without a direction. @throws {RecipeError} there are some, and nobody asked for new ones */
export function zeroRowsOf(
  norms: Float32Array,
  { zeroDecoderRows }: Pick<WarmStartOptions, "zeroDecoderRows">,
): number[] {
  const zeroRows = [...norms.keys()].filter((i) => norms[i] === 0);
  if (zeroRows.length > 0 && zeroDecoderRows !== "reinitialise")
    throw new RecipeError(
      `${zeroRows.length} latents have a decoder row of zeros (the first: ${zeroRows[0]}) and cannot be trained on`,
      "set zeroDecoderRows to reinitialise to give them new random rows",
    );
  return zeroRows;
}

/** One value all agree on starts the EMA. Plain ReLU has no threshold to start from; topk needs none. */
function startingThreshold(
  { config }: Pick<Sae, "config">,
  spread: ThresholdSpread | null,
): number | "first-batch-cut" {
  if (config.architecture === "topk") return 0;
  if (spread === null || spread.relative > THRESHOLD_AGREEMENT) return "first-batch-cut";
  return spread.median;
}

function spreadOf(threshold: Float32Array, norms: Float32Array, rescale: boolean): ThresholdSpread {
  const inUnitsOfP = Float64Array.from(threshold, (t, i) => (rescale ? t * norms[i] : t))
    .filter((_, i) => norms[i] > 0)
    .sort();
  if (inUnitsOfP.length === 0) return { min: 0, median: 0, max: 0, relative: Number.POSITIVE_INFINITY };
  const min = inUnitsOfP[0];
  const max = inUnitsOfP[inUnitsOfP.length - 1];
  const largest = Math.max(Math.abs(min), Math.abs(max));
  return {
    min,
    median: inUnitsOfP[inUnitsOfP.length >> 1],
    max,
    relative: largest === 0 ? 0 : (max - min) / largest,
  };
}

/** The record's value, or the recipe's if there is no record; both, if they are the same. */
function agreed<T>(
  what: "k" | "widths",
  recorded: { value: T; source: string } | null,
  asked: T | undefined,
): { value: T; source: string } {
  if (recorded === null) {
    if (asked !== undefined) return { value: asked, source: "recipe" };
    throw new RecipeError(
      `the source SAE does not record its ${what}: no ${what === "k" ? "k" : "matryoshka_widths"} in runner_cfg.json or in cfg.json's metadata`,
      `set train.${what} in the recipe${what === "widths" ? "; [dSae] for an SAE without nested widths" : ""}`,
    );
  }
  if (asked !== undefined && JSON.stringify(asked) !== JSON.stringify(recorded.value))
    throw new RecipeError(
      `train.${what} is ${JSON.stringify(asked)}, but ${recorded.source} of the source SAE says ${JSON.stringify(recorded.value)}`,
      `leave train.${what} out of the recipe to go on as the SAE was trained`,
    );
  return recorded;
}

/** Only matryoshka SAEs have nested widths; a record that names another architecture settles it. */
function widthsOf(
  record: TrainingRecord,
  { config }: Pick<Sae, "config">,
): { value: readonly number[]; source: string } | null {
  if (record.widths !== null) {
    const { value, source } = record.widths;
    return value[value.length - 1] === config.dSae
      ? { value, source }
      : { value: [...value, config.dSae], source };
  }
  if (config.architecture === "topk") return { value: [config.dSae], source: "cfg.json (topk)" };
  const architecture = record.architecture;
  if (architecture === null || architecture.value === "matryoshka_batchtopk") return null;
  return { value: [config.dSae], source: `${architecture.source} (${architecture.value})` };
}

/** A topk SAE says it in cfg.json. Others: the record, the recipe, else SAELens' default, true. */
function rescaling(sae: Pick<Sae, "config">, record: TrainingRecord, options: WarmStartOptions): boolean {
  const asked = options.rescaleActsByDecoderNorm;
  const known = sae.config.architecture === "topk" ? sae.config.rescaleActsByDecoderNorm : record.rescale;
  if (known !== null && asked !== undefined && asked !== known)
    throw new RecipeError(
      `train.rescaleActsByDecoderNorm is ${asked}, but the source SAE was trained with ${known}`,
      "leave it out of the recipe to go on as the SAE was trained",
    );
  return known ?? asked ?? true;
}

function checkedK(k: number, dSae: number, integer: boolean): number {
  if (!(k > 0 && k <= dSae) || (integer && !Number.isInteger(k)))
    throw new RecipeError(`k is ${k}, expected ${integer ? "an integer " : ""}from 1 to dSae = ${dSae}`);
  return k;
}

function checkedWidths(widths: readonly number[], dSae: number): readonly number[] {
  const fits =
    widths.every((w, i) => Number.isInteger(w) && w > (i === 0 ? 0 : widths[i - 1])) &&
    widths[widths.length - 1] === dSae;
  if (!fits)
    throw new RecipeError(
      `widths are [${widths.join(", ")}], expected strictly increasing integers that end with dSae = ${dSae}`,
    );
  return widths;
}
