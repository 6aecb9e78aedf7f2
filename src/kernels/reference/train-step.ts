/**
 * One training step, from batch to moved weights: selection, reconstructions at every width, the matryoshka loss,
 * AuxK, gradients, clipping, Adam. Source: SAELens 6.18 `SAETrainer._train_step`, spec §1.3–1.8.
 */
import { checkSelection } from "../arguments.ts";
import type {
  AuditResult,
  EngineConfig,
  SparseActs,
  TrainStepOptions,
  TrainStepResult,
  Weights,
} from "../kernels.ts";
import { extraParametersOf } from "../parameters.ts";
import { adamStep } from "./adam.ts";
import { coefficients, visitReconstructions } from "./decode.ts";
import { centre, decoderNorms, visitPreActs } from "./encode.ts";
import { computeGradients, extraOf, type Gradients, globalNorm, type Part } from "./gradients.ts";
import { createSelector, DeadTopK } from "./select.ts";

/** Everything a step reads and writes. */
export interface TrainingState {
  readonly config: EngineConfig;
  readonly weights: Weights;
  readonly m: Gradients;
  readonly v: Gradients;
  readonly gradients: Gradients;
}

/** Runs one step on x [B, dIn]. If the loss or the gradient is not finite, nothing is changed. */
export async function trainStep(
  state: TrainingState,
  x: Float32Array,
  options: TrainStepOptions,
): Promise<TrainStepResult> {
  const { config, weights, gradients } = state;
  const { dIn, dSae, widths } = config;
  const nTokens = x.length / dIn;
  const norms = config.rescaleActsByDecoderNorm ? decoderNorms(weights) : null;
  const dead = options.aux === null ? new Uint32Array() : indicesOf(options.aux.dead);
  const kAux = Math.min(Math.floor(dIn / 2), dead.length);

  checkSelection(options.selection, dSae);
  const selector = createSelector(options.selection, nTokens, dSae);
  const deadSelector = new DeadTopK(dead, kAux, nTokens, dSae);
  await visitPreActs(x, weights, config, norms, (p, first, n) => {
    selector.take(p, first, n);
    if (kAux > 0) deadSelector.take(p, first, n);
  });
  const acts = selector.finish();
  const coefficient = coefficients(acts, norms);

  const { losses, signal, residual } = await matryoshkaLoss(x, acts, coefficient, weights, widths);
  const parts: Part[] = [{ acts, coefficient, signal, widths }];
  let aux = 0;
  if (options.aux !== null && dead.length > 0) {
    const scale = Math.min(dead.length / Math.floor(dIn / 2), 1);
    const deadActs = deadSelector.finish();
    const auxiliary = await auxiliaryLoss(
      residual,
      deadActs,
      coefficients(deadActs, norms),
      weights,
      options.aux.coefficient * scale,
    );
    aux = auxiliary.loss;
    parts.push(auxiliary.part);
  }

  const mse = losses[losses.length - 1];
  const innerMse = losses.slice(0, -1);
  let loss = innerMse.reduce((sum, inner) => sum + inner, mse) + aux;
  let gradNorm = Number.NaN;
  if (Number.isFinite(loss)) {
    const c = new Float64Array(x.length);
    centre(x, 0, nTokens, config, weights.bDec, c);
    await computeGradients(parts, c, weights, config, gradients);
    gradNorm = globalNorm(gradients);
    if (Number.isFinite(gradNorm)) update(state, gradNorm, options);
    else loss = Number.NaN; // so that the caller sees that nothing was updated
  }
  return { loss, mse, innerMse, aux, gradNorm, ...measure(acts, dSae), audit: auditOf(acts, options) };
}

/**
 * L_m = (1/B) Σ_b ‖x̂_m − x‖² for each width m, the signal Σ_{m' ≥ m} (2/B)(x̂_m' − x) of each level, and the residual
 * x − x̂ of the full width.
 */
export async function matryoshkaLoss(
  x: Float32Array,
  acts: SparseActs,
  coefficient: Float64Array,
  weights: Weights,
  widths: readonly number[],
): Promise<{ losses: number[]; signal: Float64Array; residual: Float64Array }> {
  const { dIn } = weights;
  const nTokens = acts.nTokens;
  const losses = new Array<number>(widths.length).fill(0);
  const signal = new Float64Array(widths.length * nTokens * dIn);
  const residual = new Float64Array(nTokens * dIn);
  await visitReconstructions(acts, coefficient, weights, widths, (token, level, recon) => {
    for (let j = 0; j < dIn; j++) {
      const error = recon[j] - x[token * dIn + j];
      losses[level] += (error * error) / nTokens;
      for (let l = 0; l <= level; l++) signal[(l * nTokens + token) * dIn + j] += (2 / nTokens) * error;
      residual[token * dIn + j] = -error;
    }
  });
  return { losses, signal, residual };
}

/**
 * AuxK: dead latents reconstruct the residual e (held constant), with bDec added as `decode` always does:
 * aux = coefficient · (1/B) Σ_b ‖r̂ − e‖², `coefficient` including min(nDead / ⌊d/2⌋, 1).
 */
async function auxiliaryLoss(
  residual: Float64Array,
  acts: SparseActs,
  coefficient: Float64Array,
  weights: Weights,
  scale: number,
): Promise<{ loss: number; part: Part }> {
  const { dIn, dSae } = weights;
  const nTokens = acts.nTokens;
  const widths = [dSae];
  const signal = new Float64Array(nTokens * dIn);
  let loss = 0;
  await visitReconstructions(acts, coefficient, weights, widths, (token, _, recon) => {
    for (let j = 0; j < dIn; j++) {
      const error = recon[j] - residual[token * dIn + j];
      loss += (scale * error * error) / nTokens;
      signal[token * dIn + j] = ((2 * scale) / nTokens) * error;
    }
  });
  return { loss, part: { acts, coefficient, signal, widths } };
}

/** Clips by the global norm and lets Adam move every parameter. */
export function update(state: TrainingState, gradNorm: number, options: TrainStepOptions): void {
  const clip = options.clipNorm === null ? 1 : Math.min(1, options.clipNorm / (gradNorm + 1e-6));
  const { weights, m, v, gradients } = state;
  for (const name of ["bDec", "wDec", "wEnc", "bEnc"] as const)
    adamStep(weights[name], m[name], v[name], gradients[name], clip, options);
  for (const name of extraParametersOf(state.config.architecture)) {
    const [theta, first, second, g] = [weights, m, v, gradients].map((held) => extraOf(held, name));
    adamStep(theta, first, second, g, clip, options);
  }
}

export function measure(
  acts: SparseActs,
  dSae: number,
): Pick<TrainStepResult, "l0" | "minPositive" | "fired"> {
  const fired = new Uint32Array(dSae);
  for (const latent of acts.latents) fired[latent] += 1;
  let minPositive: number | null = null;
  for (const value of acts.values) if (minPositive === null || value < minPositive) minPositive = value;
  return { l0: acts.latents.length / acts.nTokens, minPositive, fired };
}

/** All entries were computed, so none was missed. */
export function auditOf({ offsets }: SparseActs, { audit }: TrainStepOptions): AuditResult | null {
  if (audit === undefined) return null;
  const entries = audit.tokens.reduce((sum, token) => sum + offsets[token + 1] - offsets[token], 0);
  return { entries, missed: 0 };
}

function indicesOf(mask: Uint8Array): Uint32Array {
  const indices: number[] = [];
  for (let i = 0; i < mask.length; i++) if (mask[i]) indices.push(i);
  return Uint32Array.from(indices);
}
