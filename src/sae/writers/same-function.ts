/**
 * The same SAE in other weights, for formats that know only one of two conventions. Latents and reconstructions are the
 * same up to the rounding of the weights that change, once, to float32; where nothing has to change nothing is rounded.
 */
import { UnsupportedError } from "../../errors.ts";
import { decoderNorms } from "../../kernels/reference/encode.ts";
import { foldDecoderNorms } from "../fold.ts";
import type { Sae } from "../sae.ts";

/** An SAE, and what had to be changed in it, in words. */
export interface Rewritten {
  readonly sae: Sae;
  readonly notes: readonly string[];
}

/**
 * With b_dec taken from the input or not, as `subtracted` asks:
 *   (x − b_dec)·W_encᵀ + b_enc = x·W_encᵀ + (b_enc − W_enc·b_dec),  the products summed in f64
 */
export function withCentring(sae: Sae, subtracted: boolean): Rewritten {
  const { config, weights } = sae;
  if (config.applyBDecToInput === subtracted) return { sae, notes: [] };
  const changed = { ...sae, config: { ...config, applyBDecToInput: subtracted } };
  const { bDec, wEnc, dIn } = weights;
  if (bDec.every((value) => value === 0)) return { sae: changed, notes: [] };
  const sign = subtracted ? 1 : -1;
  const bEnc = weights.bEnc.map((bias, i) => {
    let sum = 0;
    for (let j = 0; j < dIn; j++) sum += wEnc[i * dIn + j] * bDec[j];
    return bias + sign * sum;
  });
  return {
    sae: { ...changed, weights: { ...weights, bEnc } },
    notes: [
      `b_dec is ${subtracted ? "" : "not "}taken from the input there: b_enc became b_enc ${subtracted ? "+" : "−"} W_enc·b_dec, rounded to float32`,
    ],
  };
}

/** Decoder rows of norm one, their norms moved into the encoder, where a topk SAE selects by p = h·‖W_dec row‖. */
export function withoutRescaling(sae: Sae): Rewritten {
  if (!sae.config.rescaleActsByDecoderNorm) return { sae, notes: [] };
  return {
    sae: {
      ...sae,
      config: { ...sae.config, rescaleActsByDecoderNorm: false },
      weights: foldDecoderNorms(sae.weights, decoderNorms(sae.weights)),
    },
    notes: ["latents are not rescaled there: norms of decoder rows were moved into the encoder, and rounded"],
  };
}

/** @throws {UnsupportedError} the SAE normalises its inputs, which no format written here but SAELens' says */
export function refuseNormalization({ config }: Sae, format: string): void {
  if (config.normalization === "none" || config.normalization === "expected_average_only_in") return;
  throw new UnsupportedError(
    `${format} has no normalised inputs, and this SAE was made for ${config.normalization}`,
    "write it as SAELens: --to saelens",
  );
}

/** @throws {UnsupportedError} a transcoder */
export function refuseTranscoder({ config }: Sae, format: string): void {
  if (config.output === undefined) return;
  throw new UnsupportedError(
    `${format} would take this transcoder for an SAE`,
    "write it as SAELens: --to saelens",
  );
}
