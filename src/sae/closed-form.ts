/**
 * The cheap fixes for an SAE that meets activations of another mean or scale: inputs are mapped to where it expects
 * them, and reconstructions mapped back,
 *   y = to + scale·(x − from)        x̂ = from + (f(y) − to) / scale
 * which is an SAE again, in closed form: no training, no step. What adaptation has to beat.
 */
import { ShapeError, UnsupportedError } from "../errors.ts";
import type { Sae } from "./sae.ts";

/** y = to + scale·(x − from), `from` and `to` [dIn], scale > 0. */
export interface InputMap {
  readonly from: Float64Array;
  readonly to: Float64Array;
  readonly scale: number;
}

/** Moves the mean of what comes to the mean that is expected: y = x − (mean − expected). */
export function recentring(mean: Float64Array, expected: Float64Array): InputMap {
  return { from: mean, to: expected, scale: 1 };
}

/** Stretches what comes about its own mean: y = mean + scale·(x − mean). */
export function rescaling(mean: Float64Array, scale: number): InputMap {
  return { from: mean, to: mean, scale };
}

/** y of rows x [n, dIn]; a new array. */
export function mapInputs(x: Float32Array, { from, to, scale }: InputMap): Float32Array {
  const dIn = checkedWidth(x, from);
  const y = new Float32Array(x.length);
  for (let i = 0, j = 0; i < x.length; i++, j = j + 1 === dIn ? 0 : j + 1)
    y[i] = to[j] + scale * (x[i] - from[j]);
  return y;
}

/** x̂ of reconstructions of y, [n, dIn], in place. */
export function restoreOutputs(recon: Float32Array, { from, to, scale }: InputMap): void {
  const dIn = checkedWidth(recon, from);
  for (let i = 0, j = 0; i < recon.length; i++, j = j + 1 === dIn ? 0 : j + 1)
    recon[i] = from[j] + (recon[i] - to[j]) / scale;
}

/**
 * The same as weights: an SAE that takes x and gives x̂, of the same architecture and thresholds.
 *   wEnc·s, wDec/s, bDec' = from + (bDec − to)/s;  bEnc stays where bDec is taken off the input,
 *   else bEnc' = bEnc + wEnc·(to − s·from)
 * Arithmetic in f64, rounded once to f32.
 * @throws {UnsupportedError} a transcoder, or an SAE that normalises its inputs row by row: no weights do the same
 */
export function foldInputMap(sae: Sae, { from, to, scale }: InputMap): Sae {
  const { dIn, dSae, applyBDecToInput, normalization, output } = sae.config;
  if (output !== undefined)
    throw new UnsupportedError(
      "a transcoder predicts another stream than it reads, so one map does not serve both",
      "map the inputs of an SAE of the residual stream",
    );
  if (normalization === "layer_norm" || normalization === "constant_norm_rescale")
    throw new UnsupportedError(
      `an SAE with normalize_activations "${normalization}" cannot take a shift of its inputs into its weights`,
      "map its inputs instead: mapInputs, restoreOutputs",
    );
  if (from.length !== dIn || to.length !== dIn)
    throw new ShapeError("means of an input map", [from.length, to.length], [dIn, dIn]);
  const { wEnc, wDec, bEnc, bDec } = sae.weights;
  const offset = Float64Array.from(to, (mean, j) => mean - scale * from[j]);
  const bias = (latent: number) => {
    let sum = bEnc[latent];
    for (let j = 0; j < dIn; j++) sum += wEnc[latent * dIn + j] * offset[j];
    return sum;
  };
  return {
    ...sae,
    weights: {
      dIn,
      dSae,
      wEnc: wEnc.map((value) => value * scale),
      wDec: wDec.map((value) => value / scale),
      bEnc: applyBDecToInput ? bEnc.slice() : bEnc.map((_, latent) => bias(latent)),
      bDec: bDec.map((value, j) => from[j] + (value - to[j]) / scale),
    },
  };
}

function checkedWidth(rows: Float32Array, { length: dIn }: Float64Array): number {
  if (rows.length % dIn !== 0) throw new ShapeError("rows to map", rows.length, `a multiple of dIn ${dIn}`);
  return dIn;
}
