/**
 * Resampling: gives dead latents a new start in directions that the SAE reconstructs badly, and tries the effect on a
 * batch before it is kept. Happens at epoch boundaries only. What goes wrong without the trial: thousands of newcomers
 * at full norm flood the batch's selection, the threshold runs away, and held-out VE falls.
 *
 * For each dead latent i, in ascending order, with x̂ the reconstruction under the training selection:
 *   draw a token with probability ∝ ‖x − x̂‖² among those not drawn yet (no two newcomers are twins)
 *   u       = (x − x̂) / ‖x − x̂‖
 *   wDec[i] = u · D,  D = median of ‖wDec‖ over live latents
 *   wEnc[i] = u · c,  c = scale · median over live latents of (‖wEnc‖·‖wDec‖) / D
 *   bEnc[i] = 0, Adam's moments of the three rows = 0, its counter restarts
 * The product ‖wEnc‖·‖wDec‖ is what selection sees: p = h·‖wDec‖.
 */
import type { BatchReader } from "../activations/activations.ts";
import type { Engine, EngineTensor, Selection, SparseActs } from "../kernels/kernels.ts";
import { Philox } from "../random/philox.ts";
import type { ResamplingConfig } from "./config.ts";
import { FitSums } from "./fit-sums.ts";
import { type LatentRanges, rangesOf } from "./latent-ranges.ts";
import { visitReconstructions } from "./reconstructions.ts";
import { drawDirections } from "./residual-draws.ts";
import { cutOf } from "./threshold.ts";

/** What a trial of `newcomers` newcomers on the trial batch showed. */
export interface ResamplingTrial {
  readonly newcomers: number;
  /** share of the batch's selected activations that belong to newcomers */
  readonly selectionShare: number;
  /** the selection's cut with the newcomers in */
  readonly cut: number | null;
  /** that cut over the cut without them; null if either is undefined */
  readonly cutRise: number | null;
  /** VE of the batch under the training selection, with the newcomers in; null if it is not a number */
  readonly ve: number | null;
  readonly withinCaps: boolean;
}

/** Everything a resampling saw and did; a line of `events.jsonl`. */
export interface ResamplingReport {
  readonly dead: number;
  readonly live: number;
  /** newcomers kept */
  readonly newcomers: number;
  /** which they are */
  readonly latents: LatentRanges;
  /** why fewer than `dead` */
  readonly reason: string | null;
  readonly medianDecoderNorm: number | null;
  readonly medianNormProduct: number | null;
  readonly encoderNorm: number | null;
  readonly cutBefore: number | null;
  /** VE of the trial batch without newcomers; null if it is not a number or there was no trial */
  readonly veBefore: number | null;
  readonly trials: readonly ResamplingTrial[];
}

export interface ResamplingOptions {
  readonly config: ResamplingConfig;
  readonly selection: Selection;
  readonly seed: number;
  /** 0-based epoch that has just ended; batches are drawn from it */
  readonly epoch: number;
  readonly reader: BatchReader;
  /** [dSae] 1 = dead */
  readonly dead: Uint8Array;
}

/**
 * Resamples dead latents in `engine` (all of them, or as many as the caps on their number allow), or leaves it as it was.
 * The trial batch is not among the batches that directions
 * are drawn from (unless the store has only one). Over a cap, the half of the newcomers that took most of the selection
 * is put back and the rest tried again, until the caps are kept or nobody is left; who was put back stays dead and may
 * be resampled at the next boundary.
 *
 * Deterministic: a function of weights, store, seed and epoch.
 * Memory  three rows of dIn floats a newcomer.
 * @returns the latents resampled, ascending, and the report
 */
