/**
 * A new SAE, as SAELens 6.18 initialises one (spec §1.2), from Lapidary's own random numbers: decoder entries
 * U(−√(6/dIn), √(6/dIn)), every row then scaled to `decoderInitNorm`, the encoder its copy, biases zero.
 */
import { ShapeError } from "../errors.ts";
import type { Weights } from "../kernels/kernels.ts";
import { Philox } from "../random/philox.ts";
import type { TrainingForm, TrainingSae } from "./sae.ts";

/** Sizes, seed and rules of a new SAE. */
export interface InitOptions {
  readonly dIn: number;
  readonly dSae: number;
  readonly seed: number;
  readonly form: TrainingForm;
  /** L2 norm of every decoder row; null: as drawn. Default 0.1. */
  readonly decoderInitNorm?: number | null;
}

/** Fresh weights and a threshold of 0. @throws {ShapeError} a width or k that does not fit dSae */
export function initTrainingSae(options: InitOptions): TrainingSae {
  const { dIn, dSae, seed, form } = options;
  for (const [what, d] of [
    ["dIn", dIn],
    ["dSae", dSae],
  ] as const)
    if (!Number.isInteger(d) || d < 1) throw new ShapeError(what, d, "a positive integer");
  if (form.widths[form.widths.length - 1] !== dSae) throw new ShapeError("widths", form.widths, `… ${dSae}`);
  if (!(form.k > 0 && form.k <= dSae)) throw new ShapeError("k", form.k, `more than 0, at most ${dSae}`);
  const norm = options.decoderInitNorm === undefined ? 0.1 : options.decoderInitNorm;
  return { form, weights: initWeights(dIn, dSae, seed, norm), threshold: 0 };
}

function initWeights(dIn: number, dSae: number, seed: number, norm: number | null): Weights {
  const stream = new Philox(seed, "sae/init/wDec");
  const bound = Math.sqrt(6 / dIn);
  const wDec = new Float32Array(dSae * dIn);
  for (let i = 0; i < dSae; i++) {
    const at = i * dIn;
    let squares = 0;
    for (let j = at; j < at + dIn; j++) {
      wDec[j] = bound * (2 * stream.uniform(j) - 1);
      squares += wDec[j] * wDec[j];
    }
    if (norm === null) continue;
    const scale = norm / Math.sqrt(squares);
    for (let j = at; j < at + dIn; j++) wDec[j] *= scale;
  }
  return { dIn, dSae, wEnc: wDec.slice(), wDec, bEnc: new Float32Array(dSae), bDec: new Float32Array(dIn) };
}
