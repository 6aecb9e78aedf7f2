/**
 * VE after each closed-form fix, fitted on one half of the tokens and measured on the other. A fix that recovers what was
 * lost names the cause: a moved mean, another scale.
 */
import { type InputMap, mapInputs, recentring, rescaling, restoreOutputs } from "../../sae/closed-form.ts";
import type { InferenceSae } from "../../sae/inference.ts";
import { measure } from "../measure.ts";
import { METRICS } from "../metrics.ts";
import type { TokenSource } from "../token-source.ts";
import { TokenSums } from "../token-sums.ts";
import type { Halves } from "./halves.ts";
import type { Moments } from "./moments.ts";
import { pickRows, sampleOf } from "./sample.ts";
import { kOf } from "./threshold.ts";

/** Most tokens of the other half that are measured: four reconstructions each. */
const MOST_TOKENS = 16_384;
/** Tokens that a scale is searched on where none is expected. */
const SEARCH_TOKENS = 1024;
/** The scales tried. */
const SCALES = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.6, 1.8, 2];
/** L0 at most, over k (else over what it is without a scale). */
const MOST_L0 = 1.5;

/** VE and L0 on the tokens that no fix was fitted on. */
export interface FixScore {
  readonly ve: number | null;
  readonly l0: number;
}

/** What the closed-form fixes do. */
export interface Fixes {
  /** how tokens were divided */
  readonly definition: string;
  /** tokens measured */
  readonly nTokens: number;
  /** the SAE as it is, on the same tokens */
  readonly none: FixScore;
  readonly recentred: FixScore;
  readonly rescaled: FixScore;
  readonly both: FixScore;
  /** factor on the distance from the mean, and where it is from: the base model's spread, or a search on the fitted half */
  readonly scale: number;
  readonly scaleFrom: "base" | "search";
}

/** Where the SAE expects its inputs. */
export interface Expectation {
  /** [dIn] */
  readonly mean: Float64Array;
  /** root mean square distance from the mean; null: nothing says */
  readonly spread: number | null;
}

/** `fit`: moments of the half that is fitted on. */
export async function tryFixes(
  inference: InferenceSae,
  source: TokenSource,
  { halves, fit, expected }: { halves: Halves; fit: Moments; expected: Expectation },
  options: { seed: number; signal?: AbortSignal },
): Promise<Fixes> {
  const { mean } = fit;
  const scale =
    expected.spread === null
      ? await searchScale(inference, source, halves, mean, options)
      : expected.spread / fit.spread;
  const maps: Record<"none" | "recentred" | "rescaled" | "both", InputMap | null> = {
    none: null,
    recentred: recentring(mean, expected.mean),
    rescaled: rescaling(mean, scale),
    both: { from: mean, to: expected.mean, scale },
  };
  const names = Object.keys(maps) as (keyof typeof maps)[];
  const sums = Object.fromEntries(names.map((name) => [name, new TokenSums(mean)]));
  let n = 0;
  for await (const rows of source.chunks()) {
    options.signal?.throwIfAborted();
    const held = halves.split(rows).held.slice(0, MOST_TOKENS - n);
    if (held.length === 0) continue;
    const x = pickRows(rows.activations, source.dIn, held);
    for (const name of names) await addMapped(sums[name], inference, x, maps[name], n);
    n += held.length;
    if (n >= MOST_TOKENS) break;
  }
  const score = (name: keyof typeof maps): FixScore => ({
    ve: METRICS.ve.of(sums[name]),
    l0: METRICS.l0.of(sums[name]) ?? 0,
  });
  return {
    definition: halves.definition,
    nTokens: n,
    none: score("none"),
    recentred: score("recentred"),
    rescaled: score("rescaled"),
    both: score("both"),
    scale,
    scaleFrom: expected.spread === null ? "search" : "base",
  };
}

/** Adds tokens x [n, dIn] as the SAE behind `map` reconstructs them. */
async function addMapped(
  sums: TokenSums,
  inference: InferenceSae,
  x: Float32Array,
  map: InputMap | null,
  first: number,
): Promise<void> {
  const { acts, recon } = await inference.reconstruct(map === null ? x : mapInputs(x, map));
  if (map !== null) restoreOutputs(recon, map);
  const quantities = measure({ x, recon, acts }, sums.origin, first);
  for (let row = 0; row < acts.nTokens; row++) sums.addToken(x, quantities, row);
}

/**
 * The scale about the mean, of SCALES, at which the SAE explains most of a sample of the fitted half. Larger scales lower
 * every threshold, in effect, and buy VE with more latents: those that raise L0 too far do not count.
 */
async function searchScale(
  inference: InferenceSae,
  source: TokenSource,
  halves: Halves,
  mean: Float64Array,
  { seed, signal }: { seed: number; signal?: AbortSignal },
): Promise<number> {
  const wanted = new Set(sampleOf(source.total, 2 * SEARCH_TOKENS, seed));
  const tried = SCALES.map((scale) => ({ scale, sums: new TokenSums(mean) }));
  let first = 0;
  for await (const rows of source.chunks()) {
    signal?.throwIfAborted();
    const begin = first;
    first += rows.nRows;
    const sampled = halves.split(rows).fit.filter((row) => wanted.has(begin + row));
    if (sampled.length === 0) continue;
    const x = pickRows(rows.activations, source.dIn, sampled);
    for (const { scale, sums } of tried) await addMapped(sums, inference, x, rescaling(mean, scale), begin);
  }
  const l0 = ({ sums }: (typeof tried)[0]) => METRICS.l0.of(sums) ?? 0;
  const ve = ({ sums }: (typeof tried)[0]) => METRICS.ve.of(sums) ?? Number.NEGATIVE_INFINITY;
  const asItIs = tried[SCALES.indexOf(1)];
  const most = MOST_L0 * (kOf(inference.sae) ?? l0(asItIs));
  return tried
    .filter((each) => each === asItIs || l0(each) <= most)
    .reduce((best, each) => (ve(each) > ve(best) ? each : best)).scale;
}