export async function resample(
  engine: Engine,
  options: ResamplingOptions,
): Promise<{ newcomers: number[]; report: ResamplingReport }> {
  const { config, dead } = options;
  const deadIds = [...dead.keys()].filter((i) => dead[i] === 1);
  const base = { dead: deadIds.length, live: dead.length - deadIds.length };
  const nothing = (reason: string) => ({
    newcomers: [],
    report: { ...base, ...NOTHING, reason },
  });
  if (deadIds.length === 0) return nothing("no latent is dead");
  if (base.live === 0) return nothing("no latent is alive to take norms from");

  const { medianDecoderNorm, medianNormProduct } = await liveNorms(engine, dead);
  if (!(medianDecoderNorm > 0)) return nothing("the median live decoder norm is 0");
  const encoderNorm = (config.scale * medianNormProduct) / medianDecoderNorm;

  const order = new Philox(options.seed, `resampling/epoch-${options.epoch}/batches`).permutation(
    options.reader.nBatches,
  );
  const chosen = chooseLatents(deadIds, dead.length, options);
  if (chosen.length === 0) return nothing("the caps on their number allow none");
  const directions = await drawDirections(engine, {
    selection: options.selection,
    wanted: chosen.length,
    random: new Philox(options.seed, `resampling/epoch-${options.epoch}/tokens`),
    batches: [...(order.length > 1 ? order.subarray(1) : order)],
    read: (i) => options.reader.batch(options.epoch, i),
  });
  if (directions.length === 0) return nothing("every token is reconstructed exactly");

  const trialBatch = await options.reader.batch(options.epoch, order[0]);
  const actsBefore = await engine.encode(trialBatch, options.selection);
  const before = cutOf(actsBefore);
  const veBefore = await veOf(engine, trialBatch, actsBefore);
  let candidates: Newcomer[] = [];
  for (const [n, u] of directions.entries()) {
    candidates.push(await place(engine, chosen[n], u, medianDecoderNorm, encoderNorm));
  }
  const trials: ResamplingTrial[] = [];
  while (candidates.length > 0) {
    const acts = await engine.encode(trialBatch, options.selection);
    const taken = selectionsOf(acts, candidates);
    const trial = { ...judge(acts, taken, before, config), ve: await veOf(engine, trialBatch, acts) };
    trials.push(trial);
    if (trial.withinCaps) break;
    const { modest, greedy } = halve(candidates, taken);
    for (const newcomer of greedy) await putBack(engine, newcomer);
    candidates = modest;
  }
  for (const { latent } of candidates) await clearMoments(engine, latent);
  const newcomers = candidates.map(({ latent }) => latent).sort((a, b) => a - b);
  const report: ResamplingReport = {
    ...base,
    newcomers: newcomers.length,
    latents: rangesOf(newcomers),
    reason: reasonFor(deadIds.length, chosen.length, directions.length, newcomers.length),
    medianDecoderNorm,
    medianNormProduct,
    encoderNorm,
    cutBefore: before,
    veBefore,
    trials,
  };
  return { newcomers, report };
}

const NOTHING = {
  newcomers: 0,
  latents: [],
  medianDecoderNorm: null,
  medianNormProduct: null,
  encoderNorm: null,
  cutBefore: null,
  veBefore: null,
  trials: [],
} as const;

/** Dead latents that may be given a new start, ascending: all, or as many as the caps on their number allow, drawn by seed and epoch. */
function chooseLatents(
  deadIds: readonly number[],
  dSae: number,
  { config, seed, epoch }: ResamplingOptions,
): readonly number[] {
  const { maxNewcomers = deadIds.length, maxLatentShare = 1 } = config;
  const most = Math.min(maxNewcomers, Math.floor(maxLatentShare * dSae));
  if (deadIds.length <= most) return deadIds;
  const order = new Philox(seed, `resampling/epoch-${epoch}/latents`).permutation(deadIds.length);
  return Array.from(order.subarray(0, most).sort(), (n) => deadIds[n]);
}

/** VE of a batch whose selected activations are `acts`; null if it is not a number (a batch that does not vary). */
async function veOf(engine: Engine, x: Float32Array, acts: SparseActs): Promise<number | null> {
  const fit = new FitSums(engine.config.dIn);
  await visitReconstructions(engine, acts, (recon, first) => fit.add(x, recon, first));
  return Number.isFinite(fit.ve) ? fit.ve : null;
}

/** A latent with its new rows in the engine and its old ones here. */
interface Newcomer {
  readonly latent: number;
  readonly old: { readonly wEnc: Float32Array; readonly wDec: Float32Array; readonly bEnc: Float32Array };
}

