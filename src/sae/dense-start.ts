/**
 * Inference form → training form of standard, gated and jumprelu SAEs that are trained on as what they are. An inference
 * save holds all that they learn: a standard SAE its weights, a jumprelu SAE θ, of which the logarithm is trained, a gated
 * one its gates, as long as it has not been made into the jumprelu SAE it is run as. Nothing is folded. What the loss was
 * is not recorded: the form is the caller's. Adam begins anew. Source: SAELens 6.18, spec §2, §3.2.
 */
import { RecipeError } from "../errors.ts";
import type { DenseArchitecture, ExtraParameters } from "../kernels/kernels.ts";
import type { WeightRows } from "../kernels/weight-rows.ts";
import { decoderNormsOf } from "./fold.ts";
import type { OpenSae } from "./load.ts";
import type { DenseForm } from "./sae.ts";
import { refuseUntrainable, type WarmStartOptions, zeroRowsOf } from "./warm-start.ts";
import { reinitialiseRowsOf } from "./zero-rows.ts";

/**
 * The rows to train as `form`, whose widths and centring must be the SAE's. It takes `sae.rows` over: the caller closes
 * the rows it gets, nobody those that were given.
 * @throws {UnsupportedError} a transcoder, or an SAE that normalises or reshapes its inputs
 * @throws {RecipeError} an SAE of another architecture, a threshold without a logarithm; zero decoder rows
 */
export async function openDenseStart(
  sae: OpenSae,
  { architecture }: Pick<DenseForm, "architecture">,
  options: Pick<WarmStartOptions, "zeroDecoderRows" | "seed"> = {},
): Promise<WeightRows> {
  try {
    refuseUntrainable(sae.config);
    const held = heldBy(sae, architecture);
    const zeroRows = zeroRowsOf(await decoderNormsOf(held), options);
    if (zeroRows.length === 0) return held;
    return {
      ...(await reinitialiseRowsOf(held, zeroRows, options.seed ?? 0)),
      ...(architecture.kind === "gated" && held.extra && { extra: withoutGates(held.extra, zeroRows) }),
    };
  } catch (error) {
    await sae.rows.close();
    throw error;
  }
}

/** What an SAE holds of what is learnt. */
function heldBy(
  { config, rows, threshold, gated, origin }: OpenSae,
  { kind }: DenseArchitecture,
): WeightRows {
  const published = origin?.architecture ?? config.architecture;
  const refuse = (hint: string) =>
    new RecipeError(`a ${published} SAE cannot be trained on as ${kind}`, hint);
  switch (kind) {
    case "standard":
      if (config.architecture === "standard") return rows;
      throw refuse("its latents fire by more than their sign; train it as what it is, or from scratch");
    case "jumprelu":
      if (threshold === null) throw refuse("it holds no thresholds; train it as what it is, or from scratch");
      return { ...rows, extra: { logThreshold: logarithms(threshold, published) } };
    case "gated": {
      if (gated === undefined)
        throw refuse("it holds no gates; an exported gated SAE is a jumprelu SAE, and trained on as one");
      const { rows: asFiled, bGate, rMag } = gated;
      return { ...asFiled, extra: { bGate, rMag } };
    }
  }
}

/** log θ. @throws {RecipeError} a threshold that is not positive */
function logarithms(threshold: Float32Array, published: string): Float32Array {
  const low = threshold.findIndex((theta) => !(theta > 0 && theta < Number.POSITIVE_INFINITY));
  if (low >= 0)
    throw new RecipeError(
      `latent ${low} of this ${published} SAE has the threshold ${threshold[low]}: jumprelu learns its logarithm`,
      "train it by its k largest activations (leave out sae.architecture), or from scratch",
    );
  return threshold.map(Math.log);
}

/** A latent that begins anew has a gate that does: open where its magnitude is positive. */
function withoutGates({ bGate, rMag }: ExtraParameters, latents: readonly number[]): ExtraParameters {
  const zeroed = (values: Float32Array | undefined) => {
    const out = Float32Array.from(values ?? []);
    for (const latent of latents) out[latent] = 0;
    return out;
  };
  return { bGate: zeroed(bGate), rMag: zeroed(rMag) };
}
