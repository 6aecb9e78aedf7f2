/**
 * A gated SAE is a jumprelu SAE in other words. With c the input, W its encoder, and e^r > 0:
 *   gate       c·W + bGate > 0        ⇔   e^r·(c·W) + bMag > bMag − e^r·bGate
 *   magnitude  relu(e^r·(c·W) + bMag)
 * so encoder rows e^r·W, bias bMag and thresholds bMag − e^r·bGate give the same latents, and one path computes both.
 * Source: Rajamanoharan et al. 2024, "Improving Dictionary Learning with Gated Sparse Autoencoders", appendix on weight
 * tying; SAELens 6.18 saes/gated_sae.py, dictionary_learning's GatedAutoEncoder.
 */
import { FormatError } from "../errors.ts";
import { changedRows, type WeightRows } from "../kernels/weight-rows.ts";

/** What a gated SAE has beside its weights, [dSae] each; its rows' bEnc is bMag. */
export interface Gate {
  readonly bGate: Float32Array;
  readonly rMag: Float32Array;
}

/** The jumprelu SAE that a gated one is, and the gated one itself, for who trains it on; closing either closes both. */
export interface GatedAsJumprelu {
  readonly rows: WeightRows;
  readonly threshold: Float32Array;
  readonly gated: Gate & { readonly rows: WeightRows };
}

/** @throws {FormatError} e^r is no finite positive number; names `file` */
export async function gatedAsJumprelu(
  file: string,
  rows: WeightRows,
  { bGate, rMag }: Gate,
): Promise<GatedAsJumprelu> {
  const { dIn, dSae } = rows;
  const scale = magnitudes(rMag);
  const odd = scale.findIndex((s) => !(s > 0 && Math.fround(s) < Number.POSITIVE_INFINITY));
  if (odd >= 0)
    throw new FormatError(file, `r_mag[${odd}] is ${rMag[odd]}: its exponential is ${scale[odd]}`);
  return {
    threshold: gatedThreshold(await rows.read("bEnc", 0, dSae), scale, bGate),
    rows: changedRows(rows, (tensor, piece, from) => {
      if (tensor === "wEnc") scaleEncoder(piece, from, dIn, scale);
    }),
    gated: { rows, bGate, rMag },
  };
}

/** e^r */
export function magnitudes(rMag: Float32Array): Float64Array {
  return Float64Array.from(rMag, Math.exp);
}

/** bMag − e^r·bGate */
export function gatedThreshold(bMag: Float32Array, scale: Float64Array, bGate: Float32Array): Float32Array {
  return bMag.map((b, i) => b - scale[i] * bGate[i]);
}

/** e^r·W of the encoder's rows from latent `from` on, in place. */
export function scaleEncoder(rows: Float32Array, from: number, dIn: number, scale: Float64Array): void {
  for (let at = 0; at < rows.length; at++) rows[at] *= scale[from + Math.floor(at / dIn)];
}