async function place(
  engine: Engine,
  latent: number,
  u: Float32Array,
  decoderNorm: number,
  encoderNorm: number,
): Promise<Newcomer> {
  const old = {
    wEnc: await engine.read("wEnc", latent, latent + 1),
    wDec: await engine.read("wDec", latent, latent + 1),
    bEnc: await engine.read("bEnc", latent, latent + 1),
  };
  await engine.write(
    "wEnc",
    latent,
    u.map((x) => x * encoderNorm),
  );
  await engine.write(
    "wDec",
    latent,
    u.map((x) => x * decoderNorm),
  );
  await engine.write("bEnc", latent, new Float32Array(1));
  return { latent, old };
}

async function putBack(engine: Engine, { latent, old }: Newcomer): Promise<void> {
  await engine.write("wEnc", latent, old.wEnc);
  await engine.write("wDec", latent, old.wDec);
  await engine.write("bEnc", latent, old.bEnc);
}

async function clearMoments(engine: Engine, latent: number): Promise<void> {
  const row = new Float32Array(engine.config.dIn);
  const one = new Float32Array(1);
  const moments: [EngineTensor, Float32Array][] = [
    ["m.wEnc", row],
    ["v.wEnc", row],
    ["m.wDec", row],
    ["v.wDec", row],
    ["m.bEnc", one],
    ["v.bEnc", one],
  ];
  for (const [tensor, zeros] of moments) await engine.write(tensor, latent, zeros);
}

/** How many entries of the selection each candidate took, in their order. */
function selectionsOf(acts: SparseActs, candidates: readonly Newcomer[]): Uint32Array {
  const positions = new Map(candidates.map(({ latent }, n) => [latent, n]));
  const taken = new Uint32Array(candidates.length);
  for (const latent of acts.latents) {
    const n = positions.get(latent);
    if (n !== undefined) taken[n] += 1;
  }
  return taken;
}

function judge(
  acts: SparseActs,
  taken: Uint32Array,
  before: number | null,
  config: ResamplingConfig,
): Omit<ResamplingTrial, "ve"> {
  const total = taken.reduce((sum, n) => sum + n, 0);
  const selectionShare = acts.latents.length === 0 ? 0 : total / acts.latents.length;
  const cut = cutOf(acts);
  const cutRise = before === null || cut === null ? null : cut / before;
  const withinCaps =
    selectionShare <= config.maxSelectionShare && (cutRise === null || cutRise <= config.maxThresholdRise);
  return { newcomers: taken.length, selectionShare, cut, cutRise, withinCaps };
}

/** Splits candidates: the half (rounded down) that took least of the selection, ties to the lower latent, and the rest. */
function halve(candidates: readonly Newcomer[], taken: Uint32Array) {
  const ranked = candidates
    .map((newcomer, n) => ({ newcomer, taken: taken[n] }))
    .sort((a, b) => a.taken - b.taken || a.newcomer.latent - b.newcomer.latent)
    .map(({ newcomer }) => newcomer);
  const kept = Math.floor(ranked.length / 2);
  return { modest: ranked.slice(0, kept), greedy: ranked.slice(kept) };
}

function reasonFor(dead: number, chosen: number, drawn: number, kept: number): string | null {
  if (kept < drawn) return "the caps allow no more";
  if (drawn < chosen) return "there are fewer badly reconstructed tokens than dead latents";
  return chosen < dead ? "the caps on their number allow no more" : null;
}

/** Medians over live latents of ‖wDec‖ and of ‖wEnc‖·‖wDec‖. */
async function liveNorms(engine: Engine, dead: Uint8Array) {
  const { dIn, dSae } = engine.config;
  const decoderNorms = await engine.decoderNorms();
  const norms: number[] = [];
  const products: number[] = [];
  const chunk = Math.max(1, Math.floor((1 << 20) / dIn));
  for (let from = 0; from < dSae; from += chunk) {
    const to = Math.min(from + chunk, dSae);
    const rows = await engine.read("wEnc", from, to);
    for (let i = from; i < to; i++) {
      if (dead[i] === 1) continue;
      let square = 0;
      for (let j = (i - from) * dIn; j < (i - from + 1) * dIn; j++) square += rows[j] * rows[j];
      norms.push(decoderNorms[i]);
      products.push(Math.sqrt(square) * decoderNorms[i]);
    }
  }
  return { medianDecoderNorm: median(norms), medianNormProduct: median(products) };
}

/** Middle value; the mean of the two middle ones when their number is even. */
function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
