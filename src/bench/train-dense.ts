/**
 * `lapidary bench train --architecture standard | gated | jumprelu`: training steps of SAEs whose gradients are dense. The
 * planted SAE fires as a trained one does: biases, gates or thresholds are set where k latents of a token are above them.
 */
import type { DenseArchitecture, Engine, TrainStepOptions } from "../kernels/kernels.ts";
import { arithmeticOf, phasesOf } from "./arithmetic.ts";
import type { BenchOptions, BenchReport } from "./bench.ts";
import { checkTraining } from "./check.ts";
import { round } from "./measure.ts";
import { sit } from "./sitting.ts";
import { sayNumber } from "./words.ts";

/** Tokens whose activations say where k of a token fire. */
const SAMPLE_TOKENS = 64;

export async function benchDenseTrain(
  options: BenchOptions,
  kind: DenseArchitecture["kind"],
): Promise<BenchReport> {
  const { size, batchTokens = 1024 } = options;
  const architecture = architectureOf(kind);
  const firing: number[] = [];
  const sitting = await sit(options, {
    bench: "train",
    batchTokens,
    training: true,
    rescale: false,
    architecture,
    checkSlice: () => checkTraining(options, stepOptions, { architecture, settle }),
    async prepare({ engine, batch }) {
      await settle(engine, batch(0), size.k);
      return { turn: async (i) => firing.push((await engine.trainStep(batch(i), stepOptions(i))).l0) };
    },
  });
  const { timing, profiles, peaks, figures, head, tail, variant } = sitting;
  const dense = arithmeticOf(kind, size, batchTokens, timing.medianSeconds, peaks);
  const parts = phasesOf(profiles, size, batchTokens, peaks);
  const l0 = firing.reduce((sum, each) => sum + each, 0) / firing.length;
  return {
    figures: {
      ...figures,
      architecture: kind,
      clipNorm: 1,
      l0: round(l0),
      ...dense.figures,
      ...parts.figures,
    },
    lines: [
      ...head,
      `  ${kind}, ${sayNumber(l0)} latents of a token fire`,
      ...dense.lines,
      ...parts.lines,
      ...tail,
    ],
    variant: `${variant}-${kind}`,
  };
}

function architectureOf(kind: DenseArchitecture["kind"]): DenseArchitecture {
  if (kind === "standard") return { kind, lpNorm: 1 };
  return kind === "gated" ? { kind } : { kind, bandwidth: 0.05, sparsity: { loss: "step" } };
}

/** Step `i` (from 0) with a constant learning rate. */
function stepOptions(i: number): TrainStepOptions {
  return {
    selection: { kind: "own" },
    learningRate: 1e-5,
    adamStep: i + 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    clipNorm: 1,
    sparsity: 0.1,
    aux: null,
  };
}

/** Lets about k latents of a token fire, on the batch `x`. */
async function settle(engine: Engine, x: Float32Array, k: number): Promise<void> {
  const { dIn, dSae, architecture } = engine.config;
  const all = (value: number) => new Float32Array(dSae).fill(value);
  if (architecture?.kind === "jumprelu") await engine.write("logThreshold", 0, all(-20));
  const nTokens = Math.min(SAMPLE_TOKENS, x.length / dIn);
  const { values } = await engine.encode(x.subarray(0, nTokens * dIn), { kind: "own" });
  const last = Math.max(1, values.length - nTokens * k); // the smallest that is to fire; the cut lies below it
  const [below = 0, above = 1] = values.sort().subarray(last - 1, last + 1);
  const cut = (below + above) / 2;
  if (architecture?.kind === "standard") await engine.write("bEnc", 0, all(-cut));
  if (architecture?.kind === "gated") await engine.write("bGate", 0, all(-cut));
  if (architecture?.kind === "jumprelu") await engine.write("logThreshold", 0, all(Math.log(cut)));
}
