/**
 * A new SAE, as SAELens 6.18 initialises one (spec §1.2), from Lapidary's own random numbers: decoder entries
 * U(−√(6/dIn), √(6/dIn)), every row then scaled to `decoderInitNorm`, the encoder its copy, biases zero.
 */
import { ShapeError } from "../errors.ts";
import type { Weights } from "../kernels/kernels.ts";
import type { WeightRows } from "../kernels/weight-rows.ts";
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
  /** θ of every latent of a jumprelu SAE. Default 0.01. */
  readonly initThreshold?: number;
}

/** Fresh weights and a threshold of 0. @throws {ShapeError} a width or k that does not fit dSae */
export function initTrainingSae(options: InitOptions): TrainingSae {
  checkSizes(options);
  const { dIn, dSae, form } = options;
  const wDec = decoderRows(options, 0, dSae);
  const weights = {
    dIn,
    dSae,
    wEnc: wDec.slice(),
    wDec,
    bEnc: new Float32Array(dSae),
    bDec: new Float32Array(dIn),
    ...freshExtra(options),
  };
  return { form, weights, threshold: 0 };
}

/** The weights of `initTrainingSae`, drawn when they are wanted. @throws as there */
export function initRows(options: InitOptions): WeightRows {
  checkSizes(options);
  const { dIn, dSae } = options;
  return {
    dIn,
    dSae,
    ...freshExtra(options),
    async read(tensor, from, to) {
      const isBias = tensor === "bEnc" || tensor === "bDec";
      return isBias ? new Float32Array(to - from) : decoderRows(options, from, to);
    },
    async close() {},
  };
}

/** Gates and magnitudes begin as one and the same; thresholds at θ. */
function freshExtra({ form, dSae, initThreshold = 0.01 }: InitOptions): Pick<Weights, "extra"> {
  if (form.selection !== "own") return {};
  switch (form.architecture.kind) {
    case "standard":
      return {};
    case "gated":
      return { extra: { bGate: new Float32Array(dSae), rMag: new Float32Array(dSae) } };
    case "jumprelu":
      if (!(initThreshold > 0)) throw new ShapeError("initThreshold", initThreshold, "more than 0");
      return { extra: { logThreshold: new Float32Array(dSae).fill(Math.log(initThreshold)) } };
  }
}

function checkSizes({ dIn, dSae, form }: InitOptions): void {
  for (const [what, d] of [
    ["dIn", dIn],
    ["dSae", dSae],
  ] as const)
    if (!Number.isInteger(d) || d < 1) throw new ShapeError(what, d, "a positive integer");
  if (form.widths[form.widths.length - 1] !== dSae) throw new ShapeError("widths", form.widths, `… ${dSae}`);
  if (form.selection === "own") return;
  if (!(form.k > 0 && form.k <= dSae)) throw new ShapeError("k", form.k, `more than 0, at most ${dSae}`);
}

/** Rows [from, to) of wDec. */
function decoderRows(
  { dIn, seed, decoderInitNorm = 0.1 }: InitOptions,
  from: number,
  to: number,
): Float32Array {
  const stream = new Philox(seed, "sae/init/wDec");
  const bound = Math.sqrt(6 / dIn);
  const rows = new Float32Array((to - from) * dIn);
  for (let at = 0; at < rows.length; at += dIn) {
    let squares = 0;
    for (let j = at; j < at + dIn; j++) {
      rows[j] = bound * (2 * stream.uniform(from * dIn + j) - 1);
      squares += rows[j] * rows[j];
    }
    if (decoderInitNorm === null) continue;
    const scale = decoderInitNorm / Math.sqrt(squares);
    for (let j = at; j < at + dIn; j++) rows[j] *= scale;
  }
  return rows;
}
