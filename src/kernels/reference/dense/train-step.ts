/**
 * One training step of the dense architectures. With G = (2/B)(x̂ − x), and G' the same of a gated SAE's second
 * reconstruction x̂' = relu(g)·wDec + bDec:
 *   L = (1/B) Σ_b ‖x̂ − x‖² + sparsity + aux
 *   dwDec[i] = Σ_b a·G + relu(g)·G' + ∂L/∂nᵢ · wDec[i]/nᵢ        dwEnc[i] = Σ_b dh[b,i] · c[b]
 *   dbDec    = Σ_b G + G' − [applyBDecToInput] · Σ_b Σ_i dh[b,i] · wEnc[i]
 * dh and what else an architecture learns: `standard.ts`, `gated.ts`, `jumprelu.ts`. Source: SAELens 6.18, spec §2.
 */
import type { SparseActs, TrainStepOptions, TrainStepResult, Weights } from "../../kernels.ts";
import { Breath } from "../breath.ts";
import { addRow, dot } from "../decode.ts";
import { centre, decoderNorms, visitPreActs } from "../encode.ts";
import { globalNorm } from "../gradients.ts";
import { ownSelector } from "../select.ts";
import { auditOf, matryoshkaLoss, measure, type TrainingState, update } from "../train-step.ts";
import type { Pull, Pulled, Rule } from "./rule.ts";
import { ruleOf } from "./rules.ts";

/** Runs one step on x [B, dIn]. If the loss or the gradient is not finite, nothing is changed. */
export async function denseTrainStep(
  state: TrainingState,
  x: Float32Array,
  options: TrainStepOptions,
): Promise<TrainStepResult> {
  const { config, weights } = state;
  const { sparsity: coefficient = 0, aux: auxOptions } = options;
  const nTokens = x.length / config.dIn;
  const rule = ruleOf(config.architecture!, weights);
  const h = await preActs(state, x, rule);
  const acts = fire(h, rule.activation, nTokens, config.dSae);
  const main = await reconstruct(x, acts, weights);
  const second =
    rule.gate === null ? null : await reconstruct(x, fire(h, rule.gate, nTokens, config.dSae), weights);

  const norms = decoderNorms(weights);
  const pull = rule.pullOf({ nTokens, acts, norms, sparsity: coefficient, aux: auxOptions });
  const pulled = await backward(state, x, { h, norms, main, second }, rule, pull);
  const aux = (second?.loss ?? 0) + pulled.aux;
  const { sparsity } = pulled;

  const loss = main.loss + sparsity + aux;
  const gradNorm = Number.isFinite(loss) ? globalNorm(state.gradients) : Number.NaN;
  const isSound = Number.isFinite(gradNorm);
  if (isSound) update(state, gradNorm, options);
  return {
    loss: isSound ? loss : Number.NaN, // so that the caller sees that nothing was updated
    mse: main.loss,
    innerMse: [],
    aux,
    sparsity,
    gradNorm,
    ...measure(acts, config.dSae),
    audit: auditOf(acts, options),
  };
}

/** A reconstruction of x: who fired, the loss, and G = (2/B)(x̂ − x), [B, dIn]. */
interface Reconstruction {
  readonly acts: SparseActs;
  readonly loss: number;
  readonly signal: Float64Array;
}

/** h of all latents at all tokens, [B, dSae]. */
async function preActs({ config, weights }: TrainingState, x: Float32Array, { bias }: Rule) {
  const { dIn, dSae } = config;
  const h = new Float32Array((x.length / dIn) * dSae);
  await visitPreActs(x, { ...weights, bEnc: bias }, config, null, (tile, first, n) =>
    h.set(tile.subarray(0, n * dSae), first * dSae),
  );
  return h;
}

function fire(h: Float32Array, activation: Rule["activation"], nTokens: number, dSae: number): SparseActs {
  const selector = ownSelector(activation, nTokens, dSae);
  selector.take(h, 0, nTokens);
  return selector.finish();
}

async function reconstruct(x: Float32Array, acts: SparseActs, weights: Weights): Promise<Reconstruction> {
  const { losses, signal } = await matryoshkaLoss(x, acts, Float64Array.from(acts.values), weights, [
    weights.dSae,
  ]);
  return { acts, loss: losses[0], signal };
}

interface Forward {
  readonly h: Float32Array;
  readonly norms: Float32Array;
  readonly main: Reconstruction;
  readonly second: Reconstruction | null;
}

/** Overwrites all gradients; returns what the columns add to the losses. */
async function backward(
  { config, weights, gradients }: TrainingState,
  x: Float32Array,
  { h, norms, main, second }: Forward,
  rule: Rule,
  pull: Pull,
): Promise<Omit<Pulled, "dNorm">> {
  const { dIn, dSae, applyBDecToInput } = config;
  const nTokens = x.length / dIn;
  const c = new Float64Array(x.length);
  centre(x, 0, nTokens, config, weights.bDec, c);
  const of = () => new Float64Array(nTokens);
  const [da, dGate, dh, column] = [of(), of(), of(), new Float32Array(nTokens)];
  const [dwEnc, dwDec, dbDec] = [new Float64Array(dIn), new Float64Array(dIn), new Float64Array(dIn)];
  for (const { signal } of second === null ? [main] : [main, second])
    for (let b = 0; b < nTokens; b++) addRow(dbDec, 1, signal, b * dIn);

  let [sparsity, aux] = [0, 0];
  const breath = new Breath();
  for (let i = 0; i < dSae; i++) {
    const at = i * dIn;
    const { wEnc, wDec } = weights;
    for (let b = 0; b < nTokens; b++) {
      column[b] = h[b * dSae + i];
      da[b] = dot(wDec, at, main.signal, b * dIn, dIn);
      if (second !== null) dGate[b] = dot(wDec, at, second.signal, b * dIn, dIn);
    }
    const pulled = pull({ i, norm: norms[i], h: column, da, dGate, dh }, gradients);
    sparsity += pulled.sparsity;
    aux += pulled.aux;

    dwEnc.fill(0);
    dwDec.fill(0);
    if (norms[i] > 0) addRow(dwDec, pulled.dNorm / norms[i], wDec, at);
    let dhSum = 0;
    for (let b = 0; b < nTokens; b++) {
      addRow(dwDec, rule.activation(column[b], i), main.signal, b * dIn);
      if (second !== null && rule.gate !== null)
        addRow(dwDec, rule.gate(column[b], i), second.signal, b * dIn);
      addRow(dwEnc, dh[b], c, b * dIn);
      dhSum += dh[b];
    }
    gradients.wEnc.set(dwEnc, at);
    gradients.wDec.set(dwDec, at);
    if (applyBDecToInput) addRow(dbDec, -dhSum, wEnc, at);
    if (breath.due()) await breath.take();
  }
  gradients.bDec.set(dbDec);
  return { sparsity, aux };
}
