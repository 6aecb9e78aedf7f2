/**
 * `lapidary bench train`: whole training steps, from the forward pass to Adam, with clipping by global norm. With `dead` above
 * 0, that share of the latents is dead and gets the auxiliary loss. Of a matryoshka batch-topk SAE, unless an
 * `architecture` says otherwise (`train-dense.ts`).
 */
import type { TrainStepOptions } from "../kernels/kernels.ts";
import { arithmeticOf, phasesOf } from "./arithmetic.ts";
import type { BenchOptions, BenchReport } from "./bench.ts";
import { checkSelection, checkTraining } from "./check.ts";
import type { PlantedSae } from "./planted.ts";
import { sit } from "./sitting.ts";
import { benchDenseTrain } from "./train-dense.ts";

export async function benchTrain(options: BenchOptions): Promise<BenchReport> {
  const { size, batchTokens = 1024, dead, architecture } = options;
  if (architecture !== undefined) return benchDenseTrain(options, architecture);
  const { timing, profiles, peaks, figures, head, tail, variant } = await sit(options, {
    bench: "train",
    batchTokens,
    training: true,
    rescale: true,
    checkSlice: () => checkTraining(options, trainStepOptions),
    async prepare({ engine, planted, batch }) {
      const selection = { kind: "batch-topk", k: size.k } as const;
      const check = await checkSelection(
        engine,
        batch(0),
        await engine.encode(batch(0), selection),
        selection,
      );
      return { check, turn: (i) => engine.trainStep(batch(i), trainStepOptions(i, planted)) };
    },
  });
  const dense = arithmeticOf("step", size, batchTokens, timing.medianSeconds, peaks);
  const parts = phasesOf(profiles, size, batchTokens, peaks);
  return {
    figures: { ...figures, deadPercent: dead, clipNorm: 1, ...dense.figures, ...parts.figures },
    lines: [
      ...head,
      ...(dead > 0 ? [`  dead      ${dead} % of the latents, with AuxK`] : []),
      ...dense.lines,
      ...parts.lines,
      ...tail,
    ],
    variant: `${variant}${dead > 0 ? `-dead${dead}` : ""}`,
  };
}

/** Step `i` (from 0) with SAELens' defaults and a constant learning rate. */
export function trainStepOptions(i: number, { size, dead }: PlantedSae): TrainStepOptions {
  return {
    selection: { kind: "batch-topk", k: size.k },
    learningRate: 1e-4,
    adamStep: i + 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    clipNorm: 1,
    aux: dead.includes(1) ? { coefficient: 1, dead } : null,
  };
}
