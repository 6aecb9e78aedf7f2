/**
 * The closed-form gradients of the matryoshka loss. n cancels between forward and backward, so with C = a / n on
 * selected entries, and S_i[b] the sum of G_m[b] = (2/B)(x̂_m − x) over the widths m > i that latent i takes part in:
 *   dwDec[i] = Σ_b C[b,i] · S_i[b]        dh[b,i] = ⟨wDec[i], S_i[b]⟩
 *   dwEnc[i] = Σ_b dh[b,i] · c[b]         dbEnc[i] = Σ_b dh[b,i]
 *   dbDec    = Σ_b Σ_m G_m[b] − [applyBDecToInput] · Σ_i dbEnc[i] · wEnc[i]
 * The auxiliary loss adds a second list of entries with its own S. Source: SAELens 6.18 by autograd, spec §1.6.
 */
import { EngineError } from "../../errors.ts";
import type {
  EngineConfig,
  ExtraParameter,
  Parameter,
  PlainParameter,
  SparseActs,
  Weights,
} from "../kernels.ts";
import { extraParametersOf } from "../parameters.ts";
import { Breath } from "./breath.ts";
import { addRow, dot } from "./decode.ts";

/** Gradients of all parameters, shapes as in Weights. */
export type Gradients = Pick<Weights, PlainParameter | "extra">;

/** Selected entries with what reached them: one reconstruction's part in the loss. */
export interface Part {
  readonly acts: SparseActs;
  /** C of each entry */
  readonly coefficient: Float64Array;
  /** S at each level, level 0 first: [nLevels, B, dIn], f64 */
  readonly signal: Float64Array;
  /** latents below widths[level] see signal[level] */
  readonly widths: readonly number[];
}

export function allocateGradients({ dIn, dSae, architecture }: EngineConfig): Gradients {
  return {
    wEnc: new Float32Array(dSae * dIn),
    wDec: new Float32Array(dSae * dIn),
    bEnc: new Float32Array(dSae),
    bDec: new Float32Array(dIn),
    ...allocateExtra(architecture, dSae),
  };
}

/** Zeros for what an architecture has beside the plain parameters. */
export function allocateExtra(
  architecture: EngineConfig["architecture"],
  dSae: number,
): Pick<Weights, "extra"> {
  const names = extraParametersOf(architecture);
  if (names.length === 0) return {};
  return { extra: Object.fromEntries(names.map((name) => [name, new Float32Array(dSae)])) };
}

/** A parameter, its gradient or a moment. */
export function tensorOf(held: Gradients, name: Parameter): Float32Array {
  if (name === "wEnc" || name === "wDec" || name === "bEnc" || name === "bDec") return held[name];
  return extraOf(held, name);
}

/** An extra parameter, its gradient or a moment, which an engine of that architecture has. */
export function extraOf({ extra }: Gradients, name: ExtraParameter): Float32Array {
  const found = extra?.[name];
  if (found === undefined) throw new EngineError(`no ${name} in an engine without it`);
  return found;
}

/** Overwrites `gradients` with the sum over `parts`. `c` [B, dIn] is the centred input. */
export async function computeGradients(
  parts: readonly Part[],
  c: Float64Array,
  weights: Weights,
  config: EngineConfig,
  gradients: Gradients,
): Promise<void> {
  const { dIn, dSae } = config;
  const byLatent = parts.map((part) => ({ ...part, ...transpose(part.acts, dSae) }));
  const dwEnc = new Float64Array(dIn);
  const dwDec = new Float64Array(dIn);
  const dbDec = new Float64Array(dIn);
  for (const part of parts)
    for (let b = 0; b < part.acts.nTokens; b++) addRow(dbDec, 1, part.signal, b * dIn);

  const breath = new Breath();
  for (let i = 0; i < dSae; i++) {
    const at = i * dIn;
    dwEnc.fill(0);
    dwDec.fill(0);
    let dbEnc = 0;
    for (const part of byLatent) {
      const level = part.widths.findIndex((width) => width > i);
      const levelAt = level * part.acts.nTokens;
      for (let e = part.starts[i]; e < part.starts[i + 1]; e++) {
        const token = part.tokens[e];
        const signalAt = (levelAt + token) * dIn;
        const dh = dot(weights.wDec, at, part.signal, signalAt, dIn);
        addRow(dwDec, part.coefficient[part.entries[e]], part.signal, signalAt);
        addRow(dwEnc, dh, c, token * dIn);
        dbEnc += dh;
      }
    }
    gradients.wEnc.set(dwEnc, at);
    gradients.wDec.set(dwDec, at);
    gradients.bEnc[i] = dbEnc;
    if (config.applyBDecToInput && dbEnc !== 0) addRow(dbDec, -dbEnc, weights.wEnc, at);
    if (breath.due()) await breath.take();
  }
  gradients.bDec.set(dbDec);
}

/** √Σ g² over all parameters. */
export function globalNorm(gradients: Gradients): number {
  let sum = 0;
  const { bDec, wDec, wEnc, bEnc, extra } = gradients;
  for (const g of [bDec, wDec, wEnc, bEnc, ...Object.values(extra ?? {})])
    for (let j = 0; j < g.length; j++) sum += g[j] * g[j];
  return Math.sqrt(sum);
}

/** The same entries by latent: latent i owns starts[i] … starts[i+1], tokens ascending; `entries` points back. */
function transpose(
  acts: SparseActs,
  dSae: number,
): { starts: Uint32Array; tokens: Uint32Array; entries: Uint32Array } {
  const starts = new Uint32Array(dSae + 1);
  for (const latent of acts.latents) starts[latent + 1] += 1;
  for (let i = 0; i < dSae; i++) starts[i + 1] += starts[i];
  const next = starts.slice();
  const tokens = new Uint32Array(acts.latents.length);
  const entries = new Uint32Array(acts.latents.length);
  for (let t = 0; t < acts.nTokens; t++) {
    for (let e = acts.offsets[t]; e < acts.offsets[t + 1]; e++) {
      const slot = next[acts.latents[e]]++;
      tokens[slot] = t;
      entries[slot] = e;
    }
  }
  return { starts, tokens, entries };
}
