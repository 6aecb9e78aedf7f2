/**
 * `lapidary bench adam`: the update of a training step, from gradients to new weights, moments and norms. The batch is small,
 * so that what is left is the traffic of memory: both matrices and their two moments, read and written once.
 */
import { UnsupportedError } from "../errors.ts";
import { medianOf } from "./arithmetic.ts";
import type { BenchOptions, BenchReport } from "./bench.ts";
import { checkTraining } from "./check.ts";
import { round } from "./measure.ts";
import { sit } from "./sitting.ts";
import { trainStepOptions } from "./train.ts";
import { sayNumber, sayShare, sayTime } from "./words.ts";

/** Two matrices, each with two moments, four bytes a value, read and written. */
const BYTES_A_WEIGHT = 2 * 3 * 4 * 2;

/** @throws {UnsupportedError} the engine does not say how long its phases took */
export async function benchAdam(options: BenchOptions): Promise<BenchReport> {
  const { size, batchTokens = 64 } = options;
  const { profiles, peaks, figures, head, tail, variant } = await sit(options, {
    bench: "adam",
    batchTokens,
    training: true,
    rescale: true,
    checkSlice: () => checkTraining(options, trainStepOptions),
    prepare: async ({ engine, planted, batch }) => {
      if ((await engine.profile()) === null)
        throw new UnsupportedError(
          `the ${engine.name} engine does not time the phases of a step`,
          "bench adam needs the native or the WebAssembly engine: --engine native",
        );
      return { turn: (i) => engine.trainStep(batch(i), trainStepOptions(i, planted)) };
    },
  });
  const seconds = medianOf(profiles, "update");
  const gigabytes = (BYTES_A_WEIGHT * size.dIn * size.dSae) / 1e9;
  const rate = gigabytes / seconds;
  const ofPeak = peaks && rate / peaks.memory;
  return {
    figures: {
      ...figures,
      updateSeconds: round(seconds),
      parametersPerSecond: round((2 * size.dIn * size.dSae) / seconds),
      gbPerSecond: round(rate),
      ofMemoryPeak: ofPeak && round(ofPeak),
    },
    lines: [
      ...head,
      `  update    ${sayTime(seconds)} of it: ${sayNumber(rate)} GB/s` +
        (ofPeak === null ? "" : `, ${sayShare(ofPeak)} of what memory gives`),
      ...tail,
    ],
    variant,
  };
}
