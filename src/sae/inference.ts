/**
 * An SAE at work: activations in, sparse latents and reconstructions out. The engine does the arithmetic; this adds what
 * the architecture selects by and the normalisation around it. Source: SAELens 6.18 inference classes, spec §4.
 */
import { ShapeError } from "../errors.ts";
import type {
  Engine,
  EngineConfig,
  EngineFactory,
  NumericClass,
  Selection,
  SparseActs,
} from "../kernels/kernels.ts";
import { coefficients, visitReconstructions } from "../kernels/reference/decode.ts";
import { normalize } from "./normalization.ts";
import type { Sae } from "./sae.ts";

/**
 * Inputs are [nTokens, dIn] f32, row-major; for hook_z, [nTokens, nHeads, dHead], which is the same memory. Outputs are
 * [nTokens, dIn], of a transcoder [nTokens, dOut].
 */
export interface InferenceSae {
  readonly sae: Sae;
  readonly numericClass: NumericClass;
  /** Latents' activations; `selection`: by another rule than the SAE's own. */
  encode(x: Float32Array, selection?: Selection): Promise<SparseActs>;
  /**
   * Reconstruction of the inputs `x` that `acts` came from, or what is left of it after editing them. `x` is looked at
   * only for its scale, by SAEs with layer_norm or constant_norm_rescale; others do without. A transcoder's skip
   * connection is no part of it.
   */
  decode(acts: SparseActs, x?: Float32Array): Promise<Float32Array>;
  /** Both at once; a transcoder's skip connection included: recon = acts · wDec + bDec + x · skipᵀ. */
  reconstruct(x: Float32Array): Promise<{ acts: SparseActs; recon: Float32Array }>;
  dispose(): Promise<void>;
}

/** Loads `sae` into an engine. The caller disposes the result. */
export async function openInference(
  sae: Sae,
  createEngine: EngineFactory,
  options: { threads?: number } = {},
): Promise<InferenceSae> {
  const { dIn, dSae, applyBDecToInput, rescaleActsByDecoderNorm, normalization, output } = sae.config;
  const engine = await openEngine(sae, createEngine, {
    dIn,
    dSae,
    widths: [dSae],
    applyBDecToInput,
    rescaleActsByDecoderNorm,
    training: false,
    ...options,
  });
  const decodeActs =
    output !== undefined && output.dOut !== dIn
      ? decodeTo(sae, output.dOut)
      : (acts: SparseActs) => engine.decode(acts);
  const ownSelection = selectionOf(sae);
  const normalized = (x: Float32Array) => {
    if (x.length % dIn !== 0)
      throw new ShapeError("x [nTokens, dIn]", x.length, `a multiple of dIn = ${dIn}`);
    return normalize(x, dIn, normalization);
  };
  // What a transcoder writes has a scale of its own (SAELens: norm_in is applied, norm_out is not).
  const scaleIsKept =
    output === undefined && (normalization === "layer_norm" || normalization === "constant_norm_rescale");
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
      const recon = await decodeActs(acts);
      if (x !== undefined && scaleIsKept) normalized(x).restore(recon);
      return recon;
    },
    async reconstruct(x) {
      const input = normalized(x);
      const acts = await engine.encode(input.x, ownSelection);
      const recon = await decodeActs(acts);
      if (scaleIsKept) input.restore(recon);
      if (sae.skip !== undefined) addSkip(recon, x, sae.skip, dIn);
      return { acts, recon };
    },
    dispose: () => engine.dispose(),
  };
}

/** An engine with the SAE's weights. Where a transcoder's output has another width, only its encoder is the engine's. */
async function openEngine(
  { config, weights }: Sae,
  createEngine: EngineFactory,
  engineConfig: EngineConfig,
): Promise<Engine> {
  const { dIn, output } = config;
  if (output === undefined || output.dOut === dIn) return createEngine(engineConfig, weights);
  const engine = await createEngine(
    { ...engineConfig, applyBDecToInput: false, rescaleActsByDecoderNorm: false },
    null,
  );
  await engine.write("wEnc", 0, weights.wEnc);
  await engine.write("bEnc", 0, weights.bEnc);
  return engine;
}

/** acts · wDec + bDec for decoder rows of dOut values: [nTokens, dOut], sums in f64, latents ascending. */
function decodeTo({ weights }: Sae, dOut: number): (acts: SparseActs) => Promise<Float32Array> {
  return async (acts) => {
    const recon = new Float32Array(acts.nTokens * dOut);
    const rows = { ...weights, dIn: dOut };
    await visitReconstructions(acts, coefficients(acts, null), rows, [weights.dSae], (token, _level, y) =>
      recon.set(y, token * dOut),
    );
    return recon;
  };
}

/** recon [nTokens, dOut] += x [nTokens, dIn] · skipᵀ; skip [dOut, dIn], sums in f64. */
function addSkip(recon: Float32Array, x: Float32Array, skip: Float32Array, dIn: number): void {
  const dOut = skip.length / dIn;
  for (let out = 0; out < recon.length; out++) {
    const at = Math.floor(out / dOut) * dIn;
    const row = (out % dOut) * dIn;
    let sum = 0;
    for (let j = 0; j < dIn; j++) sum += x[at + j] * skip[row + j];
    recon[out] += sum;
  }
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
