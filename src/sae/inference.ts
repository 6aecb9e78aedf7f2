/**
 * An SAE at work: activations in, sparse latents and reconstructions out. The engine does the arithmetic; this adds what
 * the architecture selects by and the normalisation around it. Source: SAELens 6.18 inference classes, spec §4.
 */
import { ShapeError } from "../errors.ts";
import type { EngineFactory, NumericClass, Selection, SparseActs } from "../kernels/kernels.ts";
import { normalize } from "./normalization.ts";
import type { Sae } from "./sae.ts";

/** Inputs are [nTokens, dIn] f32, row-major; for hook_z, [nTokens, nHeads, dHead], which is the same memory. */
export interface InferenceSae {
  readonly sae: Sae;
  readonly numericClass: NumericClass;
  /** Latents' activations; `selection`: by another rule than the SAE's own. */
  encode(x: Float32Array, selection?: Selection): Promise<SparseActs>;
  /**
   * Reconstruction [nTokens, dIn] of the inputs `x` that `acts` came from, or what is left of it after editing them.
   * `x` is looked at only for its scale, by SAEs with layer_norm or constant_norm_rescale; others do without.
   */
  decode(acts: SparseActs, x?: Float32Array): Promise<Float32Array>;
  /** Both at once. */
  reconstruct(x: Float32Array): Promise<{ acts: SparseActs; recon: Float32Array }>;
  dispose(): Promise<void>;
}

/** Loads `sae` into an engine. The caller disposes the result. */
export async function openInference(
  sae: Sae,
  createEngine: EngineFactory,
  options: { threads?: number } = {},
): Promise<InferenceSae> {
  const { dIn, dSae, applyBDecToInput, rescaleActsByDecoderNorm, normalization } = sae.config;
  const engine = await createEngine(
    { dIn, dSae, widths: [dSae], applyBDecToInput, rescaleActsByDecoderNorm, training: false, ...options },
    sae.weights,
  );
  const ownSelection = selectionOf(sae);
  const normalized = (x: Float32Array) => {
    if (x.length % dIn !== 0)
      throw new ShapeError("x [nTokens, dIn]", x.length, `a multiple of dIn = ${dIn}`);
    return normalize(x, dIn, normalization);
  };
  const scaleIsKept = normalization === "layer_norm" || normalization === "constant_norm_rescale";
  return {
    sae,
    numericClass: engine.numericClass,
    async encode(x, selection = ownSelection) {
      return engine.encode(normalized(x).x, selection);
    },
    async decode(acts, x) {
      if (x === undefined && scaleIsKept)
        throw new ShapeError(
          "inputs that give the scale back",
          0,
          `[${acts.nTokens}, ${dIn}] for ${normalization}`,
        );
      if (x !== undefined && x.length !== acts.nTokens * dIn)
        throw new ShapeError("inputs of the activations", x.length, [acts.nTokens, dIn]);
      const recon = await engine.decode(acts);
      if (x !== undefined) normalized(x).restore(recon);
      return recon;
    },
    async reconstruct(x) {
      const input = normalized(x);
      const acts = await engine.encode(input.x, ownSelection);
      const recon = await engine.decode(acts);
      input.restore(recon);
      return { acts, recon };
    },
    dispose: () => engine.dispose(),
  };
}

function selectionOf({ config, threshold }: Sae): Selection {
  switch (config.architecture) {
    case "standard":
      return { kind: "threshold", thresholds: new Float32Array(config.dSae) };
    case "topk":
      if (config.k === null) throw new ShapeError("k of a topk SAE", 0, "a positive integer");
      return { kind: "topk", k: config.k };
    case "jumprelu":
      if (threshold === null) throw new ShapeError("thresholds of a jumprelu SAE", 0, config.dSae);
      return { kind: "threshold", thresholds: threshold };
  }
}
